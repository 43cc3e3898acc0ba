"""Qwen3-VL directories: names and sizes as published, bit-equal round trip, missing heads."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_vl
from safetensors.numpy import load_file, save_file

from jaxrl.models import checkpoints, decoder, qwen3_vl, spec, vl_families

FIXTURE = Path(__file__).parents[1] / "fixtures" / "qwen3_vl"
C = tiny_vl.MODEL


def stored(path):
    return {k: x for f in sorted(path.glob("*.safetensors")) for k, x in load_file(f).items()}


def same(before, after):
    """The same names, and the same bits under each."""
    bits = lambda x: x.view(np.uint16)
    return before.keys() == after.keys() and all(
        (bits(before[k]) == bits(after[k])).all() for k in before
    )


@pytest.fixture
def checkpoint(tmp_path):
    """A copy that a test may damage."""
    return Path(shutil.copytree(FIXTURE, tmp_path / "checkpoint"))


def edit(path, config=lambda hf: hf, tensors=lambda x: x):
    """Changes config.json and the tensors."""
    hf = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config(hf)))
    save_file(tensors(stored(path)), path / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("name", tiny_vl.PUBLISHED)
def test_published_sizes_have_their_parameters(name):
    """Counted from the specs; nothing is allocated."""
    c = vl_families.from_hf(tiny_vl.published(name))
    assert (spec.count(qwen3_vl.specs(c)), len(checkpoints._names(c))) == tiny_vl.PUBLISHED[name][3]
    assert (c.text.rope_theta, c.text.qk_norm, c.mrope) == (5e6, True, (24, 20, 20))
    assert (c.vision.side, c.vision.patch, c.image_id, c.video_id) == (48, 16, 151655, 151656)
    assert vl_families.from_hf(vl_families.to_hf(c)) == c


def test_names_and_shapes_are_those_of_the_files():
    """Some of each kind, from the published 2B."""
    shapes = {x[0]: x[1] for x in checkpoints._names(vl_families.from_hf(tiny_vl.published("2B")))}
    for name, shape in {
        "model.visual.patch_embed.proj.weight": (1024, 3, 2, 16, 16),
        "model.visual.pos_embed.weight": (2304, 1024),
        "model.visual.blocks.23.attn.qkv.weight": (3072, 1024),
        "model.visual.blocks.0.mlp.linear_fc1.weight": (4096, 1024),
        "model.visual.merger.norm.weight": (1024,),
        "model.visual.merger.linear_fc2.weight": (2048, 4096),
        "model.visual.deepstack_merger_list.2.norm.bias": (4096,),
        "model.language_model.embed_tokens.weight": (151936, 2048),
        "model.language_model.layers.27.self_attn.k_proj.weight": (1024, 2048),
        "model.language_model.layers.0.self_attn.q_norm.weight": (128,),
        "model.language_model.norm.weight": (2048,),
    }.items():
        assert shapes[name] == shape
    assert "lm_head.weight" not in shapes


def test_round_trip_is_bit_equal(tmp_path):
    """HF -> ours -> HF in bf16: the same names, shapes and bits, and the same config."""
    params = checkpoints.load(FIXTURE, C, dtype=jnp.bfloat16)
    checkpoints.save(params, C, tiny_vl.TOKENIZER, tmp_path / "out", max_shard_bytes=50_000)
    assert same(stored(FIXTURE), stored(tmp_path / "out"))
    assert checkpoints.config(tmp_path / "out") == checkpoints.config(FIXTURE) == C


def test_checkpoints_of_the_bare_model_are_read(checkpoint):
    """Saved without its head's wrapper, the names lack "model."."""
    bare = lambda x: {k.removeprefix("model."): v for k, v in x.items()}
    edit(checkpoint, tensors=bare)
    got, want = checkpoints.load(checkpoint), checkpoints.load(FIXTURE)
    jax.tree.map(np.testing.assert_array_equal, got, want)


def test_a_missing_head_makes_an_embedder(checkpoint, tmp_path):
    """Untied without lm_head, as Qwen3-VL-Embedding-8B: it loads, saves, and gives no logits."""
    edit(checkpoint, config=lambda hf: hf | {"tie_word_embeddings": False})
    c = checkpoints.config(checkpoint)
    assert c.text.headless and not c.text.tied
    params = checkpoints.load(checkpoint, c, dtype=jnp.bfloat16)
    assert params["head"] is None
    with pytest.raises(ValueError, match=r"no output head \(lm_head.weight\): it is an embedder"):
        decoder.head(params)
    checkpoints.save(params, c, tiny_vl.TOKENIZER, tmp_path / "out")
    assert checkpoints.config(tmp_path / "out") == c
    assert same(stored(checkpoint), stored(tmp_path / "out"))


def test_an_untied_head_is_read(checkpoint):
    """As Qwen3-VL-8B and Qwen3-VL-Reranker-8B."""
    embed = lambda x: x["model.language_model.embed_tokens.weight"]
    edit(
        checkpoint,
        config=lambda hf: hf | {"tie_word_embeddings": False},
        tensors=lambda x: x | {"lm_head.weight": embed(x)[::-1].copy()},
    )
    c = checkpoints.config(checkpoint)
    params = checkpoints.load(checkpoint, c)
    assert not c.text.headless
    np.testing.assert_array_equal(decoder.head(params), params["embed"][::-1])


def part(name, **changes):
    return lambda hf: hf | {name: hf[name] | changes}


@pytest.mark.parametrize(
    "config, message",
    [
        (
            part("text_config", rope_parameters={"mrope_interleaved": False}),
            "mrope_interleaved=False",
        ),
        (part("text_config", hidden_act="gelu"), "hidden_act='gelu'"),
        (part("vision_config", hidden_act="gelu"), "vision_config has hidden_act='gelu'"),
        (part("vision_config", num_position_embeddings=26), "num_position_embeddings=26"),
        (part("vision_config", out_hidden_size=32), r"out_hidden_size=32 is not .*hidden_size=24"),
        (part("vision_config", deepstack_visual_indexes=[2, 9]), r"\[2, 9\]: give rising layer"),
        (part("vision_config", num_heads=8), "multiple of 4 · num_heads"),
        (lambda hf: {k: v for k, v in hf.items() if k != "text_config"}, "lacks 'text_config'"),
    ],
)
def test_what_we_do_not_compute_is_refused(checkpoint, config, message):
    edit(checkpoint, config=config)
    with pytest.raises(ValueError, match=message):
        checkpoints.config(checkpoint)


def test_weights_of_another_model_are_refused(checkpoint):
    """A layer more in the files than in the config, or less."""
    edit(checkpoint, config=part("vision_config", depth=3))
    with pytest.raises(
        ValueError, match=r"holds 'model\.visual\.blocks\.3\..* the config does not"
    ):
        checkpoints.load(checkpoint)
    edit(checkpoint, config=part("vision_config", depth=5))
    with pytest.raises(ValueError, match=r"lacks the tensor 'model\.visual\.blocks\.4\."):
        checkpoints.load(checkpoint)


def test_a_stretched_rotation_survives(checkpoint):
    """YaRN beside M-RoPE, as for contexts beyond the checkpoint's."""
    rope = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048}
    rope |= {"mrope_section": [4, 2, 2], "mrope_interleaved": True}
    hf = part("text_config", rope_scaling=rope, rope_parameters=None)
    edit(checkpoint, config=hf)
    c = checkpoints.config(checkpoint)
    assert dict(c.text.rope_scaling)["factor"] == 4.0 and c.mrope == (4, 2, 2)
    assert vl_families.from_hf(vl_families.to_hf(c)) == c
    plain = dataclasses.replace(c.text, rope_scaling=None)
    assert dataclasses.replace(c, text=plain) == dataclasses.replace(
        C, text=dataclasses.replace(C.text, rope_theta=c.text.rope_theta)
    )
