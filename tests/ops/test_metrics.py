"""pass@k against enumeration, Wilson against its defining equation, bootstrap against a loop."""

import itertools

import jax
import numpy as np
import pytest

from jaxrl.ops import metrics


@pytest.mark.parametrize("k", [1, 2, 5])
def test_pass_at_k_equals_enumeration_of_all_draws(k):
    """Pins the estimator 1 − (1 − c/n)^k, which is biased, and the missing clip at n − c < k."""
    n = 5
    got = jax.jit(metrics.pass_at_k, static_argnums=2)(np.full(n + 1, n), np.arange(n + 1), k)
    for c in range(n + 1):
        draws = list(itertools.combinations([1] * c + [0] * (n - c), k))
        assert float(got[c]) == pytest.approx(np.mean([any(d) for d in draws]), abs=1e-6)


def test_pass_at_k_is_undefined_with_fewer_samples_than_k():
    assert np.isnan(metrics.pass_at_k(np.array([3]), np.array([3]), 4)).all()


def test_pass_at_k_survives_sizes_whose_binomials_overflow():
    """C(2000, 100) is 1e171: out of range in f32."""
    got = float(metrics.pass_at_k(np.array(2000), np.array(10), 100))
    exact = 1.0
    for i in range(100):
        exact *= (1990 - i) / (2000 - i)
    assert got == pytest.approx(1 - exact, abs=1e-4)


def bisect(inside, low, high):
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if inside(middle) else (middle, high)
    return low


@pytest.mark.parametrize("correct, n", [(1, 10), (57, 200), (199, 200), (5, 7)])
def test_wilson_ends_lie_z_standard_errors_from_the_proportion(correct, n):
    """The interval is the set of p with |p̂ − p| ≤ z √(p(1−p)/n); found here by bisection."""
    seen = correct / n
    inside = lambda p: abs(seen - p) <= 1.959964 * np.sqrt(p * (1 - p) / n)
    low, high = jax.jit(metrics.wilson_interval)(correct, n)
    assert float(low) == pytest.approx(bisect(inside, 0.0, seen), abs=1e-5)
    assert float(high) == pytest.approx(bisect(lambda p: not inside(p), seen, 1.0), abs=1e-5)


def test_wilson_at_the_edges():
    low, high = metrics.wilson_interval(np.array([0, 20, 0]), np.array([20, 20, 0]))
    assert low[0] == pytest.approx(0, abs=1e-6) and 0.1 < high[0] < 0.2
    assert high[1] == pytest.approx(1, abs=1e-6) and 0.8 < low[1] < 0.9
    assert (low[2], high[2]) == (0, 1)


def test_bootstrap_equals_a_loop_in_numpy():
    rng = np.random.default_rng(0)
    values = rng.exponential(size=60).astype(np.float32)
    mask = rng.random(60) < 0.7
    kept = values[mask]
    means = [rng.choice(kept, len(kept)).mean() for _ in range(4000)]
    run = jax.jit(metrics.bootstrap_interval, static_argnames=("level", "draws"))
    got = run(values, mask, jax.random.key(0), level=0.9, draws=4000)
    np.testing.assert_allclose(got, np.quantile(means, [0.05, 0.95]), atol=0.03)


def test_bootstrap_ignores_what_the_mask_hides():
    values, mask = np.array([1.0, np.nan, 2.0, np.inf, 3.0]), np.array([1, 0, 1, 0, 1], bool)
    low, high = metrics.bootstrap_interval(values, mask, jax.random.key(1))
    assert 1 <= low < 2 < high <= 3
    empty = metrics.bootstrap_interval(values, np.zeros(5, bool), jax.random.key(1))
    assert np.isnan(empty).all()
