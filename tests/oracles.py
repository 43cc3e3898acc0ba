"""Slow loops in plain numpy, in the papers' notation, float64. They share no code with the library.

`port_*` are the group advantages of other libraries, reduced to the lines that matter.
"""

import math

import numpy as np


def group_advantages(
    rewards, mean_ids, std_ids, ddof, eps, eps_mode, singleton, rel_tol, leave_one_out
):
    """Row by row: the rewards of my own group, their mean, their standard deviation."""
    rewards = np.asarray(rewards, np.float64)
    adv = np.zeros(len(rewards))
    for i, r in enumerate(rewards):
        if not np.isfinite(r):
            continue
        value, lone, flat = r, False, False
        if mean_ids is not None:
            g = [x for x, k in zip(rewards, mean_ids, strict=True) if k == mean_ids[i]]
            g = [x for x in g if np.isfinite(x)]
            flat |= len(g) > 1 and np.std(g) <= rel_tol * max(abs(x) for x in g)
            if len(g) == 1:
                lone = True  # "raw" keeps the reward itself
            elif leave_one_out:
                value = r - (sum(g) - r) / (len(g) - 1)
            else:
                value = r - sum(g) / len(g)
        if std_ids is not None:
            g = [x for x, k in zip(rewards, std_ids, strict=True) if k == std_ids[i]]
            g = [x for x in g if np.isfinite(x)]
            flat |= len(g) > 1 and np.std(g) <= rel_tol * max(abs(x) for x in g)
            sigma = 1.0
            if len(g) == 1:
                lone = True
            else:
                mu = sum(g) / len(g)
                sigma = math.sqrt(sum((x - mu) ** 2 for x in g) / (len(g) - ddof))
            value /= sigma + eps if eps_mode == "add" else max(sigma, eps)
        adv[i] = 0.0 if flat or (lone and singleton == "zero") else value
    return adv


def zero_variance(rewards, group, num_groups, rel_tol):
    """A group teaches nothing when it has no two scorable rewards that differ."""
    out = np.ones(num_groups, bool)
    for k in range(num_groups):
        g = [x for x, j in zip(rewards, group, strict=True) if j == k and np.isfinite(x)]
        if len(g) > 1:
            out[k] = np.std(g) <= rel_tol * max(abs(x) for x in g)
    return out


def port_verl(scores, index):
    """verl's grpo: a dict of lists keyed by uid; a singleton has mean 0 and std 1."""
    id2score, adv = {}, np.zeros(len(scores))
    for s, uid in zip(scores, index, strict=True):
        id2score.setdefault(uid, []).append(s)
    for i, uid in enumerate(index):
        one = len(id2score[uid]) == 1
        mean, std = (0.0, 1.0) if one else (np.mean(id2score[uid]), np.std(id2score[uid], ddof=1))
        adv[i] = (scores[i] - mean) / (std + 1e-6)
    return adv


def port_trl(rewards, num_generations):
    """TRL's grpo: a view of fixed width, means over the scorable, Bessel, NaN to 0 at the end."""
    view = rewards.reshape(-1, num_generations)
    mean = np.nanmean(view, axis=1, keepdims=True)
    count = (~np.isnan(view)).sum(axis=1, keepdims=True)
    std = np.sqrt(np.nanmean((view - mean) ** 2, axis=1, keepdims=True) * count / (count - 1))
    return np.nan_to_num((view - mean) / (std + 1e-4)).reshape(-1)


def port_tunix(rewards, num_generations):
    """Tunix's grpo: reshape, repeat, ddof 1, 1e-6 added."""
    view = rewards.reshape(-1, num_generations)
    mean = np.repeat(view.mean(axis=-1), num_generations)
    std = np.repeat(view.std(axis=-1, ddof=1), num_generations)
    return (rewards - mean) / (std + 1e-6)


def port_openrlhf(rewards, num_generations):
    """OpenRLHF's group_norm: the sample std, 1e-9 added."""
    view = rewards.reshape(-1, num_generations)
    std = view.std(axis=-1, ddof=1, keepdims=True)
    return ((view - view.mean(axis=-1, keepdims=True)) / (std + 1e-9)).reshape(-1)


def responses(mask, sample):
    """{(row, response): its scored columns}."""
    out = {}
    for n, m in zip(*np.nonzero(mask), strict=True):
        out.setdefault((n, sample[n, m]), []).append(m)
    return out


def sequence_ratio(logp, old_logp, mask, sample):
    """s_i = (π(y_i) / π_old(y_i))^(1/|y_i|), written at every token of y_i; 1 elsewhere."""
    out = np.ones(mask.shape)
    for (n, _), columns in responses(mask, sample).items():
        log_s = sum(float(logp[n, m]) - float(old_logp[n, m]) for m in columns) / len(columns)
        out[n, columns] = math.exp(log_s)
    return out


def surrogate(ratio, adv, eps_low, eps_high, dual_clip):
    """One number at a time, by the cases of the paper rather than by min and max."""
    out, clipped = np.zeros(ratio.shape), np.zeros(ratio.shape)
    for at in np.ndindex(ratio.shape):
        r, a = float(ratio[at]), float(adv[at])
        bound = r
        if a > 0 and r > 1 + eps_high:
            bound = 1 + eps_high
        if a < 0 and r < 1 - eps_low:
            bound = 1 - eps_low
        if a < 0 and dual_clip and r > dual_clip:
            bound = dual_clip
        out[at], clipped[at] = bound * a, bound != r
    return out, clipped


def kl(logp, ref_logp, form):
    """Schulman's three estimators for one token sampled from π, with r = π_ref / π."""
    r = math.exp(ref_logp - logp)
    return {"k1": -math.log(r), "k2": math.log(r) ** 2 / 2, "k3": (r - 1) - math.log(r)}[form]


def aggregate(x, mask, sample, name, max_length):
    """The mean each paper writes: over tokens, or over responses of Σ_t / |y| or Σ_t / L."""
    found = responses(mask, sample)
    if name == "token_mean":
        return sum(x[n, m] for (n, _), ms in found.items() for m in ms) / mask.sum()
    per = []
    for (n, _), columns in found.items():
        total = sum(x[n, m] for m in columns)
        per.append(total / (len(columns) if name == "seq_mean_token_mean" else max_length))
    return sum(per) / len(per)


def overlong(length, max_length, buffer, factor):
    """The three cases of eq. 13."""
    if length <= max_length - buffer:
        return 0.0
    if length <= max_length:
        return factor * ((max_length - buffer) - length) / buffer
    return -factor


def ppo(logp, entropy, rows, c):
    """The whole objective of a batch, as a mean to be minimised, from the pieces above."""
    on = rows["mask"] > 0
    old, ref = rows["old_logp"], rows["ref_logp"]
    ratio = np.where(on, np.exp(np.where(on, logp - old, 0)), 1)
    if c.ratio != "token":
        ratio = sequence_ratio(logp, old, rows["mask"], rows["sample"])
    value, _ = surrogate(ratio, rows["adv"], c.eps_low, c.eps_high, c.dual_clip)
    loss = np.zeros(on.shape)
    for at in zip(*np.nonzero(on), strict=True):
        loss[at] = -value[at] - c.entropy_coef * entropy[at]
        if c.kl_coef:
            loss[at] += c.kl_coef * kl(float(logp[at]), float(ref[at]), c.kl_form)
    return aggregate(loss, rows["mask"], rows["sample"], c.aggregation, c.max_length)
