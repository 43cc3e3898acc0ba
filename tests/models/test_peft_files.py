"""peft reads what we write, and of what it wrote we read what we compute."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import tiny_vl

from jaxrl.models import checkpoints, decoder, hf_files, lora, peft_files

TOKENS = np.random.default_rng(0).integers(0, tiny.MODEL.V, (2, 9)).astype(np.int32)
CASES = [
    lora.LoraConfig(4, 8.0),
    lora.LoraConfig(2, 16.0, ("q", "v")),
    lora.LoraConfig(3, 6.0, ("o", "down")),
]


def logits(params):
    """Ours, of TOKENS as plain sequences."""
    place, flat = jnp.broadcast_to(jnp.arange(9), TOKENS.shape), np.zeros_like(TOKENS)
    hidden = decoder.forward(params, TOKENS, place, flat, flat + 1, tiny.MODEL)
    return np.asarray(hidden) @ np.asarray(decoder.head(params)).T


def theirs(model, tokens=TOKENS):
    """Those of a torch model."""
    import torch

    with torch.no_grad():
        return model.eval()(torch.from_numpy(tokens).long()).logits.numpy()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peft") / "adapter"
    peft_files.save(tiny.adapters(CASES[1]), tiny.MODEL, CASES[1], "base", folder)
    return folder


@pytest.mark.parametrize("c", CASES, ids=lambda c: "-".join(c.targets))
def test_a_saved_adapter_comes_back(tmp_path, c):
    x = tiny.adapters(c)
    peft_files.save(x, tiny.MODEL, c, "base", tmp_path / "adapter")
    back, same = peft_files.load(tmp_path / "adapter", tiny.MODEL)
    assert same == c
    jax.tree.map(np.testing.assert_array_equal, back, x)


def test_adapters_of_a_vision_language_model_come_back_under_its_names(tmp_path):
    c, x = CASES[1], tiny.adapters(CASES[1], tiny_vl.MODEL)
    peft_files.save(x, tiny_vl.MODEL, c, "base", tmp_path / "adapter")
    jax.tree.map(
        np.testing.assert_array_equal, peft_files.load(tmp_path / "adapter", tiny_vl.MODEL)[0], x
    )
    names = hf_files.open_safetensors(tmp_path / "adapter" / peft_files.WEIGHTS).keys()
    inside = "base_model.model.model.language_model.layers.2.self_attn.v_proj.lora_B.weight"
    assert inside in names and len(names) == 4 * tiny_vl.TEXT.L
    with pytest.raises(ValueError, match=r"tensors, such as .*another model"):
        peft_files.load(tmp_path / "adapter", tiny_vl.TEXT)


def test_a_directory_that_exists_is_left_alone(saved):
    with pytest.raises(FileExistsError, match="exists and is not empty"):
        peft_files.save(tiny.adapters(CASES[1]), tiny.MODEL, CASES[1], "base", saved)


@pytest.mark.peers
@pytest.mark.parametrize("c", CASES, ids=lambda c: "-".join(c.targets))
def test_peft_computes_the_same_logits(tmp_path, c):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    x = tiny.adapters(c)
    tiny.write(tmp_path / "model")
    peft_files.save(x, tiny.MODEL, c, tmp_path / "model", tmp_path / "adapter")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    want = theirs(PeftModel.from_pretrained(base, tmp_path / "adapter"))
    got = logits(lora.attached(tiny.params(), x, c))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.peers
def test_peft_puts_the_adapters_of_a_vision_language_model_in_their_places(tmp_path):
    """Those of the papers, in the decoder alone: the logits of a text are ours."""
    import peer_vl
    from peft import PeftModel

    how = lora.LoraConfig(2, 4.0, ("q", "k", "v", "gate", "up", "down"))
    x, made = tiny.adapters(how, tiny_vl.MODEL), peer_vl.model()
    made.save_pretrained(tmp_path / "model")
    params = checkpoints.load(tmp_path / "model")
    peft_files.save(x, tiny_vl.MODEL, how, tmp_path / "model", tmp_path / "adapter")
    tokens = np.maximum(TOKENS, 8)  # none that stands for a picture
    place, flat = jnp.broadcast_to(jnp.arange(9), tokens.shape), np.zeros_like(tokens)
    whole = lora.attached(params, x, how)
    hidden = decoder.forward(whole, tokens, place, flat, flat + 1, tiny_vl.TEXT)
    got = np.asarray(hidden) @ np.asarray(decoder.head(params)).T
    adapted = PeftModel.from_pretrained(made, tmp_path / "adapter")
    np.testing.assert_allclose(got, theirs(adapted, tokens), rtol=1e-4, atol=1e-4)
    added = [name for name, _ in adapted.named_parameters() if "lora_" in name]
    assert len(added) == 2 * 6 * tiny_vl.TEXT.L and not any("visual" in name for name in added)


@pytest.mark.peers
def test_we_compute_the_logits_of_an_adapter_that_peft_wrote(tmp_path):
    """All its keys, with their defaults, among them."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny.write(tmp_path / "model"))
    asked = LoraConfig(r=3, lora_alpha=6, target_modules=["down_proj", "q_proj"])
    model = get_peft_model(base, asked)
    with torch.no_grad():
        for name, x in model.named_parameters():
            if "lora_" in name:
                x.normal_(std=0.25, generator=torch.Generator().manual_seed(len(name)))
    model.save_pretrained(tmp_path / "adapter")
    x, c = peft_files.load(tmp_path / "adapter", tiny.MODEL)
    assert c == lora.LoraConfig(3, 6.0, ("q", "down"))
    got = logits(lora.attached(tiny.params(), x, c))
    np.testing.assert_allclose(got, theirs(model), rtol=1e-4, atol=1e-4)
    assert np.abs(got - logits(tiny.params())).max() > 1e-2


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"peft_type": "IA3"}, "peft_type='IA3' is not supported"),
        ({"use_dora": True}, "use_dora=True is not supported"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa' is not supported"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern=.* merge the adapter"),
        ({"target_modules": ["q_proj", "lm_head"]}, r"target_modules \['lm_head'\]"),
        ({"target_modules": ".*_proj"}, r"target_modules \['.\*_proj'\]"),
        ({"target_modules": ["q_proj"]}, "differ in 4 tensors.*other targets"),
        ({"r": 9}, "model.lora.rank=9"),
        ({"r": 1}, r"lora_A.weight has shape \(2, 16\)"),
    ],
)
def test_an_adapter_that_we_would_compute_wrongly_is_refused(saved, tmp_path, changes, says):
    folder = shutil.copytree(saved, tmp_path / "copy")
    config = hf_files.read_json(folder / peft_files.CONFIG)
    (folder / peft_files.CONFIG).write_text(json.dumps(config | changes))
    with pytest.raises(ValueError, match=says):
        peft_files.load(folder, tiny.MODEL)


def test_an_adapter_of_another_model_is_refused(saved):
    more = decoder.Config(**vars(tiny.MODEL) | {"L": 3})
    with pytest.raises(ValueError, match=r"4 tensors, such as .*layers.2.*another model"):
        peft_files.load(saved, more)
    wide = decoder.Config(**vars(tiny.MODEL) | {"D": 32})
    with pytest.raises(ValueError, match=r"has shape \(2, 16\).*another model"):
        peft_files.load(saved, wide)
    with pytest.raises(FileNotFoundError, match=r"no .*adapter_config"):
        peft_files.load(saved.parent, tiny.MODEL)
