"""One word for the bits of an array: copies on other devices, or in other pieces, have the same."""

import jax
import jax.numpy as jnp

PHI = 0x9E3779B9


def fingerprint(x):
    """Changes whenever one value does, and when values trade places or rows are shifted.

        f(x) = Σᵢ mix(wᵢ ⊕ φ i)  mod 2³²      wᵢ: the bits of value i, counted row by row

    mix is the last step of MurmurHash3 (Appleby 2011), a bijection of 32-bit words; φ = 2³² over
    the golden ratio. Sums of whole numbers have no rounding, so every sharding gives the same.  x:
    any shape, values of at most 32 bits.  returns: [] uint32.
    """
    words = jax.lax.bitcast_convert_type(x, jnp.dtype(f"uint{8 * x.dtype.itemsize}"))
    place = jnp.zeros(x.shape, jnp.uint32)
    for axis, size in enumerate(x.shape):
        place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
    return _mix(words.astype(jnp.uint32) ^ place * jnp.uint32(PHI)).sum(dtype=jnp.uint32)


def _mix(word):
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return word ^ (word >> 16)
