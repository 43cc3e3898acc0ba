"""The ring against one device: values and gradients, forests included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxrl.ops import attention, blockwise_attention

N, W, H, K, d = 2, 64, 4, 2, 8


def forest(seed):
    """Two trees a row, a trunk with branches each, and padding at the end."""
    lo, hi = np.zeros((N, W), np.int32), np.zeros((N, W), np.int32)
    rng = np.random.default_rng(seed)
    for n in range(N):
        at, label = 0, 0
        for _ in range(2):
            branches = int(rng.integers(1, 4))
            lengths = rng.integers(3, 8, branches + 1)
            lo[n, at : at + lengths[0]] = label
            hi[n, at : at + lengths[0]] = label + branches
            at += lengths[0]
            for length in lengths[1:]:
                lo[n, at : at + length], hi[n, at : at + length] = label, label + 1
                at, label = at + length, label + 1
    return attention.Forest(jnp.asarray(lo), jnp.asarray(hi))


@pytest.mark.parametrize("context", [2, 8])
@pytest.mark.parametrize("chunk", [512, 3])
def test_values_and_gradients_are_those_of_one_device(monkeypatch, context, chunk):
    monkeypatch.setattr(blockwise_attention, "CHUNK", chunk)
    mesh = jax.make_mesh(
        (8 // context, context), ("data", "context"), axis_types=(jax.sharding.AxisType.Auto,) * 2
    )
    rng = np.random.default_rng(context)
    q, k, v, dy = (rng.normal(size=(N, W, h, d)).astype(np.float32) for h in (H, K, K, H))
    tree = forest(context)
    on = np.asarray(tree.hi > tree.lo)[:, :, None, None]  # padding is junk on both sides
    rows = "data" if N % (8 // context) == 0 else None

    def loss(attend, q, k, v):
        return (jnp.where(on, attend(q, k, v, tree), 0) * dy).sum()

    def ring(q, k, v, tree):
        return blockwise_attention.ring(q, k, v, tree, split=(rows, None, "context"))

    want = jax.value_and_grad(lambda *a: loss(attention.forest, *a), (0, 1, 2))(q, k, v)
    place = NamedSharding(mesh, PartitionSpec(rows, "context"))
    with jax.set_mesh(mesh):
        args = jax.device_put((q, k, v), place)
        got = jax.jit(jax.value_and_grad(lambda *a: loss(ring, *a), (0, 1, 2)))(*args)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
