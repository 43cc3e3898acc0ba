"""A base in fewer bits: which parameters have how many, and how far its logits may move."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxrl.models import decoder, frozen
from jaxrl.models.layers import Quantized, dense
from jaxrl.parallel import mesh, rules

TOKENS = np.random.default_rng(0).integers(0, tiny.MODEL.V, (2, 9)).astype(np.int32)


def is_matrix(x):
    return isinstance(x, Quantized)


@pytest.mark.parametrize("precision", frozen.PRECISIONS)
def test_norms_stay_f32_and_matrices_are_held_as_asked(precision):
    for path, x in jax.tree_util.tree_leaves_with_path(tiny.held(precision), is_leaf=is_matrix):
        name = path[-1].key
        if precision == "float32" or name.endswith("norm"):
            assert x.dtype == jnp.float32
        elif precision == "int8" and name in decoder.MATRICES:
            fan_in = 2 if name == "o" else 1
            want = (x.q.shape[0], *[1] * fan_in, *x.q.shape[1 + fan_in :])
            assert (x.q.dtype, x.scale.dtype, x.scale.shape) == (jnp.int8, jnp.float32, want)
        else:
            assert x.dtype == jnp.bfloat16


@pytest.mark.parametrize("precision, most", [("bfloat16", 0.01), ("int8", 0.02)])
def test_logits_move_by_a_documented_share(precision, most):
    """In the mean over tokens and vocabulary, relative to the logits' spread: random weights."""
    place, flat = jnp.broadcast_to(jnp.arange(9), TOKENS.shape), np.zeros_like(TOKENS)

    def logits(params):
        hidden = decoder.forward(params, TOKENS, place, flat, flat + 1, tiny.MODEL)
        return np.asarray(hidden) @ np.asarray(decoder.head(params), np.float32).T

    want = logits(tiny.params())
    off = np.abs(logits(tiny.held(precision)) - want).mean() / want.std()
    assert 0 < off < most


def test_loading_reduces_what_is_read_and_keeps_it_split(tmp_path):
    """On a mesh the bits are those of one device: the largest weight is that of all shards."""
    where = mesh.make(fsdp=2, tensor=2, devices=jax.devices()[:4])
    places = rules.shardings(decoder.specs(tiny.MODEL), where, rules.TRAIN)
    got = frozen.load(tiny.write(tmp_path / "model"), tiny.MODEL, places, "int8")
    jax.tree.map(np.testing.assert_array_equal, got, tiny.held("int8"))
    q = got["layers"]["gate"].q
    assert q.addressable_shards[0].data.shape == (2, 8, 16)
    np.testing.assert_allclose(
        dense(got["layers"]["gate"]), tiny.params()["layers"]["gate"], atol=0.01
    )
