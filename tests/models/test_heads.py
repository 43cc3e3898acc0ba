"""Scalar heads: zero at the start, read at the last valid token, blind to padding."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.models import decoder, heads
from jaxrl.models import spec as specs

CONFIG = decoder.Config(V=32, D=16, L=1, H=4, K=2, N=4, F=32)


def test_last_finds_the_end_wherever_the_padding_is():
    """Counting the valid tokens finds the end only when the padding is on the right."""
    x = jnp.arange(12.0).reshape(3, 4)
    valid = jnp.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0]], bool)
    np.testing.assert_array_equal(heads.last(x, valid), [1, 7, 10])
    deep = heads.last(jnp.stack([x, -x], -1), valid)
    np.testing.assert_array_equal(deep, [[1, -1], [7, -7], [10, -10]])


def test_an_empty_row_is_unscorable_and_sends_no_gradient():
    valid = jnp.array([[True, False], [False, False]])
    got = heads.last(jnp.ones((2, 2)), valid)
    assert got[0] == 1 and np.isnan(got[1])
    grad = jax.grad(lambda x: jnp.nansum(heads.last(x, valid)))(jnp.ones((2, 2)))
    np.testing.assert_array_equal(grad, [[1, 0], [0, 0]])


def test_values_are_zero_at_first_and_f32():
    p = specs.init(heads.specs(CONFIG), jax.random.key(0), jnp.bfloat16)
    values = heads.scalar(p, jnp.ones((2, 3, 16), jnp.bfloat16))
    assert values.shape == (2, 3) and values.dtype == jnp.float32
    assert not values.any()


def test_scalar_is_the_dot_product():
    rng = np.random.default_rng(0)
    hidden, weight = rng.normal(size=(2, 3, 16)), rng.normal(size=16)
    p = {"weight": jnp.float32(weight), "bias": jnp.float32(0.5)}
    np.testing.assert_allclose(heads.scalar(p, jnp.float32(hidden)), hidden @ weight + 0.5, 1e-4)


def test_reward_reads_the_whole_sequence_and_no_padding():
    params = specs.init(heads.reward_specs(CONFIG), jax.random.key(0))
    params["scalar"]["weight"] = jnp.ones(16)
    position = jnp.arange(6)[None].repeat(4, 0)
    hi = (position < 4).astype(jnp.int32)
    tokens = jnp.array(
        [[1, 2, 3, 4, 0, 0], [1, 2, 3, 4, 9, 7], [8, 2, 3, 4, 0, 0], [1, 2, 3, 5, 0, 0]]
    )
    got = jax.jit(heads.reward, static_argnames="c")(
        params, tokens, position, jnp.zeros_like(hi), hi, c=CONFIG
    )
    assert got.shape == (4,)
    np.testing.assert_allclose(got[0], got[1], rtol=1e-6)
    assert abs(got[0] - got[2]) > 1e-4 and abs(got[0] - got[3]) > 1e-4
