"""The linear map's own gradient, the norm, and each way a checkpoint stretches its rotation."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.models import decoder, rotary
from jaxrl.models.layers import dense, linear, quantize, rms_norm

CONFIG = decoder.Config(V=8, D=8, L=1, H=1, K=1, N=16, F=8, rope_theta=500.0, context=64)
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3 |= {"original_max_position_embeddings": 64}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}


def normal(*shape, seed=0, dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def with_rope(**scaling):
    return dataclasses.replace(CONFIG, rope_scaling=tuple(sorted(scaling.items())))


@pytest.mark.parametrize(
    "x_shape, w_shape, axes, product",
    [
        ((2, 3, 4), (4, 5), 1, "nti,io->nto"),
        ((2, 3, 4), (4, 2, 3), 1, "nti,ihd->nthd"),
        ((2, 3, 2, 4), (2, 4, 5), 2, "nthd,hdo->nto"),
        ((3, 4), (4, 5), 1, "ti,io->to"),
    ],
)
def test_linear_and_its_gradients_equal_einsum(x_shape, w_shape, axes, product):
    """The hand-written gradient reshapes by hand: a transposed axis would pass a square test."""
    x, w = normal(*x_shape), normal(*w_shape, seed=1)
    weigh = lambda y: (y * jnp.sin(jnp.arange(y.size)).reshape(y.shape)).sum()
    ours = jax.jit(jax.value_and_grad(lambda x, w: weigh(linear(x, w, axes)), (0, 1)))(x, w)
    plain = jax.value_and_grad(lambda x, w: weigh(jnp.einsum(product, x, w)), (0, 1))(x, w)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), ours, plain)


def test_linear_runs_in_the_type_of_x_and_sums_the_weights_gradient_in_theirs():
    """4,096 equal terms: a sum in bf16 would stall at 256."""
    x, w = jnp.ones((4096, 2), jnp.bfloat16), jnp.ones((2, 3))
    assert linear(x, w).dtype == jnp.bfloat16
    d_x, d_w = jax.grad(lambda x, w: linear(x, w).astype(jnp.float32).sum(), (0, 1))(x, w)
    assert (d_x.dtype, d_w.dtype) == (jnp.bfloat16, jnp.float32)
    np.testing.assert_array_equal(d_w, 4096)


@pytest.mark.parametrize(
    "x_shape, w_shape, axes", [((2, 3, 4), (4, 2, 3), 1), ((3, 2, 4), (2, 4, 5), 2)]
)
def test_an_int8_matrix_multiplies_as_the_numbers_it_stands_for(x_shape, w_shape, axes):
    """Value and gradient of x; the matrix has none."""
    x, w = normal(*x_shape), quantize(normal(*w_shape, seed=1), tuple(range(axes)))
    assert w.q.dtype == jnp.int8 and w.scale.shape == (1,) * axes + w_shape[axes:]
    weigh = lambda y: (y * jnp.sin(jnp.arange(y.size)).reshape(y.shape)).sum()
    ours, plain = (
        jax.jit(jax.value_and_grad(lambda x, w: weigh(linear(x, w, axes))))(x, matrix)
        for matrix in (w, dense(w))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), ours, plain)
    assert linear(x.astype(jnp.bfloat16), w, axes).dtype == jnp.bfloat16


def test_int8_errs_by_half_a_step_at_most_in_every_channel():
    """|w − q s| ≤ max |w| / 254 of the channel, so a product errs by at most that times Σ|x|."""
    w = normal(64, 6, seed=1) * jnp.array([1e-6, 1e-3, 1, 10, 1e4, 0])
    x, found = normal(5, 64), quantize(w, (0,))
    bound = jnp.abs(w).max(0) / 254
    off = jnp.abs(dense(found) - w)
    assert (off <= bound * (1 + 1e-4)).all() and (off.max(0)[:5] > bound[:5] / 2).all()
    error = jnp.abs(linear(x, found) - x @ w)
    assert (error <= jnp.abs(x).sum(1)[:, None] * bound * (1 + 1e-4) + 1e-30).all()
    assert jnp.abs(found.q).max() == 127 and (found.q[:, 5] == 0).all()


def test_int8_weights_are_what_the_gradient_remembers():
    """Plain autodiff would keep the weights of all layers as floats: four times the base."""
    x, w = normal(3, 16), quantize(normal(5, 16, 16, seed=1), (1,))
    run = lambda x: jax.lax.scan(lambda x, w: (linear(x, w), None), x, w)[0].sum()
    kept = jax.tree.leaves(jax.vjp(run, x)[1])
    large = [k for k in kept if k.size >= w.q.size]
    assert all(k.dtype == jnp.int8 for k in large)


def test_rms_norm_equals_its_formula_and_keeps_the_type():
    x, scale = normal(3, 5) * 100, normal(5, seed=1)
    want = np.array([row / math.sqrt(np.mean(np.square(row)) + 0.1) for row in np.array(x)]) * scale
    np.testing.assert_allclose(rms_norm(x, scale, 0.1), want, rtol=1e-6)
    assert rms_norm(x.astype(jnp.bfloat16), scale, 0.1).dtype == jnp.bfloat16
    assert np.isfinite(jax.grad(lambda x: rms_norm(x, scale, 1e-5).sum())(jnp.zeros((2, 5)))).all()


@pytest.mark.parametrize("scaling", [None, {"rope_type": "linear", "factor": 2.5}, LLAMA3, YARN])
def test_scores_depend_on_the_distance_alone(scaling):
    c = with_rope(**scaling) if scaling else CONFIG
    q, k = normal(1, 1, 1, 16), normal(1, 1, 1, 16, seed=1)
    at = lambda x, position: rotary.rotate(x, *rotary.angles(jnp.array([[position]]), c))
    score = lambda i, j: float((at(q, i) * at(k, j)).sum())
    np.testing.assert_allclose(score(9, 4), score(25, 20), rtol=1e-4)
    assert abs(score(9, 4) - score(9, 5)) > 1e-3
    factor = rotary.frequencies(c)[1]
    np.testing.assert_allclose(at(q, 0), q * factor, rtol=1e-6)
    size = float(jnp.linalg.norm(at(q, 33)))
    np.testing.assert_allclose(size, factor * jnp.linalg.norm(q), rtol=1e-5)


def test_rotation_turns_pairs_half_a_head_apart():
    """The interleaved convention of other code bases gives other numbers and no error."""
    x = jnp.zeros((1, 1, 1, 16)).at[..., 3].set(1.0)
    y = rotary.rotate(x, *rotary.angles(jnp.array([[5]]), CONFIG))[0, 0, 0]
    angle = 5 * 500.0 ** (-3 / 8)
    want = np.zeros(16)
    want[3], want[11] = math.cos(angle), math.sin(angle)
    np.testing.assert_allclose(y, want, atol=1e-6)


def test_linear_scaling_is_a_division_of_positions():
    scaled = rotary.angles(jnp.array([[10]]), with_rope(rope_type="linear", factor=2.5))
    plain = rotary.angles(jnp.array([[4]]), CONFIG)
    np.testing.assert_allclose(scaled, plain, rtol=1e-6)


def test_llama3_keeps_short_waves_divides_long_ones_and_goes_between_in_order():
    plain, scaled = rotary.frequencies(CONFIG)[0], rotary.frequencies(with_rope(**LLAMA3))[0]
    turns = 64 * plain / (2 * math.pi)
    ratio = scaled / plain
    assert (ratio[turns >= 4] == 1).all() and (turns >= 4).any()
    np.testing.assert_allclose(ratio[turns <= 1], 1 / 8)
    between = ratio[(turns > 1) & (turns < 4)]
    assert len(between) and (between < 1).all() and (between > 1 / 8).all()
    assert (np.diff(ratio) <= 0).all()


def test_yarn_ramps_from_kept_to_divided_and_warms_the_angles():
    plain, _ = rotary.frequencies(CONFIG)
    scaled, factor = rotary.frequencies(with_rope(**YARN))
    ratio = scaled / plain
    assert ratio[0] == 1 and ratio[-1] == 1 / 4 and (np.diff(ratio) <= 0).all()
    np.testing.assert_allclose(factor, 0.1 * math.log(4) + 1)
    assert rotary.frequencies(with_rope(**YARN | {"attention_factor": 1.5}))[1] == 1.5
