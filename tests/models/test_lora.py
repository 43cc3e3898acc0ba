"""Adapters: nothing changes at first, attached equals merged whatever holds the base."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import tiny_embedder

from jaxrl.models import decoder, lora, spec

TOKENS = np.random.default_rng(0).integers(0, tiny.MODEL.V, (2, 9)).astype(np.int32)
CASES = [
    lora.LoraConfig(4, 8.0),
    lora.LoraConfig(2, 16.0, ("q", "v")),
    lora.LoraConfig(3, 6.0, ("o", "down")),
]


def hidden(params):
    """Of TOKENS, each row one sequence."""
    place = jnp.broadcast_to(jnp.arange(TOKENS.shape[1]), TOKENS.shape)
    flat = np.zeros_like(TOKENS)
    return decoder.forward(params, TOKENS, place, flat, flat + 1, tiny.MODEL)


def test_a_fresh_adapter_changes_nothing():
    c = CASES[0]
    fresh = spec.init(lora.specs(tiny.MODEL, c), jax.random.key(0))
    got = hidden(lora.attached(tiny.params(), fresh, c))
    np.testing.assert_array_equal(got, hidden(tiny.params()))


@pytest.mark.parametrize("c", CASES, ids=lambda c: "-".join(c.targets))
def test_attached_and_merged_are_the_same_model(c):
    x = tiny.adapters(c)
    got = hidden(lora.attached(tiny.params(), x, c))
    want = hidden(lora.merged(tiny.params(), x, c))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    assert np.abs(np.asarray(got) - hidden(tiny.params())).max() > 1e-2


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_attached_and_merged_agree_on_a_base_of_fewer_bits(precision):
    """The sampler reads what the learner computes: the base as it is held, not as stored."""
    c = CASES[0]
    x, base = tiny.adapters(c), tiny.held(precision)
    got, want = (hidden(join(base, x, c)) for join in (lora.attached, lora.merged))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    full = hidden(lora.merged(tiny.params(), x, c))
    assert 1e-4 < np.abs(np.asarray(got) - full).max()


def test_merged_parameters_have_the_type_and_the_tree_that_the_sampler_was_compiled_for():
    x = lora.merged(tiny.held("int8"), tiny.adapters(CASES[1]), CASES[1], jnp.bfloat16)
    want = spec.abstract(decoder.specs(tiny.MODEL), jnp.bfloat16)
    jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype) or pytest.fail(), x, want)


def test_gradients_reach_the_adapters_and_are_those_of_the_merged_model():
    c = CASES[0]
    x, params = tiny.adapters(c), tiny.params()
    loss = lambda join: lambda x, params: jnp.square(hidden(join(params, x, c))).sum()
    ours, base = jax.grad(loss(lora.attached), (0, 1))(x, params)
    want = jax.grad(loss(lora.merged))(x, params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), ours, want)
    assert all((np.asarray(base["layers"][t]) == 0).all() for t in c.targets)


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"rank": -1}, "model.lora.rank=-1"),
        ({"rank": 4, "alpha": 0.0}, "model.lora.alpha=0.0"),
        ({"rank": 4, "targets": ("q", "x")}, "model.lora.targets=.*'x'"),
        ({"rank": 4, "targets": ()}, "model.lora.targets"),
        ({"rank": 4, "targets": ("q", "q")}, "model.lora.targets.*each once"),
        ({"adapter": "DIR"}, "model.lora.adapter='DIR' with model.lora.rank=0"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, says):
    with pytest.raises(ValueError, match=says):
        lora.LoraConfig(**settings)


def test_a_rank_above_that_of_a_matrix_and_an_encoder_are_refused():
    """k is 16 × 8; without it and v, which is alike, 16 would do."""
    with pytest.raises(ValueError, match=r"model.lora.rank=9 .*'k'.* 16 × 8: give at most 8"):
        lora.check(tiny.MODEL, lora.LoraConfig(9))
    with pytest.raises(ValueError, match=r"the model is an encoder, .*set model.lora.rank=0"):
        lora.check(tiny_embedder.ENCODER, lora.LoraConfig(2))
    lora.check(tiny.MODEL, lora.LoraConfig(8))
    lora.check(tiny.MODEL, lora.LoraConfig(16, targets=("q", "o", "gate", "up", "down")))
