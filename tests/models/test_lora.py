"""Adapters: nothing changes at first, attached equals merged, peft reads what we write."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxrl.models import decoder, lora, peft_files, spec

TOKENS = np.random.default_rng(0).integers(0, tiny.MODEL.V, (2, 9)).astype(np.int32)
CASES = [
    lora.LoraConfig(4, 8.0),
    lora.LoraConfig(2, 16.0, ("q", "v")),
    lora.LoraConfig(3, 6.0, ("o", "down")),
]


def hidden(params):
    place = jnp.broadcast_to(jnp.arange(TOKENS.shape[1]), TOKENS.shape)
    flat = np.zeros_like(TOKENS)
    return decoder.forward(params, TOKENS, place, flat, flat + 1, tiny.MODEL)


def adapters(c, seed=0):
    """Random, B too: as after some training."""
    tree = lora.specs(tiny.MODEL, c)
    rng = np.random.default_rng(seed)
    draw = lambda s: rng.normal(size=s.shape).astype(np.float32) / 4
    return jax.tree.map(draw, tree, is_leaf=spec.is_spec)


def test_a_fresh_adapter_changes_nothing():
    c = CASES[0]
    fresh = spec.init(lora.specs(tiny.MODEL, c), jax.random.key(0))
    got = hidden(lora.attached(tiny.params(), fresh, c))
    np.testing.assert_array_equal(got, hidden(tiny.params()))


@pytest.mark.parametrize("c", CASES, ids=lambda c: "-".join(c.targets))
def test_attached_and_merged_are_the_same_model(c):
    x = adapters(c)
    got = hidden(lora.attached(tiny.params(), x, c))
    np.testing.assert_allclose(got, hidden(lora.merged(tiny.params(), x, c)), rtol=1e-4, atol=1e-5)
    assert np.abs(np.asarray(got) - hidden(tiny.params())).max() > 1e-2


def test_gradients_reach_the_adapters_and_are_those_of_the_merged_model():
    c = CASES[0]
    x, params = adapters(c), tiny.params()
    loss = lambda join: lambda x, params: jnp.square(hidden(join(params, x, c))).sum()
    ours, base = jax.grad(loss(lora.attached), (0, 1))(x, params)
    want = jax.grad(loss(lora.merged))(x, params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), ours, want)
    assert all((np.asarray(base["layers"][t]) == 0).all() for t in c.targets)


@pytest.mark.parametrize("c", CASES, ids=lambda c: "-".join(c.targets))
def test_a_saved_adapter_comes_back(tmp_path, c):
    x = adapters(c)
    peft_files.save(x, tiny.MODEL, c, "base", tmp_path / "adapter")
    back, same = peft_files.load(tmp_path / "adapter", tiny.MODEL)
    assert same == c
    jax.tree.map(np.testing.assert_array_equal, back, x)


@pytest.mark.peers
@pytest.mark.parametrize("c", CASES, ids=lambda c: "-".join(c.targets))
def test_peft_computes_the_same_logits(tmp_path, c):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    x = adapters(c)
    tiny.write(tmp_path / "model")
    peft_files.save(x, tiny.MODEL, c, tmp_path / "model", tmp_path / "adapter")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    model = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    with torch.no_grad():
        want = model(torch.from_numpy(TOKENS).long()).logits.numpy()
    params = lora.attached(tiny.params(), x, c)
    got = np.asarray(hidden(params)) @ np.asarray(decoder.head(params)).T
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"rank": -1}, "model.lora.rank=-1"),
        ({"rank": 4, "alpha": 0.0}, "model.lora.alpha=0.0"),
        ({"rank": 4, "targets": ("q", "x")}, "model.lora.targets=.*'x'"),
        ({"rank": 4, "targets": ()}, "model.lora.targets"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, says):
    with pytest.raises(ValueError, match=says):
        lora.LoraConfig(**settings)
