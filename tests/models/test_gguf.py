"""GGUF files: every storage type, the rotary order of llama files, metadata, the cache."""

import os
import subprocess
import sys
from pathlib import Path

import gguf as pypi_gguf
import jax
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from gguf import quants

from jaxrl.models import checkpoints, decoder, families, gguf, hf_files, rotary, spec

SIZES = {"V": 64, "D": 256, "L": 2, "H": 4, "K": 2, "N": 64, "F": 512, "rope_theta": 500.0}
ROOT = Path(__file__).parents[2]
LLAMA = decoder.Config(**SIZES)
CONFIGS = {
    "llama": LLAMA,
    "qwen2": decoder.Config(**SIZES | {"N": 64}, qkv_bias=True, tied=False),
    "qwen3": decoder.Config(**SIZES | {"N": 32}, qk_norm=True),
}
ERROR = {Kind.F32: 0, Kind.F16: 1e-3, Kind.BF16: 1e-2, Kind.Q8_0: 2e-2, Kind.Q4_0: 0.3}
ERROR |= {Kind.Q4_1: 0.2}


def permute(x, heads):
    """What llama.cpp's converter does to q and k: of each head, rows of both halves in turn."""
    rows = x.shape[0] // heads
    order = [
        h * rows + half * rows // 2 + i
        for h in range(heads)
        for i in range(rows // 2)
        for half in (0, 1)
    ]
    return x[order]


def write(path, c, params, kind=Kind.F32, arch="llama", extra=()):
    """A whole GGUF file of `params`, its matrices stored as `kind`."""
    out = pypi_gguf.GGUFWriter(path, arch)
    out.add_context_length(c.context)
    out.add_block_count(c.L)
    out.add_feed_forward_length(c.F)
    out.add_head_count(c.H)
    out.add_head_count_kv(c.K)
    out.add_key_length(c.N)
    out.add_layer_norm_rms_eps(c.norm_eps)
    out.add_rope_freq_base(c.rope_theta)
    add_tokenizer(out)
    for step in extra:
        step(out)
    for keys, value in jax.tree_util.tree_leaves_with_path(params):
        tree_path = tuple(key.key for key in keys)
        layout, name = families.NAMES[tree_path][1], gguf.NAMES[tree_path]
        layers = np.asarray(value) if "{}" in name else [np.asarray(value)]
        for i, x in enumerate(layers):
            x = np.ascontiguousarray(families.to_stored(x, layout))
            if arch == "llama" and tree_path[-1] in ("q", "k"):
                x = permute(x, c.H if tree_path[-1] == "q" else c.K)
            add_tensor(out, name.format(i), x, kind if x.ndim == 2 else Kind.F32)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def add_tensor(out, name, x, kind):
    """Stores x as `kind`."""
    plain = {Kind.F32: np.float32, Kind.F16: np.float16}
    if kind in plain:
        out.add_tensor(name, x.astype(plain[kind]))
    else:
        out.add_tensor(name, quants.quantize(x, kind), raw_dtype=kind)


def add_tokenizer(out):
    """A toy byte-level vocabulary with one merge."""
    vocab = ["<end>", "a", "b", "c", "ab"]
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("smollm")
    out.add_token_list(vocab)
    out.add_token_types([3, 1, 1, 1, 1])
    out.add_token_merges(["a b"])
    out.add_eos_token_id(0)


@pytest.fixture(scope="module")
def models():
    """Random parameters of each architecture."""
    rng = np.random.default_rng(0)
    draw = lambda s: rng.normal(size=s.shape).astype(np.float32)
    trees = {arch: decoder.specs(c) for arch, c in CONFIGS.items()}
    return jax.tree.map(draw, trees, is_leaf=spec.is_spec)


def assert_close(got, expected, error):
    """Every leaf within `error` of its largest entry; bit-equal if 0."""
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert float(abs(a - b).max()) <= error * float(abs(b).max())


@pytest.mark.parametrize("arch", CONFIGS)
def test_a_file_gives_back_config_and_parameters(arch, models, tmp_path):
    """Tying, biases, q/k norms; rotary order undone for llama, left alone for the others."""
    write(tmp_path / "m.gguf", CONFIGS[arch], models[arch], arch=arch)
    assert checkpoints.config(tmp_path / "m.gguf") == CONFIGS[arch]
    assert_close(checkpoints.load(tmp_path / "m.gguf"), models[arch], 0)


@pytest.mark.parametrize("kind", ERROR, ids=lambda kind: kind.name)
def test_every_type_that_can_be_written_reads_back(kind, models, tmp_path):
    """Within the type's rounding error, from a whole file."""
    write(tmp_path / "m.gguf", LLAMA, models["llama"], kind)
    assert_close(checkpoints.load(tmp_path / "m.gguf"), models["llama"], ERROR[kind])


def decode_q4_k(block):
    """llama.cpp's Q4_K: d, min, eight 6-bit (scale, min) pairs in 12 bytes, 256 nibbles."""
    d, least = np.frombuffer(block[:4].tobytes(), np.float16).astype(np.float32)
    packed, numbers, out = block[4:16].astype(int), block[16:], []
    for group in range(8):
        if group < 4:
            scale, low = packed[group] & 63, packed[group + 4] & 63
        else:
            scale = packed[group + 4] & 15 | packed[group - 4] >> 6 << 4
            low = packed[group + 4] >> 4 | packed[group] >> 6 << 4
        raw = numbers[group // 2 * 32 :][:32]
        q = raw & 15 if group % 2 == 0 else raw >> 4
        out += [d * scale * x - least * low for x in q.astype(np.float32)]
    return np.array(out, np.float32)


def decode_q6_k(block):
    """llama.cpp's Q6_K: 128 bytes of low nibbles, 64 of high pairs, 16 int8 scales, d last."""
    low, high = block[:128].astype(int), block[128:192].astype(int)
    scales = block[192:208].view(np.int8).astype(np.float32)
    d = np.frombuffer(block[208:].tobytes(), np.float16).astype(np.float32)[0]
    out = np.zeros(256, np.float32)
    for i in range(256):
        half, quarter, column = i // 128, i % 128 // 32, i % 32
        nibble = low[half * 64 + quarter % 2 * 32 + column] >> 4 * (quarter // 2) & 15
        top = high[half * 32 + column] >> 2 * quarter & 3
        out[i] = d * scales[i // 16] * ((nibble | top << 4) - 32)
    return out


@pytest.mark.parametrize(
    "kind, size, halves, decode",
    [(Kind.Q4_K, 144, (0, 2), decode_q4_k), (Kind.Q6_K, 210, (208,), decode_q6_k)],
    ids=["Q4_K", "Q6_K"],
)
def test_k_quants_follow_the_block_format(kind, size, halves, decode, tmp_path, models):
    """Random blocks with sane scales, against a decoder written from the format, bit by bit."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (LLAMA.V, size), dtype=np.uint8)
    for at in halves:
        scale = rng.uniform(0.01, 0.1, LLAMA.V).astype(np.float16)
        blocks[:, at : at + 2] = scale[:, None].view(np.uint8)
    params = {key: x for key, x in models["llama"].items() if key != "embed"}
    embed = lambda out: out.add_tensor("token_embd.weight", blocks, raw_dtype=kind)
    write(tmp_path / "m.gguf", LLAMA, params, extra=[embed])
    got = np.asarray(checkpoints.load(tmp_path / "m.gguf")["embed"])
    np.testing.assert_allclose(got, np.stack([decode(b) for b in blocks]), rtol=1e-6, atol=1e-6)


def test_unpermute_undoes_the_converter():
    """Also for key heads, which are fewer."""
    x = np.arange(24 * 3).reshape(24, 3)
    for heads in (1, 2, 4):
        np.testing.assert_array_equal(gguf.unpermute(permute(x, heads), heads), x)


def test_llama3_scaling_is_recognised_from_its_divisors(tmp_path, models):
    """GGUF holds a divisor a frequency; the Config must rotate as the original did."""
    scaling = {"rope_type": "llama3", "factor": 8.0} | gguf.LLAMA3
    c = decoder.Config(**SIZES | {"rope_theta": 5e5}, rope_scaling=tuple(sorted(scaling.items())))
    plain = c.rope_theta ** (-np.arange(0, c.N, 2) / c.N)
    divisors = (plain / rotary.frequencies(c)[0]).astype(np.float32)
    add = lambda x: lambda out: out.add_tensor("rope_freqs.weight", x)
    write(tmp_path / "m.gguf", c, models["llama"], extra=[add(divisors)])
    assert checkpoints.config(tmp_path / "m.gguf") == c
    write(tmp_path / "bad.gguf", c, models["llama"], extra=[add(divisors * np.float32(1.5))])
    with pytest.raises(ValueError, match="does not follow Llama 3's rule"):
        checkpoints.config(tmp_path / "bad.gguf")


def test_yarn_is_read_from_metadata(tmp_path, models):
    """Qwen2.5 and Qwen3 files for long contexts."""

    def yarn(out):
        out.add_rope_scaling_type(pypi_gguf.RopeScalingType.YARN)
        out.add_rope_scaling_factor(4.0)
        out.add_rope_scaling_orig_ctx_len(1024)

    write(tmp_path / "m.gguf", CONFIGS["qwen3"], models["qwen3"], arch="qwen3", extra=[yarn])
    scaling = dict(checkpoints.config(tmp_path / "m.gguf").rope_scaling)
    expected = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}
    assert scaling == expected


def test_bad_files_are_named(tmp_path, models):
    """Missing, not GGUF, cut short, another architecture, a mixture of experts, a lost tensor."""
    file = tmp_path / "m.gguf"
    with pytest.raises(FileNotFoundError, match=r"m\.gguf"):
        checkpoints.load(file)
    file.write_bytes(b"not a model at all")
    with pytest.raises(ValueError, match=r"m\.gguf is not a whole GGUF file"):
        checkpoints.load(file)
    write(file, LLAMA, models["llama"])
    file.write_bytes(file.read_bytes()[:-5000])
    with pytest.raises(ValueError, match=r"m\.gguf is not a whole GGUF file"):
        checkpoints.load(file)
    write(file, LLAMA, models["llama"], arch="gemma3")
    with pytest.raises(ValueError, match=r"general\.architecture='gemma3' is not supported"):
        checkpoints.load(file)
    write(file, LLAMA, models["llama"], extra=[lambda out: out.add_expert_count(8)])
    with pytest.raises(ValueError, match=r"llama\.expert_count=8"):
        checkpoints.load(file)
    write(file, LLAMA, {key: x for key, x in models["llama"].items() if key != "norm"})
    with pytest.raises(ValueError, match=r"lacks the tensor 'model\.norm\.weight'"):
        checkpoints.load(file)


def test_the_cache_converts_once(tmp_path, models, monkeypatch):
    """By content, as a directory equal to the file; the second start opens no GGUF."""
    monkeypatch.setenv("JAXRL_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "m.gguf", LLAMA, models["llama"], Kind.Q4_1)
    first = checkpoints.cached_hf(tmp_path / "m.gguf")
    assert_close(checkpoints.load(first), checkpoints.load(tmp_path / "m.gguf"), 0)
    assert checkpoints.config(first) == LLAMA
    assert checkpoints.tokenizer(first).encode("abba") == [4, 2, 1]
    monkeypatch.setattr(gguf, "open_file", None)
    assert checkpoints.cached_hf(tmp_path / "m.gguf") == first
    assert checkpoints.cached_hf(first) == first
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_an_interrupted_conversion_is_done_again(tmp_path, models, monkeypatch):
    """Ctrl-C in the middle must not leave a directory that the next start trusts."""
    monkeypatch.setenv("JAXRL_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "m.gguf", LLAMA, models["llama"])

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(hf_files, "write_safetensors", interrupted)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.cached_hf(tmp_path / "m.gguf")
    assert list((tmp_path / "cache").iterdir()) == []
    assert_close(checkpoints.load(checkpoints.cached_hf(tmp_path / "m.gguf")), models["llama"], 0)


def test_a_wrong_sha256_is_refused(tmp_path, models):
    """The error names both sums."""
    write(tmp_path / "m.gguf", LLAMA, models["llama"])
    right = checkpoints.digest(tmp_path / "m.gguf")
    assert checkpoints.source(str(tmp_path / "m.gguf"), right) == tmp_path / "m.gguf"
    with pytest.raises(ValueError, match=f"has sha256 {right}, expected {'0' * 64}"):
        checkpoints.source(str(tmp_path / "m.gguf"), "0" * 64)


def test_launch_convert_writes_a_directory(tmp_path, models):
    """The command itself: GGUF in, directory out; a second run refuses to overwrite."""
    write(tmp_path / "m.gguf", LLAMA, models["llama"])
    command = [sys.executable, "-m", "launch.convert", f"--checkpoint={tmp_path}/m.gguf"]
    env = os.environ | {"JAXRL_CACHE": str(tmp_path / "cache")}
    run = lambda: subprocess.run(
        [*command, f"--out={tmp_path}/out"], cwd=ROOT, env=env, capture_output=True, text=True
    )
    first, second = run(), run()
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"{tmp_path}/out: 1,197,312 parameters in float32\n"
    assert_close(checkpoints.load(tmp_path / "out"), models["llama"], 0)
    assert second.returncode != 0 and "exists and is not empty" in second.stderr
