import jax
import numpy as np
import oracles_losses
import pytest
from loss_rows import M, N, rows

from jaxrl.ops.aggregations import AGGREGATIONS, AVERAGES


@pytest.mark.parametrize("name", list(AGGREGATIONS))
def test_aggregation_is_the_mean_of_the_paper_and_splits(name):
    """Weights and divisors of micro-batches add up to those of the whole batch."""
    f = jax.jit(lambda m, s, g: AGGREGATIONS[name](m, s, g, max_length=16))
    for seed in range(4):
        _, _, mask, sample = rows(seed)
        group = sample // 2
        x = np.random.default_rng(seed).normal(size=(N, M)).astype(np.float32)
        weight, total = f(mask, sample, group)
        want = oracles_losses.aggregate(x, mask, sample, group, name, 16)
        divisor = 1 if name == "token_sum" else total
        np.testing.assert_allclose((weight * x).sum() / divisor, want, rtol=1e-4, atol=1e-6)
        assert (np.asarray(weight)[mask == 0] == 0).all()
        on = [mask * (np.arange(N)[:, None] % 2 == i) for i in (0, 1)]
        halves = [f(half, sample, group) for half in on]
        np.testing.assert_allclose(sum(t for _, t in halves), total)
        np.testing.assert_allclose(sum(w for w, _ in halves), weight)


@pytest.mark.parametrize("name", list(AGGREGATIONS))
def test_averages_weigh_one_in_all(name):
    _, _, mask, sample = rows(1)
    weight, total = AGGREGATIONS[AVERAGES[name]](mask, sample, sample // 2)
    np.testing.assert_allclose(weight.sum(), total, rtol=1e-6)
