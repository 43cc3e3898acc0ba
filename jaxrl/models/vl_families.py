"""What Qwen3-VL checkpoints call things: config keys, tensor names and tensor layouts.

Qwen3-VL, Qwen3-VL-Embedding and Qwen3-VL-Reranker are one family. The text's part is Qwen3's, read
by families.py; layouts are written as there.
"""

import dataclasses
import re

from jaxrl.models import families, qwen3_vl, vision

TYPE = "qwen3_vl"


def _names():
    """Our path -> (Hugging Face name, layout)."""
    inner = lambda name: re.sub(r"^model\.", "model.language_model.", name)
    text = {path: (inner(name), layout) for path, (name, layout) in families.NAMES.items()}
    tower = {path: ("model.visual." + name, layout) for path, (name, layout) in TOWER.items()}
    return text | {("visual", *path): entry for path, entry in tower.items()}


def _affine(path, name, layout="o i -> i o", bias="d -> d"):
    """A matrix or a norm's scale, and the bias that goes with it."""
    beside = (*path[:-1], path[-1] + "_bias")
    return {path: (f"{name}.weight", layout), beside: (f"{name}.bias", bias)}


def _merger(ours, name):
    return {
        **_affine((ours, "norm"), f"{name}.norm", "d -> d"),
        **_affine((ours, "up"), f"{name}.linear_fc1"),
        **_affine((ours, "down"), f"{name}.linear_fc2"),
    }


BLOCK = "blocks.{}"
TOWER = {
    **_affine(("patch",), "patch_embed.proj", "d c t y x -> c t y x d"),
    ("position",): ("pos_embed.weight", "p d -> p d"),
    **_affine(("layers", "attn_norm"), f"{BLOCK}.norm1", "d -> d"),
    **_affine(("layers", "qkv"), f"{BLOCK}.attn.qkv", "(s h n) d -> d s h n", "(s h n) -> s h n"),
    **_affine(("layers", "o"), f"{BLOCK}.attn.proj", "d (h n) -> h n d"),
    **_affine(("layers", "mlp_norm"), f"{BLOCK}.norm2", "d -> d"),
    **_affine(("layers", "up"), f"{BLOCK}.mlp.linear_fc1"),
    **_affine(("layers", "down"), f"{BLOCK}.mlp.linear_fc2"),
    **_merger("merger", "merger"),
    **_merger("deepstack", "deepstack_merger_list.{}"),
}
NAMES = _names()
HEAD = NAMES["head",][0]
TEXT_DEFAULTS = {  # what transformers assumes where text_config is silent
    "head_dim": 128,
    "num_key_value_heads": 32,
    "max_position_embeddings": 128000,
    "rope_theta": 500000.0,
}
VISION_DEFAULTS = {"in_channels": 3, "patch_size": 16, "spatial_merge_size": 2}
VISION_DEFAULTS |= {"temporal_patch_size": 2, "num_position_embeddings": 2304}
VISION_DEFAULTS |= {"hidden_act": "gelu_pytorch_tanh", "rope_parameters": None}
VISION_REQUIRED = ("depth", "hidden_size", "intermediate_size", "num_heads", "out_hidden_size")
VISION_REQUIRED += ("deepstack_visual_indexes",)
TOKENS = {  # their keys -> ours, of which qwen3_vl.Config has the defaults
    "image_token_id": "image_id",
    "video_token_id": "video_id",
    "vision_start_token_id": "start_id",
    "vision_end_token_id": "end_id",
}
MROPE = ("mrope_section", "mrope_interleaved")
TOKENS_OF_IMAGE = 4, 1800  # least and most, as the embedder's script and data/images.py have them


def from_hf(hf, *, has_head=True):
    """config.json as a dict -> qwen3_vl.Config. Refuses what we do not compute.

    has_head: whether the checkpoint stores an output matrix.
    """
    for key in ("text_config", "vision_config"):
        if key not in hf:
            raise ValueError(f"config.json lacks {key!r}: add it, or fetch the checkpoint again")
    text = dict(hf["text_config"])
    tied = hf.get("tie_word_embeddings", text.get("tie_word_embeddings", False))
    sections = {}
    for key in ("rope_scaling", "rope_parameters"):
        rope = dict(text.get(key) or {})
        sections |= {name: rope.pop(name) for name in MROPE if name in rope}
        text[key] = rope or None
    if not sections.get("mrope_interleaved", True):
        raise ValueError("config.json has mrope_interleaved=False: only True is supported")
    text = TEXT_DEFAULTS | text | {"model_type": "qwen3", "tie_word_embeddings": tied}
    text = families.from_hf(text)
    return qwen3_vl.Config(
        text=dataclasses.replace(text, headless=not tied and not has_head),
        vision=_vision_from_hf(hf["vision_config"]),
        mrope=tuple(sections.get("mrope_section", (24, 20, 20))),
        **{ours: hf[theirs] for theirs, ours in TOKENS.items() if theirs in hf},
    )


def _vision_from_hf(hf):
    for key in VISION_REQUIRED:
        if key not in hf:
            raise ValueError(f"vision_config lacks {key!r}: fetch the checkpoint again")
    hf = VISION_DEFAULTS | hf
    side = round(hf["num_position_embeddings"] ** 0.5)
    rope = {"rope_type": "axial", "rope_theta": 10000.0} | (hf["rope_parameters"] or {})
    for key, value, only in (
        ("hidden_act", hf["hidden_act"], "gelu_pytorch_tanh"),
        ("num_position_embeddings", hf["num_position_embeddings"], side**2),
        ("rope_type", rope["rope_type"], "axial"),
    ):
        if value != only:
            raise ValueError(f"vision_config has {key}={value!r}: only {only!r} is supported")
    return vision.Config(
        D=hf["hidden_size"],
        L=hf["depth"],
        H=hf["num_heads"],
        F=hf["intermediate_size"],
        out=hf["out_hidden_size"],
        taps=tuple(hf["deepstack_visual_indexes"]),
        side=side,
        patch=hf["patch_size"],
        frames=hf["temporal_patch_size"],
        merge=hf["spatial_merge_size"],
        channels=hf["in_channels"],
        rope_theta=float(rope["rope_theta"]),
    )


def to_hf(c):
    """qwen3_vl.Config -> config.json as a dict, in the form that transformers 4 and 5 both read."""
    rope = {"mrope_interleaved": True, "mrope_section": list(c.mrope), "rope_type": "default"}
    text = families.to_hf(c.text) | {"model_type": "qwen3_vl_text"}
    text["rope_scaling"] = rope | (text["rope_scaling"] or {})
    del text["architectures"]
    return {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": TYPE,
        "tie_word_embeddings": c.text.tied,
        "text_config": text,
        "vision_config": _vision_to_hf(c.vision),
        **{theirs: int(vars(c)[ours]) for theirs, ours in TOKENS.items()},
    }


def _vision_to_hf(c):
    return {
        "model_type": "qwen3_vl",  # as the first checkpoints have it; transformers reads either
        "depth": c.L,
        "hidden_size": c.D,
        "num_heads": c.H,
        "intermediate_size": c.F,
        "out_hidden_size": c.out,
        "deepstack_visual_indexes": list(c.taps),
        "num_position_embeddings": c.side**2,
        "patch_size": c.patch,
        "temporal_patch_size": c.frames,
        "spatial_merge_size": c.merge,
        "in_channels": c.channels,
        "hidden_act": "gelu_pytorch_tanh",
        "rope_parameters": {"rope_type": "axial", "rope_theta": c.rope_theta},
    }


def processors(c):
    """{file name: JSON} from which transformers cuts pictures and clips for this tower."""
    least, most = (n * (c.vision.patch * c.vision.merge) ** 2 for n in TOKENS_OF_IMAGE)
    both = {
        "processor_class": "Qwen3VLProcessor",
        "patch_size": c.vision.patch,
        "temporal_patch_size": c.vision.frames,
        "merge_size": c.vision.merge,
        "image_mean": [0.5] * c.vision.channels,
        "image_std": [0.5] * c.vision.channels,
    }
    size = {"shortest_edge": least, "longest_edge": most}
    image = both | {"image_processor_type": "Qwen2VLImageProcessorFast", "size": size}
    video = both | {"video_processor_type": "Qwen3VLVideoProcessor"}
    return {"preprocessor_config.json": image, "video_preprocessor_config.json": video}
