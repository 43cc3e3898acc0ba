"""GGUF files (llama.cpp's format) seen as Hugging Face checkpoints: same config keys, same tensors.

Quantised tensors are expanded to f32; nothing here computes in a quantised type. The tokenizer in
the file is read by jaxrl/data/tokenizers.py.
"""

from pathlib import Path

import gguf
import numpy as np
from gguf import quants

NAMES = {  # our path -> GGUF name; layouts are those of the Hugging Face tensors
    ("embed",): "token_embd.weight",
    ("layers", "attn_norm"): "blk.{}.attn_norm.weight",
    ("layers", "q"): "blk.{}.attn_q.weight",
    ("layers", "k"): "blk.{}.attn_k.weight",
    ("layers", "v"): "blk.{}.attn_v.weight",
    ("layers", "o"): "blk.{}.attn_output.weight",
    ("layers", "q_bias"): "blk.{}.attn_q.bias",
    ("layers", "k_bias"): "blk.{}.attn_k.bias",
    ("layers", "v_bias"): "blk.{}.attn_v.bias",
    ("layers", "q_norm"): "blk.{}.attn_q_norm.weight",
    ("layers", "k_norm"): "blk.{}.attn_k_norm.weight",
    ("layers", "mlp_norm"): "blk.{}.ffn_norm.weight",
    ("layers", "gate"): "blk.{}.ffn_gate.weight",
    ("layers", "up"): "blk.{}.ffn_up.weight",
    ("layers", "down"): "blk.{}.ffn_down.weight",
    ("norm",): "output_norm.weight",
    ("head",): "output.weight",
}
ARCHITECTURES = ("llama", "qwen2", "qwen3")
REFUSED = ("expert_count", "attention.sliding_window")  # they change the forward pass
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}  # the same in every Llama 3 release
LLAMA3 |= {"original_max_position_embeddings": 8192}


def open_file(path):
    """The file's GGUFReader; tensors stay on disk until read."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"no GGUF file at {path}: check the path")
    try:
        return gguf.GGUFReader(path)
    except (ValueError, IndexError, KeyError, OverflowError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is not a whole GGUF file ({error}): fetch or convert it again"
        ) from error


def hf_config(reader):
    """The config.json that the GGUF metadata stands for, as a dict."""
    arch = _field(reader, "general.architecture")
    if arch not in ARCHITECTURES:
        raise ValueError(
            f"general.architecture={arch!r} is not supported: use one of {ARCHITECTURES}"
        )
    for key in REFUSED:
        if _field(reader, f"{arch}.{key}", 0):
            value = _field(reader, f"{arch}.{key}")
            raise ValueError(
                f"{arch}.{key}={value!r} is not supported: use a dense, full-attention model"
            )
    _check_names(reader)
    heads = _field(reader, f"{arch}.attention.head_count")
    vocab, width = shape(reader, NAMES["embed",])
    return {
        "model_type": arch,
        "vocab_size": vocab,
        "hidden_size": width,
        "intermediate_size": _field(reader, f"{arch}.feed_forward_length"),
        "num_hidden_layers": _field(reader, f"{arch}.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": _field(reader, f"{arch}.attention.head_count_kv", heads),
        "head_dim": _field(reader, f"{arch}.attention.key_length", width // heads),
        "rms_norm_eps": _decimal(_field(reader, f"{arch}.attention.layer_norm_rms_epsilon")),
        "tie_word_embeddings": NAMES["head",] not in tensors(reader),
        "max_position_embeddings": _field(reader, f"{arch}.context_length"),
        "rope_theta": _decimal(_field(reader, f"{arch}.rope.freq_base", 10000.0)),
        "rope_scaling": _rope_scaling(reader, arch),
        "attention_bias": arch != "qwen2" and "blk.0.attn_q.bias" in tensors(reader),
    }


def tensors(reader):
    """Name -> the reader's record of the tensor."""
    return {t.name: t for t in reader.tensors}


def shape(reader, name):
    """Shape of a tensor as Hugging Face stores it: the reverse of GGUF's order."""
    return tuple(int(n) for n in reversed(_find(reader, name).shape))


def read(reader, name):
    """The tensor as f32 in Hugging Face's layout: expanded, llama.cpp's rotary order undone."""
    tensor = _find(reader, name)
    try:
        x = quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
    except NotImplementedError as error:
        kind = tensor.tensor_type.name
        raise ValueError(
            f"{name} is stored as {kind}, which the gguf package cannot expand: use a file in F16, "
            "Q8_0, Q4_0, Q4_1 or a K-quant"
        ) from error
    arch = _field(reader, "general.architecture")
    if arch == "llama" and name.endswith(("attn_q.weight", "attn_k.weight")):
        key = "head_count" if "attn_q" in name else "head_count_kv"
        heads = _field(
            reader, f"{arch}.attention.{key}", _field(reader, f"{arch}.attention.head_count")
        )
        return unpermute(x, heads)
    return x


def unpermute(x, heads):
    """Rows of each head from interleaved pairs (x₀, x₁), (x₂, x₃) … to halves (x₀, x₂ …, x₁, x₃ …).

    llama.cpp rotates neighbours where Hugging Face rotates the two halves of a head, so its
    converter reorders the rows of q and k of the llama architecture (and of no other).
    x: [heads·N, D].
    """
    pairs = x.reshape(heads, -1, 2, x.shape[-1])
    return pairs.transpose(0, 2, 1, 3).reshape(x.shape)


def _rope_scaling(reader, arch):
    if "rope_freqs.weight" in tensors(reader):
        return _llama3(reader, arch)
    prefix = f"{arch}.rope.scaling."
    kind = _field(reader, prefix + "type", "none")
    if kind == "none":
        return None
    scaling = {
        "rope_type": kind,
        "factor": _field(reader, prefix + "factor", None),
        "original_max_position_embeddings": _field(
            reader, prefix + "original_context_length", None
        ),
        "attention_factor": _field(reader, prefix + "attn_factor", None),
        "beta_fast": _field(reader, prefix + "yarn_beta_fast", None),
        "beta_slow": _field(reader, prefix + "yarn_beta_slow", None),
    }
    return {key: value for key, value in scaling.items() if value is not None}


def _llama3(reader, arch):
    """GGUF keeps what Llama 3's scaling comes to, a divisor a frequency; find the rule behind."""
    found = np.asarray(read(reader, "rope_freqs.weight"), np.float64).ravel()
    theta = _field(reader, f"{arch}.rope.freq_base", 10000.0)
    scaling = {"rope_type": "llama3", "factor": _decimal(found.max())} | LLAMA3
    inverse = theta ** (-np.arange(len(found)) / len(found))
    turns = scaling["original_max_position_embeddings"] * inverse / (2 * np.pi)
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    keep = np.clip((turns - low) / (high - low), 0, 1)
    if not np.allclose(found, 1 / (keep + (1 - keep) / scaling["factor"]), rtol=1e-4):
        raise ValueError(
            f"rope_freqs.weight does not follow Llama 3's rule with {scaling}: convert this model "
            "from its Hugging Face directory"
        )
    return scaling


def _check_names(reader):
    layers = range(_field(reader, _field(reader, "general.architecture") + ".block_count"))
    known = {name.format(i) for name in NAMES.values() for i in layers} | {"rope_freqs.weight"}
    unknown = sorted(set(tensors(reader)) - known)
    if unknown:
        raise ValueError(f"the GGUF file has tensors that no supported model has: {unknown[:3]}")


def _find(reader, name):
    found = tensors(reader)
    if name not in found:
        raise ValueError(f"the GGUF file lacks the tensor {name!r}: convert the model again")
    return found[name]


def _field(reader, key, *default):
    if key in reader.fields:
        return reader.fields[key].contents()
    if not default:
        raise ValueError(f"the GGUF file lacks the key {key!r}: convert the model again")
    return default[0]


def _decimal(x):
    """The number meant: GGUF holds f32, config.json decimals (1e-05, not 9.99999975e-06)."""
    return float(f"{x:.6g}")
