"""Rounding by chance: the expectation is the number, and what bfloat16 holds stays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.ops import rounding

round_ = jax.jit(rounding.stochastic)


def neighbours(x):
    """The bfloat16 numbers on both sides of x, towards and away from 0, by cutting off bits."""
    low = (np.asarray(x, np.float32).view(np.uint32) >> 16) << 16
    return low.view(np.float32), (low + np.uint32(1 << 16)).view(np.float32)


@pytest.mark.parametrize("x", [1 + 2**-10, -3.7, 1e-30, -2e38, 0.99999, 2**-126 * 1.3])
def test_the_expectation_over_keys_is_the_number(x):
    """Each result is a neighbour, and the share of the outer one lies within 5 σ of its chance."""
    x, n = np.float32(x), 20_000
    got = np.asarray(round_(jnp.full(n, x), jax.random.key(0)), np.float32)
    low, high = neighbours(x)
    assert set(np.unique(got)) <= {low, high}
    chance = (np.float64(x) - low) / (np.float64(high) - low)
    sigma = np.sqrt(chance * (1 - chance) / n)
    assert 0 < chance < 1 and abs((got == high).mean() - chance) < 5 * sigma


def test_what_bfloat16_holds_stays_whatever_the_key():
    x = np.array([0.0, -0.0, 1.0, -1.5, 2.0**-126, 3e38, np.inf, -np.inf], np.float32)
    x = np.asarray(jnp.asarray(x).astype(jnp.bfloat16), np.float32)
    for seed in range(20):
        got = np.asarray(round_(x, jax.random.key(seed)), np.float32)
        np.testing.assert_array_equal(got.view(np.uint32), x.view(np.uint32))


def test_a_number_just_below_one_it_holds_nearly_always_becomes_it():
    """A carry over all bits, into the exponent too."""
    x = np.nextafter(np.float32(2), np.float32(0))
    got = np.asarray(round_(jnp.full(1000, x), jax.random.key(1)), np.float32)
    assert (got == 2).mean() > 0.99


def test_nan_stays_nan():
    """All its low bits set: adding to them once made it −0."""
    x = np.full(100, np.uint32(0x7FFFFFFF)).view(np.float32)
    assert np.isnan(np.asarray(round_(x, jax.random.key(0)), np.float32)).all()
