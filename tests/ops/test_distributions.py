"""The sampling law against a sort, the draw against the law, and rows against their neighbours."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import oracles_kernels
import pytest

from jaxrl.ops import distributions
from jaxrl.ops.distributions import BLOCK, NEAR, Law

LAWS = [
    Law(),
    Law(0.7),
    Law(0.0),
    Law(top_k=1),
    Law(0.7, top_k=5),
    Law(top_k=10**6),
    Law(top_p=0.9),
    Law(top_p=1e-6),
    Law(0.7, top_k=20, top_p=0.8),
]
LONG = BLOCK * (NEAR + 9) + 3  # more blocks than a cut looks into first, and a short one

law_logp = jax.jit(distributions.law_logp, static_argnums=1)
draw = jax.jit(distributions.draw, static_argnums=2)


def _logits(shape, scale=3.0, seed=0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def _oracle(logits, law):
    return oracles_kernels.law_logp(logits, law.temperature, law.top_k, law.top_p)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("V", [7, 301])
def test_law_matches_the_sort(law, V):
    logits = _logits((4, V))
    np.testing.assert_allclose(law_logp(logits, law), _oracle(logits, law), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("law", [Law(top_k=40), Law(top_k=2000), Law(top_k=300, top_p=0.5)])
def test_long_vocabularies_match_the_sort_near_and_far(law):
    """Pins the fallback: a flat row keeps tokens of more blocks than the cut looks into first."""
    logits = _logits((3, LONG)) * np.array([[3.0], [1.0], [0.1]], np.float32)
    np.testing.assert_allclose(law_logp(logits, law), _oracle(logits, law), rtol=1e-4, atol=1e-4)


def test_top_p_keeps_the_smallest_sufficient_set_of_a_flat_row():
    law, logits = Law(top_p=0.7), _logits((2, LONG), scale=0.5)
    p = np.sort(np.exp(_oracle(logits, Law())), axis=1)[:, ::-1]
    kept = np.isfinite(law_logp(logits, law)).sum(axis=1)
    for row, count in zip(p, kept, strict=True):
        assert (
            row[: count - 2].sum() < 0.7 < row[: count + 2].sum()
        )  # f32 may err by one token of 1e-4


def test_equal_logits_stand_or_fall_together():
    logits = np.array([[2.0, 1.0, 1.0, 0.0], [0.0, -0.0, 0.0, -1.0]], np.float32)
    kept = np.isfinite(law_logp(logits, Law(top_k=2)))
    np.testing.assert_array_equal(kept, [[1, 1, 1, 0], [1, 1, 1, 0]])


@pytest.mark.parametrize("law", LAWS)
def test_draw_reports_the_law_it_drew_from(law, V=301):
    """Pins both log-probs: of the cut law, and of the full softmax at the law's temperature."""
    logits, u = _logits((64, V), seed=1), np.random.default_rng(2).random(64, np.float32)
    token, logp, full = draw(logits, u, law)
    at = lambda x: np.take_along_axis(x, np.asarray(token)[:, None], 1)[:, 0]
    assert token.dtype == jnp.int32
    np.testing.assert_allclose(logp, at(_oracle(logits, law)), rtol=1e-5, atol=1e-5)
    uncut = _oracle(logits, Law(law.temperature or 1.0))
    np.testing.assert_allclose(full, at(uncut), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("law", [Law(), Law(0.8, top_k=12, top_p=0.9)])
def test_an_even_grid_of_uniforms_reproduces_the_law(law):
    """Inverse CDF: n even uniforms hit a token n·p times, to within its ends."""
    n, logits = 4096, _logits((1, 301), scale=2.0, seed=3)
    u = ((np.arange(n) + 0.5) / n).astype(np.float32)
    token = draw(np.repeat(logits, n, 0), u, law)[0]
    counts = np.bincount(token, minlength=301)
    assert np.abs(counts - n * np.exp(_oracle(logits, law)[0])).max() <= 2


def test_keyed_uniforms_give_the_law_by_chi_square():
    n, logits = 8192, _logits((1, 16), scale=1.0, seed=4)
    u = distributions.uniforms(jax.random.key(0), jnp.arange(n), 5)
    token = draw(np.repeat(logits, n, 0), u, Law())[0]
    expected = n * np.exp(_oracle(logits, Law())[0])
    chi2 = ((np.bincount(token, minlength=16) - expected) ** 2 / expected).sum()
    assert chi2 < 44.3  # 15 degrees of freedom: passed by all but 1e-4 of seeds


@pytest.mark.parametrize("law", [Law(), Law(top_k=3)])
def test_no_uniform_draws_a_token_of_probability_zero(law):
    """Pins the ends: u = 0 under empty leading blocks, u = 1 after empty trailing ones."""
    edges = [0.0, 1e-45, 1e-7, 0.25, 0.5, 1 - 2**-24, 1.0]
    u = np.array(edges + list(np.random.default_rng(5).random(57)), np.float32)
    logits = np.full((64, 7 * BLOCK + 5), -np.inf, np.float32)
    live = [2 * BLOCK - 1, 3 * BLOCK, 3 * BLOCK + 2, 5 * BLOCK + 7]
    logits[:, live] = [1.0, 0.0, 0.5, -20.0]
    token, logp, _ = draw(logits, u, law)
    assert set(np.asarray(token).tolist()) <= set(live)
    assert np.isfinite(logp).all()


def test_ends_of_the_cumulative_sum_survive_rounding():
    """Pins a sum that never quite reaches u · total, and prefix sums that step back by an ulp."""
    logits = np.where(np.arange(5 * BLOCK) % 3 == 1, _logits((512, 5 * BLOCK), 0.01), -np.inf)
    u = 1 - np.arange(512, dtype=np.float32) * 2.0**-24
    token, logp, _ = draw(logits.astype(np.float32), u.astype(np.float32), Law())
    assert (np.asarray(token) % 3 == 1).all() and np.isfinite(logp).all()


@pytest.mark.parametrize("law", [Law(), Law(top_k=2000, top_p=0.9)])
def test_a_draw_does_not_depend_on_its_neighbours(law):
    """Pins bit equality, also where a neighbour sends the whole batch through the fallback."""
    key, rows = jax.random.key(1), jnp.array([7, 3, 11])
    logits = _logits((3, LONG)) * np.array([[6.0], [0.1], [1.0]], np.float32)
    u = distributions.uniforms(key, rows, 2)
    together = draw(logits, u, law)
    for i in range(3):
        u_alone = distributions.uniforms(key, rows[i : i + 1], 2)
        assert u_alone[0] == u[i]
        alone = draw(logits[i : i + 1], u_alone, law)
        assert together[0][i] == alone[0][0]
        np.testing.assert_allclose(
            [x[i] for x in together[1:]], [x[0] for x in alone[1:]], rtol=1e-5
        )


def test_uniforms_work_with_a_traced_step():
    key, rows = jax.random.key(2), jnp.arange(4)
    steps = jax.jit(
        lambda: jax.lax.map(lambda t: distributions.uniforms(key, rows, t), jnp.arange(3))
    )()
    for t in range(3):
        np.testing.assert_array_equal(steps[t], distributions.uniforms(key, rows, t))
    assert len(np.unique(steps)) == 12 and (0 <= steps).all() and (steps < 1).all()


@pytest.mark.parametrize(
    "field, value",
    [("temperature", -1.0), ("temperature", float("nan")), ("top_k", -1), ("top_k", 2.5)]
    + [("top_p", 0.0), ("top_p", 1.5)],
)
def test_a_law_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"{field}={value}: give"):
        Law(**{field: value})


def test_an_uncut_draw_runs_no_cut():
    trace = jax.make_jaxpr(distributions.draw, static_argnums=2)
    cuts = re.compile(r"\b(top_k|sort|while|scan|cond)\[")
    assert not cuts.search(str(trace(_logits((2, LONG)), np.ones(2), Law())))
    assert cuts.search(str(trace(_logits((2, LONG)), np.ones(2), Law(top_k=2))))
