"""Group advantages as they are commonly computed: dictionaries of lists, row by row, on the host.

Ports of the formulas with numpy in place of torch, for speed comparisons only: the shape of the
loops is what is measured. LOOPS maps a name to a function of Signals of numpy arrays.
"""

import collections

import numpy as np

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


def _loo(rewards, index):
    stat = lambda x: (np.mean(x), len(x))
    return _grouped(rewards, index, stat, lambda r, s: (r - s[0]) * s[1] / (s[1] - 1))


def _pooled(rewards, index, pool):
    stds = _grouped(rewards, pool, lambda x: np.std(x, ddof=1), lambda r, sigma: sigma)
    return _centred(rewards, index) / (stds + EPS)


def _best(rewards, index):
    def stat(x):
        second, first = np.sort(x)[-2:]
        return first, second, np.std(x, ddof=1)

    value = lambda r, s: (s[0] - s[1]) / (s[2] + EPS) if r == s[0] else 0.0
    return _grouped(rewards, index, stat, value)


def _opo(s):
    rows = np.stack([s.rewards, s.length.astype(np.float32)], axis=1)
    stat = lambda x: np.sum(x[:, 0] * x[:, 1]) / np.sum(x[:, 1])
    return _grouped(rows, s.group, stat, lambda row, b: row[0] - b)


def _whiten(x, weight):
    mu = np.sum(x * weight) / np.sum(weight)
    return (x - mu) / (np.sqrt(np.sum(weight * (x - mu) ** 2) / (np.sum(weight) - 1)) + EPS)


def _gdpo(s):
    total = sum(_z(s.parts[:, k], s.group) for k in range(s.parts.shape[1]))
    return _whiten(total, s.length)


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


def _reinforce(s):
    token = np.zeros(s.mask.shape, np.float32)
    last = s.mask.shape[1] - 1 - np.argmax(s.mask[:, ::-1], axis=1)
    token[np.arange(len(last)), last] = s.rewards
    running, returns = np.zeros(len(token), np.float32), []
    for t in reversed(range(token.shape[1])):
        running = token[:, t] + running
        returns.append(running)
    return _whiten(np.stack(returns[::-1], axis=1), s.mask)


LOOPS = {
    "grpo": lambda s: _z(s.rewards, s.group),
    "dr_grpo": lambda s: _centred(s.rewards, s.group),
    "rloo": lambda s: _loo(s.rewards, s.group),
    "batch_norm_grpo": lambda s: _centred(s.rewards, s.group) / (np.std(s.rewards, ddof=1) + EPS),
    "levels": lambda s: _z(s.rewards, s.group),
    "maxrl": lambda s: _grouped(s.rewards, s.group, np.mean, lambda r, mu: (r - mu) / (mu + EPS)),
    "grpo_passk": lambda s: _best(s.rewards, s.group),
    "opo": _opo,
    "gpg": lambda s: _centred(s.rewards, s.group) * len(s.rewards) / np.count_nonzero(s.rewards),
    "gdpo": _gdpo,
    "reinforce_plus_plus_baseline": lambda s: _whiten(_centred(s.rewards, s.group), s.length),
    "gfpo": _gfpo,
    "reinforce_plus_plus": _reinforce,
    "gigpo": _gigpo,
    "erpo": lambda s: _pooled(s.rewards, s.group, s.env),
    "efficiency_eapo": _efficiency,
    "evidence_eapo": _evidence,
    "arena": _arena,
    "anchor_plan": lambda s: _z(s.plan, s.group),
    "anchor_execution": lambda s: _z(s.rewards, s.group),
    "first_step_grpo": lambda s: _z(s.rewards, s.group),
}
