import functools

import jax
import numpy as np
import oracles_embedding as oracles
import pytest

from jaxrl.ops import ranking_losses

N, K, T = 5, 6, 0.5


def lists(junk=np.nan):
    """Ragged lists with ties in the grades; one of a single document, one of none."""
    rng = np.random.default_rng(0)
    there = rng.random((N, K)) < 0.7
    there[0], there[3], there[4] = True, False, False
    there[3, 2] = True
    scores = np.where(there, rng.normal(size=(N, K)), junk).astype(np.float32)
    grades = np.where(there, rng.integers(0, 4, (N, K)), junk).astype(np.float32)
    return scores, grades, there


def _rank_net(s, y, there):
    total, pairs = oracles.rank_net(s, -y, there, T)  # rank 1 is the best
    return total, pairs


LOSSES = {  # case -> (function, keywords, (sum, weight) of the oracle)
    "rank_net": ("rank_net", {"temperature": T}, _rank_net),
    "list_net": (
        "list_net",
        {"temperature": T, "target_temperature": 2.0},
        lambda s, y, m: (oracles.list_net(s, y, m, T, 2.0), 4),
    ),
    "list_mle": (
        "list_mle",
        {"temperature": T},
        lambda s, y, m: (oracles.list_mle(s, y, m, T), 4),
    ),
    "lambda_rank": ("lambda_loss", {}, lambda s, y, m: oracles.lambda_loss(s, y, m, 1.0, 0.0)),
    "ndcg_loss2++": (
        "lambda_loss",
        {"temperature": T, "mu": 10.0},
        lambda s, y, m: oracles.lambda_loss(s, y, m, T, 10.0),
    ),
    "margin_mse": ("margin_mse", {}, oracles.margin_mse),
}


@functools.cache
def compiled(case):
    """(scores, relevance, mask) -> ((sum, stats), gradients of the first two)."""
    name, knobs, _ = LOSSES[case]
    loss = lambda s, y, there: getattr(ranking_losses, name)(s, y, there, **knobs)
    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))


@pytest.mark.parametrize("case", LOSSES)
def test_a_ranking_loss_is_its_loop(case):
    """And neither NaN nor infinity under the mask is seen, by value or by gradient."""
    scores, grades, there = lists()
    (total, stats), grads = compiled(case)(scores, grades, there)
    oracle = LOSSES[case][2]
    want, weight = oracle(*(np.asarray(x, float) for x in (scores, grades)), there)
    np.testing.assert_allclose(total, want, rtol=1e-5)
    assert stats["weight"] == weight > 0
    assert np.isfinite(grads[0]).all() and not grads[0][~there].any() and grads[0].any()
    assert not grads[1].any(), "what is to be learnt gets no gradient"
    again = compiled(case)(*lists(np.inf))
    jax.tree.map(np.testing.assert_array_equal, again, ((total, stats), grads))


def test_rank_net_rewards_the_right_order():
    """The paper's printed sign would reward the reverse."""
    there = np.zeros((N, K), bool)
    there[0, :4] = True
    rank = np.full((N, K), np.nan, np.float32)
    rank[0, :4] = 1, 2, 3, 4
    (right, stats), _ = compiled("rank_net")(-rank / 4, -rank, there)
    (wrong, reverse), _ = compiled("rank_net")(rank / 4, -rank, there)
    assert right < wrong
    assert stats["weight"] == stats["accuracy"] == 6 and reverse["accuracy"] == 0


@pytest.mark.parametrize("case", LOSSES)
def test_no_list_at_all_is_no_loss(case):
    """A batch of padding alone has sum 0 and weight 0, and no NaN in between."""
    scores, grades, there = lists()
    (total, stats), grads = compiled(case)(scores, grades, np.zeros_like(there))
    assert total == 0 and stats["weight"] == 0 and not grads[0].any()
