"""Every estimator as a slow loop in plain numpy and float64, written from its paper.

Each takes the fields of Signals as a dict s of arrays, and the config c. They share no code with
the library. TABLE maps a name to its oracle.
"""

import math

import numpy as np
import oracles


def scorable(s, rewards=None):
    rewards = s["rewards"] if rewards is None else rewards
    return np.isfinite(rewards) & s.get("valid", np.ones(len(rewards), bool))


def grouped(s, c, rewards, mean_ids, std_ids, ok=None, leave_one_out=False):
    """(r − μ) / σ by oracles.group_advantages, with what is masked out made unscorable."""
    rewards = np.where(scorable(s, rewards) if ok is None else ok, rewards, np.nan)
    return oracles.group_advantages(
        rewards,
        mean_ids,
        std_ids,
        ddof=c.ddof,
        eps=c.eps,
        eps_mode=c.eps_mode,
        singleton=c.singleton,
        rel_tol=c.zero_std_rel_tol,
        leave_one_out=leave_one_out,
    )


def equal(values, tol):
    """Whether a list of two or more numbers has no spread to speak of."""
    return len(values) > 1 and np.std(values) <= tol * max(abs(v) for v in values)


def groups(s, ok, key="group"):
    """Rows of each group that count."""
    for g in set(s[key].tolist()):
        rows = [i for i in range(len(ok)) if s[key][i] == g and ok[i]]
        if rows:
            yield rows


def grpo(s, c):
    return grouped(s, c, s["rewards"], s["group"], s["group"])


def dr_grpo(s, c):
    return grouped(s, c, s["rewards"], s["group"], None)


def rloo(s, c):
    return grouped(s, c, s["rewards"], s["group"], None, leave_one_out=True)


def batch_norm_grpo(s, c):
    return grouped(s, c, s["rewards"], s["group"], 0 * s["group"])


def levels(s, c):
    ids = {"group": s["group"], "batch": 0 * s["group"], "none": None}
    mean, std = ids[c.mean_level], ids[c.std_level]
    return grouped(s, c, s["rewards"], mean, std, leave_one_out=c.leave_one_out)


def maxrl(s, c):
    r, adv = s["rewards"].astype(float), np.zeros(len(s["rewards"]))
    for rows in groups(s, scorable(s)):
        mu = sum(r[i] for i in rows) / len(rows)
        if mu > 0 and len(rows) > 1 and not equal(r[rows], c.zero_std_rel_tol):
            for i in rows:
                adv[i] = (r[i] - mu) / (mu + c.eps)
    return adv


def grpo_passk(s, c):
    r, adv = s["rewards"].astype(float), np.zeros(len(s["rewards"]))
    for rows in groups(s, scorable(s)):
        if len(rows) == 1:
            if c.singleton == "raw":
                adv[rows[0]] = r[rows[0]] / (1 + c.eps)
            continue
        if equal(r[rows], c.zero_std_rel_tol):
            continue
        first, second = sorted(rows, key=lambda i: -r[i])[:2]
        adv[first] = (r[first] - r[second]) / (np.std(r[rows], ddof=c.ddof) + c.eps)
    return adv


def opo(s, c):
    r, adv = s["rewards"].astype(float), np.zeros(len(s["rewards"]))
    for rows in groups(s, scorable(s)):
        words = sum(s["length"][i] for i in rows)
        if len(rows) == 1:
            if c.singleton == "raw":
                adv[rows] = r[rows]
        elif not equal(r[rows], c.zero_std_rel_tol):
            b = sum(s["length"][i] * r[i] for i in rows) / words if words else 0
            adv[rows] = r[rows] - b
    return adv


def gpg(s, c):
    ok, r = scorable(s), s["rewards"].astype(float)
    teach = 0
    for rows in groups(s, ok):
        if c.gpg_counts == "rewards":
            teach += sum(r[i] != 0 for i in rows)
        elif len(rows) > 1 and not equal(r[rows], c.zero_std_rel_tol):
            teach += len(rows)
    return dr_grpo(s, c) * ok.sum() / max(teach, 1)


def whitened(x, weight, c):
    """Weighted standardisation of a flat list of numbers, those of weight 0 left out."""
    on = weight > 0
    out = np.zeros(x.shape)
    if not on.any():
        return out
    w, v = weight[on].astype(float), x[on].astype(float)
    mu = sum(w * v) / sum(w)
    squares = sum(w * (v - mu) ** 2)
    if math.sqrt(squares / sum(w)) <= max(c.zero_std_rel_tol, 1e-12) * max(abs(v)):
        return out
    out[on] = (v - mu) / (math.sqrt(squares / max(sum(w) - c.ddof, 1)) + c.eps)
    return out


def by_batch(adv, ok, s, c):
    weight = s["length"] if c.whiten_by == "tokens" else np.ones(len(adv))
    return whitened(adv, np.where(ok, weight, 0), c)


def gdpo(s, c):
    ok = scorable(s) & np.isfinite(s["parts"]).all(1)
    total = np.zeros(len(ok))
    for k in range(s["parts"].shape[1]):
        w = c.weights[k] if c.weights else 1
        total += w * grouped(s, c, s["parts"][:, k], s["group"], s["group"], ok=ok)
    return by_batch(total, ok, s, c)


def reinforce_plus_plus_baseline(s, c):
    return by_batch(dr_grpo(s, c), scorable(s), s, c)


def remax(s, c):
    ok = scorable(s) & np.isfinite(s["greedy"])
    return np.where(ok, s["rewards"].astype(float) - s["greedy"], 0)


def gfpo(s, c):
    ok, kept = scorable(s), np.zeros(len(s["rewards"]), bool)
    cost = lambda i: {
        "length": float(s["length"][i]),
        "efficiency": -np.float32(s["rewards"][i]) / np.float32(max(s["length"][i], 1)),
    }[c.keep_by]
    for rows in groups(s, ok):
        k = c.keep or math.ceil(len(rows) / 2)
        worst = sorted(cost(i) for i in rows)[min(k, len(rows)) - 1]
        for i in rows:
            kept[i] = cost(i) <= worst
    return grouped(s, c, s["rewards"], s["group"], s["group"], ok=kept)


def chosen(s, b):
    """(columns, rewards) of row b's chosen tokens; a reward between goes to the one before."""
    columns = [t for t in range(s["mask"].shape[1]) if s["mask"][b, t]]
    rewards = [0.0] * len(columns)
    if "token_rewards" not in s:
        if columns:
            rewards[-1] = float(s["rewards"][b])
        return columns, rewards
    at = -1
    for t in range(s["mask"].shape[1]):
        at += bool(s["mask"][b, t])
        if at >= 0:
            rewards[at] += float(s["token_rewards"][b, t])
    return columns, rewards


def by_token(s, one_row):
    """one_row(b, columns, rewards) -> a number a chosen token; the rest of [B, R] is 0."""
    out = np.zeros(s["mask"].shape)
    for b in np.flatnonzero(scorable(s)):
        columns, rewards = chosen(s, b)
        if columns:
            out[b, columns] = one_row(b, columns, rewards)
    return out


def to_go(rewards, gamma):
    return [
        sum(gamma ** (k - t) * rewards[k] for k in range(t, len(rewards)))
        for t in range(len(rewards))
    ]


def on_tokens(s):
    return s["mask"] & scorable(s)[:, None]


def reinforce_plus_plus(s, c):
    returns = by_token(s, lambda b, columns, rewards: to_go(rewards, c.gamma))
    return whitened(returns, on_tokens(s).astype(float), c)


def finish(adv, s, c):
    return whitened(adv, on_tokens(s).astype(float), c) if c.whiten else adv


def gae(s, c):
    def row(b, columns, r):
        v = [*map(float, s["values"][b, columns]), 0.0]
        delta = [r[t] + c.gamma * v[t + 1] - v[t] for t in range(len(r))]
        return to_go(delta, c.gamma * c.lam)

    return finish(by_token(s, row), s, c)


def vtrace(s, c):
    def row(b, columns, r):
        n = len(r)
        v = [*map(float, s["values"][b, columns]), 0.0]
        ratio = np.exp(s["log_ratio"][b, columns].astype(float))
        rho, cs = np.minimum(ratio, c.rho_clip), np.minimum(ratio, c.c_clip)
        delta = [rho[t] * (r[t] + c.gamma * v[t + 1] - v[t]) for t in range(n)]
        target = [
            v[k] + sum(c.gamma ** (t - k) * np.prod(cs[k:t]) * delta[t] for t in range(k, n))
            for k in range(n)
        ] + [0.0]
        return [rho[t] * (r[t] + c.gamma * target[t + 1] - v[t]) for t in range(n)]

    return finish(by_token(s, row), s, c)


def upgo(s, c):
    def row(b, columns, r):
        n = len(r)
        v = [*map(float, s["values"][b, columns]), 0.0]
        rho = np.minimum(np.exp(s["log_ratio"][b, columns].astype(float)), c.rho_clip)
        g = [0.0] * (n + 1)
        for t in reversed(range(n)):
            up = t + 1 < n and np.float32(r[t + 1] + c.gamma * v[t + 2]) >= np.float32(v[t + 1])
            g[t] = r[t] + c.gamma * (g[t + 1] if up else v[t + 1])
        return [rho[t] * (g[t] - v[t]) for t in range(n)]

    return finish(by_token(s, row), s, c)


def token_baseline(s, c, joined):
    ok, out = scorable(s), np.zeros(s["mask"].shape)
    for rows in groups(s, ok):
        tracks = {}  # row -> {position: (column, G, W)}
        for b in rows:
            columns, rewards = chosen(s, b)
            w, track = 0.0, {}
            for place, (t, g) in enumerate(zip(columns, to_go(rewards, c.gamma), strict=True)):
                rho = math.exp(s["log_ratio"][b, t]) if "log_ratio" in s else 1.0
                w += rho**2 * (1 - 2 * math.exp(s["logp"][b, t]) + float(s["squares"][b, t]))
                track[place if joined else t] = (t, g, w)
            tracks[b] = track
        for b in rows:
            for at, (t, g, _) in tracks[b].items():
                there = [tracks[i][at] for i in rows if at in tracks[i]]
                alive = [i for i in rows if tracks[i] and max(tracks[i]) >= at]
                base = sum(x[1] * x[2] for x in there) / (sum(x[2] for x in there) + 1e-8)
                if c.zero_tail and len(alive) == 1:
                    base = 0.0
                if len(rows) == 1:
                    base = g if c.singleton == "zero" else 0.0
                out[b, t] = g - base
    return out


def gigpo(s, c):
    r, ok = s["rewards"], scorable(s)
    scaled = c.std_level == "group"
    adv = np.zeros(len(r))
    for i in np.flatnonzero(ok):
        # The episode: one number a rollout of the prompt, read from its first round.
        firsts = [j for j in np.flatnonzero(ok) if s["group"][j] == s["group"][i]]
        firsts = [float(r[j]) for j in firsts if s["round"][j] == 1]
        if len(firsts) > 1 and not equal(firsts, c.zero_std_rel_tol):
            sigma = np.std(firsts, ddof=c.ddof) + c.eps if scaled else 1
            adv[i] = (r[i] - np.mean(firsts)) / sigma
        elif len(firsts) == 1 and c.singleton == "raw":
            adv[i] = r[i] / (1 + c.eps if scaled else 1)
    ids = s["state"]
    return adv + c.step_weight * grouped(s, c, s["returns"], ids, ids if scaled else None, ok=ok)


def mixed(s, c):
    """Rows of questions whose valid outcomes differ."""
    keep = np.zeros(len(s["rewards"]), bool)
    for rows in groups(s, scorable(s)):
        values = s["rewards"][rows].astype(float)
        keep[rows] = len(rows) > 1 and not equal(values, c.zero_std_rel_tol)
    return keep


def erpo(s, c):
    return grouped(s, c, s["rewards"], s["group"], s["env"], ok=mixed(s, c))


def efficiency_eapo(s, c):
    left = (s["rounds"] - s["round"]).astype(float)
    rewards = np.array([c.round_gamma**n * r for n, r in zip(left, s["rewards"], strict=True)])
    adv = grouped(s, c, rewards, s["group"], s["group"])
    return adv if c.all_correct == "keep" else np.where(mixed(s, c), adv, 0)


def evidence_eapo(s, c):
    total = np.full(len(s["rewards"]), np.nan)
    for rows in groups(s, np.ones(len(total), bool)):
        listed = [float(s["evidence"][i]) for i in rows if s["formatted"][i]]
        listed = [e for e in listed if np.isfinite(e)]
        for i in rows:
            if not s["formatted"][i]:
                total[i] = 0 if np.isfinite(s["rewards"][i]) else np.nan
                continue
            e = float(s["evidence"][i])
            if c.evidence_mode == "abs":
                share = (e - 1) / 4
            elif c.evidence_mode == "minmax":
                low, high = min(listed, default=0), max(listed, default=0)
                share = (e - low) / (high - low) if high > low else e * 0 + 0.5
            else:
                sigma = np.std(listed) if listed else 0
                share = (e - np.mean(listed)) / sigma if sigma > 0 else e * 0
            outcome = float(s["rewards"][i])
            total[i] = c.format_weight + c.outcome_weight * outcome + c.evidence_weight * share
    return grouped(s, c, total, s["group"], s["group"])


def arena(s, c):
    reward = np.full(len(s["rank"]), np.nan)
    for rows in groups(s, (s["rank"] >= 0) & s.get("valid", np.ones(len(reward), bool))):
        for i in rows:
            reward[i] = 1 - s["rank"][i] / (len(rows) - 1) if len(rows) > 1 else 1
    return grouped(s, c, reward, s["group"], s["group"])


def anchor_plan(s, c):
    return grouped(s, c, s["plan"], s["group"], s["group"])


TABLE = {
    "grpo": grpo,
    "dr_grpo": dr_grpo,
    "rloo": rloo,
    "batch_norm_grpo": batch_norm_grpo,
    "levels": levels,
    "maxrl": maxrl,
    "grpo_passk": grpo_passk,
    "opo": opo,
    "gpg": gpg,
    "gdpo": gdpo,
    "reinforce_plus_plus_baseline": reinforce_plus_plus_baseline,
    "remax": remax,
    "gfpo": gfpo,
    "reinforce_plus_plus": reinforce_plus_plus,
    "gae": gae,
    "vtrace": vtrace,
    "upgo": upgo,
    "optimal_token_baseline": lambda s, c: token_baseline(s, c, joined=False),
    "tir_optimal_token_baseline": lambda s, c: token_baseline(s, c, joined=True),
    "gigpo": gigpo,
    "erpo": erpo,
    "efficiency_eapo": efficiency_eapo,
    "evidence_eapo": evidence_eapo,
    "arena": arena,
    "anchor_plan": anchor_plan,
    "anchor_execution": grpo,
    "first_step_grpo": grpo,
}
