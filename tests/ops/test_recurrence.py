"""The backward recurrence against the loop, on both of its paths."""

import jax
import numpy as np
import oracles_kernels
import pytest

from jaxrl.ops import recurrence

PATHS = [recurrence.backward_recurrence, recurrence._by_steps, recurrence._by_doubling]


@pytest.mark.parametrize("solve", PATHS)
@pytest.mark.parametrize("T", [1, 2, 33])
def test_matches_the_loop(solve, T):
    rng = np.random.default_rng(T)
    a, b = rng.normal(size=(2, 4, T)).astype(np.float32)
    got = jax.jit(solve)(a, b)
    np.testing.assert_allclose(got, oracles_kernels.backward_recurrence(a, b), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("solve", PATHS)
def test_gradient_is_the_transposed_recurrence(solve):
    """Finite also at a = 0, the cut between sequences: db_t = Σ_{s ≤ t} Π_{s ≤ i < t} a_i."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 9)).astype(np.float32)
    a[:, 4] = 0.0
    da, db = jax.jit(jax.grad(lambda a, b: solve(a, b).sum(), argnums=(0, 1)))(a, b)
    want_db = np.ones_like(b)
    for t in range(1, 9):
        want_db[:, t] += a[:, t - 1] * want_db[:, t - 1]
    after = oracles_kernels.backward_recurrence(a, b)[:, 1:]
    np.testing.assert_allclose(db, want_db, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(da[:, :-1], want_db[:, :-1] * after, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(da[:, -1], 0.0, atol=1e-6)
