"""The learner's weights at the sampler: bits, places, one program, and what a broken copy does."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxrl.sampling.weights import Mover

MODEL = dataclasses.replace(tiny.MODEL, qkv_bias=True)  # biases have no axis that fsdp splits
SPLIT = {"data": 2, "fsdp": 2, "tensor": 2}


def setting(sizes, dtype=jnp.float32):
    """(Mover, parameters as the learner holds them, the abstract tree the sampler wants)."""
    base = tiny.base(jax.devices(), sizes, model=MODEL, dtype=dtype)
    where = jax.tree.map(lambda x: x.sharding, base.abstract)
    wanted = base.abstract_sampler()
    return Mover(base.abstract, wanted), jax.device_put(tiny.params(MODEL), where), wanted


def pointers(x):
    return [shard.data.unsafe_buffer_pointer() for shard in x.addressable_shards]


def test_where_all_rules_agree_nothing_is_copied():
    mover, params, _ = setting({"data": 4, "tensor": 2})
    got = mover(params, 0)
    assert jax.tree.map(pointers, got) == jax.tree.map(pointers, params)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_what_differs_is_moved_and_the_rest_shares_its_buffers(dtype):
    mover, params, wanted = setting(SPLIT, dtype)
    got = mover(params, 0)
    alike = 0
    for (path, x), y, want in zip(
        jax.tree_util.tree_leaves_with_path(params),
        *map(jax.tree.leaves, (got, wanted)),
        strict=True,
    ):
        assert y.dtype == dtype and y.sharding.is_equivalent_to(want.sharding, y.ndim), path
        np.testing.assert_array_equal(np.asarray(x).astype(dtype), y)
        alike += pointers(x) == pointers(y)
    assert alike == (3 if dtype == jnp.float32 else 0)  # the biases of q, k and v
    assert not got["layers"]["q"].sharding.is_equivalent_to(params["layers"]["q"].sharding, 4)


def test_every_move_is_the_same_program():
    mover, params, _ = setting(SPLIT)
    for version in range(3):
        mover(jax.tree.map(lambda x: x + 1, params), version)
    assert mover._reshard._cache_size() == 1
    assert mover._prints._cache_size() == 2  # of the learner's arrays, and of the sampler's


def test_a_copy_with_two_values_swapped_on_one_device_is_refused(monkeypatch):
    """The sum of its words is right, and so are the copies on the other devices."""
    mover, params, _ = setting(SPLIT)
    reshard, at = mover._reshard, mover._names.index("layers/gate")

    def garbled(leaves):
        moved = reshard(leaves)
        parts = [np.array(shard.data) for shard in moved[at].addressable_shards]
        parts[6][0, 0, 0], parts[6][1, 3, 5] = parts[6][1, 3, 5], parts[6][0, 0, 0]
        where = [shard.device for shard in moved[at].addressable_shards]
        parts = list(map(jax.device_put, parts, where))
        like = moved[at].shape, moved[at].sharding
        moved[at] = jax.make_array_from_single_device_arrays(*like, parts)
        return moved

    monkeypatch.setattr(mover, "_reshard", garbled)
    with pytest.raises(RuntimeError, match=r"version 7 .* 1 of 11 .*'layers/gate'.*rerun"):
        mover(params, 7)
