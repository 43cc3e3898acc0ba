"""Rounding by chance, for parameters kept in bfloat16: small updates are not lost, on average."""

import jax
import jax.numpy as jnp


def stochastic(x, key):
    """float32 -> bfloat16, to one of the two neighbours, so that the expectation is x.

        P(away from 0) = (|x| − |lo|) / (|hi| − |lo|)        |lo| ≤ |x| ≤ |hi|, neighbours in bf16

    A bfloat16 is the upper half of a float32: a uniform draw of 16 bits is added to the lower half
    and what does not carry is cut off. So the probability is exact, in steps of 2⁻¹⁶, and a number
    that bfloat16 holds stays itself, infinities included; NaN stays NaN.

    x: any shape, f32.  returns: the same shape, bf16.
    """
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    draw = jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.uint32)
    rounded = ((bits + draw) >> 16).astype(jnp.uint16)
    rounded = jax.lax.bitcast_convert_type(rounded, jnp.bfloat16)
    return jnp.where(jnp.isfinite(x), rounded, x.astype(jnp.bfloat16))  # NaN's low bits would carry
