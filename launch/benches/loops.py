"""Estimators that no peer of the bench has, as plain loops on the host: dictionaries, row by row.

Formulas with numpy, in the shape that verl gives to its own; for speed comparisons only. LOOPS maps
a name to a function of Signals of numpy arrays.
"""

import collections

import numpy as np

from launch.benches import peers_verl

EPS = 1e-6


def _grouped(rows, index, stat, value):
    """Collects the rows of each group, computes its statistics once, visits every row again."""
    lists = collections.defaultdict(list)
    for i in range(len(rows)):
        lists[index[i]].append(rows[i])
    stats = {}
    for key in lists:
        stats[key] = stat(np.stack(lists[key]))
    out = np.zeros(len(rows), np.float32)
    for i in range(len(rows)):
        out[i] = value(rows[i], stats[index[i]])
    return out


def _moments(x):
    return np.mean(x), np.std(x, ddof=1)


def _z(rewards, index):
    return _grouped(rewards, index, _moments, lambda r, s: (r - s[0]) / (s[1] + EPS))


def _centred(rewards, index):
    return _grouped(rewards, index, np.mean, lambda r, mu: r - mu)


def _pooled(rewards, index, pool):
    stds = _grouped(rewards, pool, lambda x: np.std(x, ddof=1), lambda r, sigma: sigma)
    return _centred(rewards, index) / (stds + EPS)


def _gfpo(s):
    rows = np.stack([s.rewards, s.length.astype(np.float32)], axis=1)

    def stat(x):
        kept = x[np.argsort(x[:, 1], kind="stable")[: (len(x) + 1) // 2]]
        return kept[-1, 1], np.mean(kept[:, 0]), np.std(kept[:, 0], ddof=1) + EPS

    value = lambda row, s: (row[0] - s[1]) / s[2] if row[1] <= s[0] else 0.0
    return _grouped(rows, s.group, stat, value)


def _gigpo(s):
    return _z(s.rewards, s.group) + _z(s.returns, s.state)


def _efficiency(s):
    return _z(s.rewards * 0.995 ** (s.rounds - s.round), s.group)


def _evidence(s):
    rewards = np.where(s.formatted, 0.7 * s.rewards + 0.3 * (s.evidence - 1) / 4, 0)
    return _z(rewards, s.group)


def _arena(s):
    rewards = _grouped(s.rank, s.group, len, lambda rank, n: 1 - rank / (n - 1))
    return _z(rewards, s.group)


def _vtrace(s):
    rewards, ratio = peers_verl.on_last(s.rewards, s.mask), np.minimum(np.exp(s.log_ratio), 1)
    following, correction, out = np.zeros(len(rewards)), np.zeros(len(rewards)), []
    for t in reversed(range(rewards.shape[1])):
        chosen, value = s.mask[:, t], s.values[:, t]
        adv = ratio[:, t] * (rewards[:, t] + following + correction - value)
        delta = ratio[:, t] * (rewards[:, t] + following - value)
        out.append(adv * chosen)
        correction = np.where(chosen, delta + ratio[:, t] * correction, correction)
        following = np.where(chosen, value, following)
    return np.stack(out[::-1], axis=1)


def _upgo(s):
    rewards, ratio = peers_verl.on_last(s.rewards, s.mask), np.minimum(np.exp(s.log_ratio), 1)
    best, out = np.zeros(len(rewards)), []
    for t in reversed(range(rewards.shape[1])):
        chosen, value = s.mask[:, t], s.values[:, t]
        gain = rewards[:, t] + best
        out.append(ratio[:, t] * (gain - value) * chosen)
        best = np.where(chosen, np.maximum(gain, value), best)
    return np.stack(out[::-1], axis=1)


LOOPS = {
    "batch_norm_grpo": lambda s: _centred(s.rewards, s.group) / (np.std(s.rewards, ddof=1) + EPS),
    "levels": lambda s: _z(s.rewards, s.group),
    "maxrl": lambda s: _grouped(s.rewards, s.group, np.mean, lambda r, mu: (r - mu) / (mu + EPS)),
    "gfpo": _gfpo,
    "vtrace": _vtrace,
    "upgo": _upgo,
    "gigpo": _gigpo,
    "erpo": lambda s: _pooled(s.rewards, s.group, s.env),
    "efficiency_eapo": _efficiency,
    "evidence_eapo": _evidence,
    "arena": _arena,
    "anchor_plan": lambda s: _z(s.plan, s.group),
    "anchor_execution": lambda s: _z(s.rewards, s.group),
    "first_step_grpo": lambda s: _z(s.rewards, s.group),
}
