"""What the checkpoint families call things: config keys, tensor names and tensor layouts.

Llama (SmolLM2 included), Qwen2, Qwen2.5, Qwen3 and Qwen3-MoE share one name table; a family lacks
the rows its Config switches off. Encoders have encoder_families.py. Pure functions of dicts and
arrays: files are read elsewhere.
"""

import math
import re

from jaxrl.models import decoder

# Our path -> (Hugging Face name, layout). A layout says how the stored axes (left) become ours
# (right); axes in brackets are stored as one, the first outermost. Each {} is a leading axis of
# ours that is stored as tensors of their own: layers, experts.
NAMES = {
    ("embed",): ("model.embed_tokens.weight", "v d -> v d"),
    ("layers", "attn_norm"): ("model.layers.{}.input_layernorm.weight", "d -> d"),
    ("layers", "q"): ("model.layers.{}.self_attn.q_proj.weight", "(h n) d -> d h n"),
    ("layers", "k"): ("model.layers.{}.self_attn.k_proj.weight", "(h n) d -> d h n"),
    ("layers", "v"): ("model.layers.{}.self_attn.v_proj.weight", "(h n) d -> d h n"),
    ("layers", "o"): ("model.layers.{}.self_attn.o_proj.weight", "d (h n) -> h n d"),
    ("layers", "q_bias"): ("model.layers.{}.self_attn.q_proj.bias", "(h n) -> h n"),
    ("layers", "k_bias"): ("model.layers.{}.self_attn.k_proj.bias", "(h n) -> h n"),
    ("layers", "v_bias"): ("model.layers.{}.self_attn.v_proj.bias", "(h n) -> h n"),
    ("layers", "q_norm"): ("model.layers.{}.self_attn.q_norm.weight", "n -> n"),
    ("layers", "k_norm"): ("model.layers.{}.self_attn.k_norm.weight", "n -> n"),
    ("layers", "mlp_norm"): ("model.layers.{}.post_attention_layernorm.weight", "d -> d"),
    ("layers", "gate"): ("model.layers.{}.mlp.gate_proj.weight", "f d -> d f"),
    ("layers", "up"): ("model.layers.{}.mlp.up_proj.weight", "f d -> d f"),
    ("layers", "down"): ("model.layers.{}.mlp.down_proj.weight", "d f -> f d"),
    ("layers", "router"): ("model.layers.{}.mlp.gate.weight", "e d -> d e"),
    ("layers", "expert_gate"): ("model.layers.{}.mlp.experts.{}.gate_proj.weight", "f d -> d f"),
    ("layers", "expert_up"): ("model.layers.{}.mlp.experts.{}.up_proj.weight", "f d -> d f"),
    ("layers", "expert_down"): ("model.layers.{}.mlp.experts.{}.down_proj.weight", "d f -> f d"),
    ("norm",): ("model.norm.weight", "d -> d"),
    ("head",): ("lm_head.weight", "v d -> v d"),
}

COMMON = {"rope_theta": 10000.0, "rope_scaling": None, "rope_parameters": None, "head_dim": None}
COMMON |= {"rms_norm_eps": 1e-6, "tie_word_embeddings": False}
COMMON |= {"use_sliding_window": False}  # Llama has no such key
QWEN = {"max_position_embeddings": 32768, "num_key_value_heads": 32}
QWEN |= {"sliding_window": 4096, "max_window_layers": 28}
EXPERTS = {"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768}
EXPERTS |= {"norm_topk_prob": False, "decoder_sparse_step": 1, "mlp_only_layers": None}
DEFAULTS = {  # what transformers assumes where config.json is silent
    "llama": COMMON | {"max_position_embeddings": 2048, "num_key_value_heads": None},
    "qwen2": COMMON | QWEN,
    "qwen3": COMMON | QWEN | {"head_dim": 128},
    "qwen3_moe": COMMON | QWEN | {"num_key_value_heads": 4} | EXPERTS,
}
ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
}
SWITCHES = {  # keys whose other values would change the forward pass -> the values we compute
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "partial_rotary_factor": (None, 1.0),
    "quantization_config": (None,),
}
ROPE_KEYS = {  # rope type -> the keys it must have; the rest of its keys are optional
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "yarn": (),
}
REQUIRED = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")
REQUIRED += ("num_attention_heads",)


def canonical(name):
    """A tensor's name as the tables here have it: with "model." in decoders, bare in encoders.

    Checkpoints saved from the model without its head, as many embedders are, lack the first.
    """
    if name.startswith(("embed_tokens.", "layers.", "norm.", "language_model.", "visual.")):
        return "model." + name
    return re.sub(r"^(bert|roberta)\.", "", name)


def from_hf(hf):
    """config.json as a dict -> decoder.Config. Refuses what the decoder does not compute."""
    if hf.get("model_type") not in DEFAULTS:
        raise ValueError(
            f"model_type={hf.get('model_type')!r} is not supported: use one of {sorted(DEFAULTS)}"
        )
    for key in REQUIRED:
        if key not in hf:
            raise ValueError(f"config.json lacks {key!r}: add it, or fetch the checkpoint again")
    hf = DEFAULTS[hf["model_type"]] | hf
    experts = _experts_from_hf(hf) if hf["model_type"] == "qwen3_moe" else {}
    _check_switches(hf)
    theta, scaling = _rope_from_hf(hf)
    return decoder.Config(
        V=hf["vocab_size"],
        D=hf["hidden_size"],
        L=hf["num_hidden_layers"],
        H=hf["num_attention_heads"],
        K=hf["num_key_value_heads"] or hf["num_attention_heads"],
        N=hf["head_dim"] or hf["hidden_size"] // hf["num_attention_heads"],
        F=hf["moe_intermediate_size" if experts else "intermediate_size"],
        **experts,
        rope_theta=theta,
        rope_scaling=scaling,
        norm_eps=hf["rms_norm_eps"],
        tied=hf["tie_word_embeddings"],
        qkv_bias=hf["model_type"] == "qwen2",
        qk_norm=hf["model_type"] in ("qwen3", "qwen3_moe"),
        context=hf["max_position_embeddings"],
    )


def to_hf(c):
    """decoder.Config -> config.json as a dict, in the form that transformers 4 and 5 both read."""
    kind = ARCHITECTURES[family(c)]
    return _experts_to_hf(c) | {
        "architectures": [kind.replace("ForCausalLM", "Model") if c.headless else kind],
        "model_type": family(c),
        "vocab_size": c.V,
        "hidden_size": c.D,
        "num_hidden_layers": c.L,
        "num_attention_heads": c.H,
        "num_key_value_heads": c.K,
        "head_dim": c.N,
        "intermediate_size": c.F,
        "hidden_act": "silu",
        "rms_norm_eps": c.norm_eps,
        "rope_theta": c.rope_theta,
        "rope_scaling": None if c.rope_scaling is None else dict(c.rope_scaling),
        "tie_word_embeddings": c.tied,
        "max_position_embeddings": c.context,
        "use_cache": True,
    }


def family(c):
    """The Hugging Face model_type whose forward pass this Config describes."""
    if c.qk_norm and c.qkv_bias:
        raise ValueError("qk_norm=True with qkv_bias=True: no supported family has both")
    if c.E and not c.qk_norm:
        raise ValueError(f"E={c.E} with qk_norm=False: no supported family has experts so")
    if c.E:
        return "qwen3_moe"
    return "qwen3" if c.qk_norm else "qwen2" if c.qkv_bias else "llama"


def _experts_from_hf(hf):
    """The decoder's settings of experts; refuses layers that have none among layers that do."""
    E, k = hf.get("num_local_experts", hf["num_experts"]), hf["num_experts_per_tok"]
    dense, every = hf["mlp_only_layers"] or [], hf["decoder_sparse_step"]
    if dense or every != 1:
        raise ValueError(
            f"config.json has decoder_sparse_step={every} and mlp_only_layers={dense}: only 1 and "
            "[] are supported, experts in every layer"
        )
    if not 1 <= k <= E:
        raise ValueError(
            f"config.json has num_experts_per_tok={k} and num_experts={E}: a token chooses 1 to "
            f"{E} experts; fetch the checkpoint again"
        )
    return {"E": E, "top_k": k, "norm_top_k": hf["norm_topk_prob"]}


def _experts_to_hf(c):
    if not c.E:
        return {}
    return {
        "num_experts": c.E,
        "num_experts_per_tok": c.top_k,
        "norm_topk_prob": c.norm_top_k,
        "moe_intermediate_size": c.F,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    }


def _check_switches(hf):
    for key, allowed in SWITCHES.items():
        if key in hf and hf[key] not in allowed:
            raise ValueError(f"config.json has {key}={hf[key]!r}: only {allowed[0]} is supported")
    if "layer_types" in hf and set(hf["layer_types"] or ()) - {"full_attention"}:
        found = sorted(set(hf["layer_types"]))
        raise ValueError(f"config.json has layer_types={found}: only full_attention is supported")
    if hf["use_sliding_window"] and hf["sliding_window"] and not hf.get("layer_types"):
        first = 0 if hf["model_type"] == "qwen3_moe" else hf["max_window_layers"]
        if first < hf["num_hidden_layers"]:
            raise ValueError(
                f"config.json has use_sliding_window=True from layer {first} on: "
                "only full attention is supported (set it to false if your context fits the window "
                f"of {hf['sliding_window']})"
            )


def _rope_from_hf(hf):
    """(theta, our scaling) from either spelling: rope_parameters or rope_theta + rope_scaling."""
    given = dict(hf["rope_scaling"] or hf["rope_parameters"] or {})
    theta = given.pop("rope_theta", hf["rope_theta"])
    legacy = given.pop("type", "default")
    kind = given.pop("rope_type", legacy)
    partial = given.pop("partial_rotary_factor", 1.0)
    if kind not in ROPE_KEYS:
        raise ValueError(f"rope_type={kind!r} is not supported: use one of {sorted(ROPE_KEYS)}")
    if partial != 1.0:
        raise ValueError(f"partial_rotary_factor={partial!r}: only 1.0 is supported")
    if any(isinstance(value, dict) for value in given.values()):
        raise ValueError(f"rope_parameters has one entry a layer type ({sorted(given)}): give one")
    for key in ROPE_KEYS[kind]:
        if key not in given:
            raise ValueError(f"rope_type={kind!r} needs the key {key!r}: add it to rope_scaling")
    if kind == "default":
        return float(theta), None
    if kind != "linear":
        given.setdefault("original_max_position_embeddings", hf["max_position_embeddings"])
    if kind == "yarn":
        given = _resolve_yarn(given, hf["max_position_embeddings"])
    items = {k: v for k, v in given.items() if v is not None}
    return float(theta), tuple(sorted((items | {"rope_type": kind}).items()))


def _resolve_yarn(given, context):
    """Fills in the factor, and turns DeepSeek's mscale pair into the one attention factor."""
    given = dict(given)
    factor = given.get("factor") or context / given["original_max_position_embeddings"]
    given["factor"] = factor
    mscale, all_dim = given.pop("mscale", None), given.pop("mscale_all_dim", None)
    if mscale and all_dim and given.get("attention_factor") is None:
        gain = lambda m: 0.1 * m * math.log(factor) + 1.0 if factor > 1 else 1.0
        given["attention_factor"] = gain(mscale) / gain(all_dim)
    return given


def stored_shape(shape, layout):
    """Shape of the stored tensor, from the shape of our (one-layer) array."""
    groups, ours = _parse(layout)
    size = dict(zip(ours, shape, strict=True))
    return tuple(math.prod(size[a] for a in group) for group in groups)


def stored_index(shape, index, layout):
    """The slices of the stored tensor that cover our_array[index]; all of an inner bracket axis."""
    groups, ours = _parse(layout)
    size = dict(zip(ours, shape, strict=True))
    span = dict(zip(ours, index, strict=True))
    slices = []
    for first, *inner in groups:
        start, stop, _ = span[first].indices(size[first])
        width = math.prod(size[a] for a in inner)
        slices.append(slice(start * width, stop * width))
    return tuple(slices)


def from_stored(x, shape, index, layout):
    """The block read at `stored_index` -> our_array[index]."""
    groups, ours = _parse(layout)
    size = dict(zip(ours, shape, strict=True))
    span = dict(zip(ours, index, strict=True))
    first = {group[0] for group in groups}
    length = lambda a: len(range(*span[a].indices(size[a]))) if a in first else size[a]
    stored = [a for group in groups for a in group]
    x = x.reshape([length(a) for a in stored]).transpose([stored.index(a) for a in ours])
    return x[tuple(slice(None) if a in first else span[a] for a in ours)]


def to_stored(x, layout):
    """Our (one-layer) array -> the tensor as stored."""
    groups, ours = _parse(layout)
    order = [ours.index(a) for group in groups for a in group]
    return x.transpose(order).reshape(stored_shape(x.shape, layout))


def _parse(layout):
    left, right = layout.split(" -> ")
    groups, bracket = [], None
    for axis in left.replace("(", "( ").replace(")", " )").split():
        if axis == "(":
            bracket = []
        elif axis == ")":
            groups.append(bracket)
            bracket = None
        elif bracket is None:
            groups.append([axis])
        else:
            bracket.append(axis)
    return groups, right.split()
