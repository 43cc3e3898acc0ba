"""One word an array: against a loop in Python, and what a plain sum lets through."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxrl.ops.fingerprint import fingerprint
from jaxrl.parallel import mesh

WORD = 2**32


def mix(word):
    word = (word ^ word >> 16) * 0x85EBCA6B % WORD
    word = (word ^ word >> 13) * 0xC2B2AE35 % WORD
    return word ^ word >> 16


def oracle(x):
    bits = np.ravel(x).view(f"uint{8 * x.dtype.itemsize}")
    return sum(mix(int(word) ^ i * 0x9E3779B9 % WORD) for i, word in enumerate(bits)) % WORD


@pytest.mark.parametrize("dtype", ["float32", ml_dtypes.bfloat16, "int8"])
@pytest.mark.parametrize("shape", [(), (5,), (3, 4, 2)])
def test_it_is_the_sum_of_the_mixed_bits(dtype, shape):
    x = np.asarray(np.random.default_rng(0).normal(size=shape) * 9).astype(dtype)
    assert int(jax.jit(fingerprint)(x)) == oracle(x)


X = np.random.default_rng(1).integers(-8, 8, (64, 128)).astype(np.float32)


def swapped(i, j):
    x = X.copy().ravel()
    x[[i, j]] = x[[j, i]]
    return x.reshape(X.shape)


@pytest.mark.parametrize(
    "other",
    [
        -X,
        np.roll(X, 1, axis=0),
        np.roll(X, 64, axis=1),
        X[::-1],
        np.where(np.arange(128) == 77, np.nextafter(X, 99), X).astype(np.float32),
        swapped(0, int(np.flatnonzero(X.ravel() != X[0, 0])[-1])),
        swapped(4096, 4096 + int(np.flatnonzero(X.ravel()[4096:] != X[32, 0])[0])),
    ],
    ids=["signs", "rows shifted", "columns shifted", "reversed", "last bits", "swap", "swap next"],
)
def test_what_a_sum_of_words_would_not_see(other):
    """Small whole numbers as floats end in zero bits: linear weights of powers of two lose them."""
    assert not np.array_equal(other, X)
    assert int(fingerprint(other)) != int(fingerprint(X))


def test_it_is_the_same_on_every_mesh():
    devices = mesh.make(data=2, fsdp=2, tensor=2)
    for spec in (PartitionSpec("data", "tensor"), PartitionSpec(None, ("data", "fsdp", "tensor"))):
        placed = jax.device_put(jnp.asarray(X), NamedSharding(devices, spec))
        assert int(jax.jit(fingerprint)(placed)) == oracle(X)
