"""Losses as their papers write them, in plain numpy and float64: token by token, slow, obvious.

rows: {"mask", "sample", "group", "old_logp", "ref_logp", "sampler_logp", "adv", "prepared"}, each
[N, M].
"""

import math

import numpy as np


def responses(mask, ids):
    """{(row, id): its columns}, in order."""
    out = {}
    for n, m in zip(*np.nonzero(mask), strict=True):
        out.setdefault((n, ids[n, m]), []).append(m)
    return out


def kl(logp, ref_logp, form, limit=20.0):
    """One token sampled from π; r = π_ref / π. The "+" forms have the same values."""
    log_r = min(max(ref_logp - logp, -limit), limit)
    r = math.exp(log_r)
    values = {"k1": -log_r, "abs": abs(log_r), "k2": log_r**2 / 2, "k3": (r - 1) - log_r}
    return values[form.rstrip("+")]


def aggregate(x, mask, sample, group, name, max_length):
    """Nested means, as lists of lists: prompt -> response -> tokens."""
    tree = {}
    for n, m in zip(*np.nonzero(mask), strict=True):
        prompt = tree.setdefault((n, group[n, m]), {})
        prompt.setdefault(sample[n, m], []).append(float(x[n, m]))
    prompts = [list(prompt.values()) for prompt in tree.values()]
    texts = [text for prompt in prompts for text in prompt]
    tokens = [value for text in texts for value in text]
    mean = lambda values: sum(values) / len(values)
    return {
        "token_mean": lambda: mean(tokens),
        "token_sum": lambda: sum(tokens),
        "seq_mean_token_sum": lambda: mean([sum(t) for t in texts]),
        "seq_mean_token_sum_norm": lambda: mean([sum(t) / max_length for t in texts]),
        "seq_mean_token_mean": lambda: mean([mean(t) for t in texts]),
        "prompt_mean": lambda: mean([mean([v for t in p for v in t]) for p in prompts]),
        "group_mean": lambda: mean([mean([mean(t) for t in p]) for p in prompts]),
    }[name]()


def ppo_token(r, a, low, high, cap=0.0):
    """The clip by its cases; cap bounds the ratio where the advantage is negative."""
    if a > 0 and r > 1 + high:
        return (1 + high) * a
    if a < 0 and r < 1 - low:
        return (1 - low) * a
    if a < 0 and cap and r > cap:
        return cap * a
    return r * a


def two_sided(r, a, low, high, delta):
    """INTELLECT-2's own formula, with its two minima."""
    clip = min(max(r, 1 - low), 1 + high)
    return min(min(r, delta) * a, clip * a)


def covariances(logp, adv, mask):
    """{token: its centred product}, over the whole batch."""
    at = list(zip(*np.nonzero(mask), strict=True))
    mean_logp = sum(float(logp[i]) for i in at) / len(at)
    mean_adv = sum(float(adv[i]) for i in at) / len(at)
    return {i: (float(logp[i]) - mean_logp) * (float(adv[i]) - mean_adv) for i in at}


def highest(scores, part):
    """The tokens of a share of a batch with the highest scores."""
    count = max(1, int(part * len(scores)))
    return set(sorted(scores, key=scores.get, reverse=True)[:count])


def policy(logp, entropy, rows, c):
    """The whole objective of a batch as the number to be minimised."""
    mask, sample = rows["mask"], rows["sample"]
    old, sampler, adv = (rows[k].astype(np.float64) for k in ("old_logp", "sampler_logp", "adv"))
    texts = responses(mask, sample)
    chosen = _chosen(logp, entropy, rows, c)
    loss = np.zeros(mask.shape)
    for (n, _), columns in texts.items():
        new = [float(logp[n, m]) for m in columns]
        whole = {
            "new": new,
            "old": [old[n, m] for m in columns],
            "adv": [adv[n, m] for m in columns],
            "sampler": [sampler[n, m] for m in columns],
        }
        for i, m in enumerate(columns):
            value = _token(i, whole, c, (n, m) in chosen) * _weight(i, whole, c)
            if c.top_entropy is not None and c.top_entropy < 1:
                value *= (n, m) in chosen
            loss[n, m] = -value - (c.entropy_coef or 0) * float(np.nan_to_num(entropy[n, m]))
            if c.kl_coef:
                ref = float(rows["ref_logp"][n, m])
                loss[n, m] += c.kl_coef * kl(new[i], ref, c.kl_form, c.kl_limit)
    return aggregate(loss, mask, sample, rows["group"], c.aggregation, c.max_length)


def _chosen(logp, entropy, rows, c):
    if c.name == "clip_cov":  # drawn: taken as given, its rules are tested apart
        return set(zip(*np.nonzero(rows["prepared"]), strict=True))
    if c.name == "kl_cov":
        return highest(covariances(logp, rows["adv"], rows["mask"]), c.cov_share)
    if c.top_entropy is not None and c.top_entropy < 1:
        at = zip(*np.nonzero(rows["mask"]), strict=True)
        return highest({i: float(entropy[i]) for i in at}, c.top_entropy)
    return set()


def _weight(i, text, c):
    """Sampler-to-learner weights, and AReaL's for decoupled PPO."""
    gaps = [o - s for o, s in zip(text["old"], text["sampler"], strict=True)]
    w = math.exp(gaps[i])
    if c.name == "decoupled_ppo":
        return w
    low, high = c.correction_low, c.correction_high
    if c.correction == "tis_token":
        return min(w, high)
    if c.correction == "tis_sequence":
        return min(math.prod(math.exp(g) for g in gaps), high)
    if c.correction == "icepop":
        return w if low <= w <= high else 0.0
    if c.correction == "mask_sequence":
        mean = math.exp(sum(gaps) / len(gaps))
        return w if low <= mean <= high else 0.0
    if c.correction == "off_policy_mask":
        moved = [s - n for s, n in zip(text["sampler"], text["new"], strict=True)]
        return 0.0 if text["adv"][i] < 0 and sum(moved) / len(moved) > high else 1.0
    return 1.0


def _token(i, text, c, chosen):
    """The objective of token i of a response, to be maximised."""
    new, old, a = text["new"][i], text["old"][i], text["adv"][i]
    rho = math.exp(new - old)
    logs = [x - y for x, y in zip(text["new"], text["old"], strict=True)]
    p, q = math.exp(new), math.exp(old)
    if c.name in ("ppo_clip", "dapo", "dr_grpo", "bnpo", "gspo", "decoupled_ppo"):
        r = rho if c.ratio == "token" else math.exp(sum(logs) / len(logs))
        return ppo_token(r, a, c.eps_low, c.eps_high, c.dual_clip)
    if c.name == "two_sided_clip":
        return two_sided(rho, a, c.eps_low, c.eps_high, c.delta)
    if c.name == "clip_cov":
        return 0.0 if chosen else ppo_token(rho, a, c.eps_low, c.eps_high)
    if c.name == "kl_cov":
        return rho * a - (c.cov_coef * abs(new - old) if chosen else 0.0)
    if c.name == "cispo":
        return min(max(rho, 1 - c.eps_low), 1 + c.eps_high) * a * new
    if c.name == "gpg":
        return a * new
    if c.name == "sapo":
        tau = c.tau_pos if a > 0 else c.tau_neg
        return 4 / tau / (1 + math.exp(-tau * (rho - 1))) * a
    if c.name == "gmpo":
        return _gmpo(logs, text["adv"], c)
    if c.name == "dro":
        return a * new - c.beta / 2 * (new - old) ** 2
    far = p - q if c.name == "dppo_tv" else _binary_kl(q, p) * (1 if p > q else -1)
    keep = far <= c.eps_high if a > 0 else far >= -c.eps_low
    return min(rho, c.max_ratio) * keep * a * new


def _gmpo(logs, adv, c):
    """Π over a response of ratios that are clipped on the side that PPO would clip."""
    product = 1.0
    for log_rho, a in zip(logs, adv, strict=True):
        if a > 0:
            log_rho = min(log_rho, c.eps_high)
        if a < 0:
            log_rho = max(log_rho, -c.eps_low)
        product *= math.exp(log_rho if a else 0.0)
    return product ** (1 / len(logs)) * sum(adv) / len(adv)


def _binary_kl(q, p):
    return q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p))


def preference(name, won, lost, ref_won, ref_lost, n_won, n_lost, c):
    """One pair: log-probs as sums over tokens; -> (loss, margin of the implicit reward)."""
    sigma = lambda x: 1 / (1 + math.exp(-x))
    if name == "bradley_terry":
        return -math.log(sigma(won - lost)), won - lost
    if name == "dpo":
        margin = c.beta * ((won - ref_won) - (lost - ref_lost))
        return -math.log(sigma(margin)), margin
    if name == "ipo":
        h = (won - ref_won) - (lost - ref_lost)
        return (h - 1 / (2 * c.beta)) ** 2, c.beta * h
    won, lost = won / n_won, lost / n_lost
    if name == "simpo":
        margin = c.beta * won - c.beta * lost
        return -math.log(sigma(margin - c.gamma)), margin
    odds = [math.exp(x) / (1 - math.exp(x)) for x in (won, lost)]
    return -won - c.weight * math.log(sigma(math.log(odds[0] / odds[1]))), c.weight * (won - lost)


def kto(logp, ref_logp, good, others, c):
    """One response; others: Σ log π/π_ref of responses to other prompts."""
    baseline = max(0.0, sum(others) / len(others))
    sigma = lambda x: 1 / (1 + math.exp(-x))
    r = logp - ref_logp
    if good:
        return c.desirable * (1 - sigma(c.beta * (r - baseline)))
    return c.undesirable * (1 - sigma(c.beta * (baseline - r)))
