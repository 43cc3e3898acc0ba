import jax
import jax.numpy as jnp
import numpy as np
import oracles_embedding as oracles
import pytest

from jaxrl.ops import embedding_quantization as quantization


@pytest.mark.parametrize("step", [0.01, 0.004])
def test_lsq_and_its_two_gradients(step):
    """The step's gradient is LSQ's own, not that of the formula (0 almost everywhere)."""
    rng = np.random.default_rng(0)
    v = rng.normal(size=(3, 8)).astype(np.float32)
    v[0, :2], v[1, 0] = (200 * step, -200 * step), 0  # out of the range; at 0
    v[2] *= step
    cotangent = rng.normal(size=v.shape).astype(np.float32)
    run = jax.jit(jax.vjp, static_argnums=0)
    out, pull = run(quantization.lsq, v, jnp.float32(step))
    want = oracles.lsq(v.astype(float), np.float32(step).astype(float), cotangent)
    np.testing.assert_allclose(out, want[0], rtol=1e-6)
    d_v, d_step = pull(cotangent)
    np.testing.assert_array_equal(d_v, want[1].astype(np.float32))
    np.testing.assert_allclose(d_step, want[2], rtol=1e-4)


def test_a_step_that_went_below_zero_divides_by_no_zero():
    value, grads = jax.value_and_grad(lambda v, s: quantization.lsq(v, s).sum(), argnums=(0, 1))(
        jnp.array([[0.5, -0.5]]), jnp.float32(-1.0)
    )
    assert np.isfinite(value) and all(np.isfinite(g).all() for g in grads)


def test_the_first_step_reaches_over_the_numbers_of_a_unit_vector():
    v = oracles.unit(np.random.default_rng(0).normal(size=(16, 64))).astype(np.float32)
    step = quantization.initial_step(v)
    np.testing.assert_allclose(step, 2 * np.abs(v).mean() / np.sqrt(127), rtol=1e-6)
    error = np.abs(quantization.lsq(v, step) - v).max()
    assert error <= step / 2 + 1e-7, "none was clipped"


def test_binary_is_the_sign_with_the_gradient_of_the_number():
    v = np.float32([[0.3, -0.2, 0.0, -1e-20]])
    out, pull = jax.vjp(quantization.binary, v)
    np.testing.assert_array_equal(out, [[1, -1, 1, -1]])
    cotangent = np.float32([[1, 2, 3, 4]])
    np.testing.assert_array_equal(pull(cotangent)[0], cotangent)


def test_quantization_aware_adds_the_loss_on_what_is_left():
    rng = np.random.default_rng(0)
    tree = [oracles.unit(rng.normal(size=(4, 16))).astype(np.float32) for _ in "ab"]
    loss = lambda e: ((e[0] * e[1]).sum(), {"weight": 4.0})
    run = lambda e, s: quantization.quantization_aware(loss, e, s, weight=0.5)
    step = jnp.float32(0.05)
    (total, stats), grads = jax.jit(jax.value_and_grad(run, (0, 1), has_aux=True))(tree, step)
    cosines = lambda pair: sum(oracles.s(*map(oracles.unit, ab)) for ab in zip(*pair, strict=True))
    full = cosines(tree)
    int8 = cosines([oracles.lsq(v.astype(float), 0.05, v)[0] for v in tree])
    binary = cosines([np.where(v < 0, -1.0, 1.0) for v in tree])
    np.testing.assert_allclose(total, full + 0.5 * (int8 + binary), rtol=1e-5)
    for name, value in (("full", full), ("int8", int8), ("binary", binary)):
        np.testing.assert_allclose(stats[f"loss_{name}"], value, rtol=1e-4)
    assert stats["weight"] == 4
    assert all(np.isfinite(g).all() and np.any(g) for g in (*grads[0], grads[1]))


def test_packed_vectors_score_as_training_saw_them():
    """An index must rank as the loss did: the packed score is the cosine of what was rounded."""
    rng, D = np.random.default_rng(0), 13  # the last byte is not full
    q, d = (oracles.unit(rng.normal(size=(n, D))).astype(np.float32) for n in (3, 5))
    step = np.float32(0.004)

    @jax.jit
    def packed(q, d):
        codes = [quantization.to_int8(v, step) for v in (q, d)]
        bits = [quantization.to_bits(v) for v in (q, d)]
        rounded = [quantization.lsq(v, step) for v in (q, d)]
        cosines = quantization.int8_cosines(*codes), quantization.binary_cosines(*bits, D)
        return codes, bits, rounded, cosines, quantization.hamming(*bits)

    codes, bits, rounded, cosines, hamming = packed(q, d)
    want = lambda a, b: [[oracles.s(*map(oracles.unit, (x, y))) for y in b] for x in a]
    assert codes[0].dtype == jnp.int8
    np.testing.assert_allclose(codes[0] * step, rounded[0], rtol=1e-6)
    np.testing.assert_allclose(cosines[0], want(*rounded), atol=1e-6)
    signs = [np.where(v < 0, -1, 1) for v in (q, d)]
    np.testing.assert_array_equal(bits[0], np.packbits(q >= 0, axis=-1))
    np.testing.assert_array_equal(hamming, [[(x != y).sum() for y in signs[1]] for x in signs[0]])
    np.testing.assert_allclose(cosines[1], want(*signs), atol=1e-6)


def test_int8_sums_do_not_overflow():
    """4,096 products of 127 · 127 are more than float32 holds exactly, let alone int8."""
    codes = jnp.full((1, 4096), 127, jnp.int8)
    np.testing.assert_allclose(quantization.int8_cosines(codes, -codes), [[-1]], rtol=1e-6)
    np.testing.assert_array_equal(quantization.int8_cosines(codes, 0 * codes), [[0]])
