"""Scored tokens as the losses meet them: ragged responses, holes, junk under the mask."""

import numpy as np

N, M = 4, 24


def rows(seed, scale=0.5):
    """Ragged responses side by side in each row, holes in the mask, NaN and inf under it."""
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.integers(0, rng.integers(1, 6), (N, M)), axis=1).astype(np.int32)
    mask = (rng.random((N, M)) < 0.7).astype(np.float32)
    mask[:, -3:] = 0
    sample[:, -3:] = 0  # padding looks like response 0
    if seed % 2:
        mask[-1] = 0  # a row of padding alone
    logp = (-rng.exponential(size=(N, M))).astype(np.float32)
    old_logp = (logp + scale * rng.normal(size=(N, M))).astype(np.float32)
    junk = rng.choice(np.float32([np.nan, np.inf, -np.inf, 1e30]), (N, M))
    return np.where(mask > 0, logp, junk), np.where(mask > 0, old_logp, junk[::-1]), mask, sample
