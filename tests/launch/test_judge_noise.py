"""A judge that does not err: what every scheme must then find."""

import jax
import numpy as np
import pytest

from launch.benches import judge_noise


@pytest.fixture(scope="module")
def exact():
    """{scheme: {metric: mean}} of 32 groups, without noise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge_noise, "GROUPS", 32)
        return jax.device_get(judge_noise._seed("independent", 0.0, jax.random.key(0)))


def test_the_best_is_found_by_all(exact):
    assert {scheme: m["regret"] for scheme, m in exact.items()} == dict.fromkeys(exact, 0)


@pytest.mark.parametrize("scheme", ["pointwise", "pointwise, 60 calls", "round_robin", "anchor"])
def test_the_whole_order_is_found(exact, scheme):
    """A tie broken by rounding would show as 15/16 of the square."""
    for metric in ("kendall", "spearman"):
        np.testing.assert_allclose(exact[scheme][metric], 1, rtol=1e-6)


def test_scores_are_the_advantages_and_ranks_are_not(exact):
    np.testing.assert_allclose(exact["pointwise"]["cosine"], 1, rtol=1e-6)
    assert 0.9 < exact["round_robin"]["cosine"] < 0.99
