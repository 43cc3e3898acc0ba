"""A tiny Qwen3-VL over a byte-level tokenizer, rows with pictures and clips; published sizes."""

import numpy as np
import tiny_tokenizers

from jaxrl.data import sequences
from jaxrl.data import visual_prompts as prompts
from jaxrl.data.media import Visual
from jaxrl.models import decoder, qwen3_vl, vision

TOKENIZER = tiny_tokenizers.build(
    specials=("<end>", prompts.START, prompts.END, prompts.IMAGE_PAD, prompts.VIDEO_PAD)
)
IDS = {"start_id": 1, "end_id": 2, "image_id": 3, "video_id": 4}  # in that vocabulary
TOWER = vision.Config(D=16, L=4, H=2, F=24, out=24, taps=(0, 2), side=5, patch=4)
TEXT = decoder.Config(
    V=272, D=24, L=3, H=4, K=2, N=16, F=32, rope_theta=500.0, qk_norm=True, norm_eps=1e-6
)
MODEL = qwen3_vl.Config(text=TEXT, vision=TOWER, mrope=(4, 2, 2), **IDS)
GRIDS = {"wide": (1, 4, 6), "tall": (1, 8, 2), "clip": (2, 4, 4), "long": (3, 2, 6)}  # in patches
ROWS = {  # text -> the visuals it marks
    "text": ("the cat, no picture", ()),
    "image": (f"ab {prompts.IMAGE} what is the colour?", ("wide",)),
    "clip": (f"{prompts.VIDEO}the end", ("clip",)),
    "mixed": (
        f"first {prompts.IMAGE}{prompts.VIDEO} then {prompts.IMAGE} and {prompts.VIDEO}.",
        ("tall", "long", "wide", "clip"),
    ),
}

ROPE = {"mrope_interleaved": True, "mrope_section": [24, 20, 20], "rope_type": "default"}
PUBLISHED_TEXT = {
    "vocab_size": 151936,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "rope_theta": 5e6,
}
PUBLISHED_TEXT |= {
    "rms_norm_eps": 1e-6,
    "rope_scaling": ROPE,
    "hidden_act": "silu",
    "attention_bias": False,
}
PUBLISHED = {  # text and vision config, tied, (parameters, tensors in the files)
    "2B": (
        {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28}
        | {"num_attention_heads": 16},
        {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16}
        | {"out_hidden_size": 2048, "deepstack_visual_indexes": [5, 11, 17]},
        True,
        (2_127_532_032, 625),  # 626 with the head, which is the embedding
    ),
    "8B": (
        {"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36}
        | {"num_attention_heads": 32},
        {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16}
        | {"out_hidden_size": 4096, "deepstack_visual_indexes": [8, 16, 24]},
        False,
        (8_767_123_696, 750),
    ),
}


def published(name):
    """config.json of a size."""
    text, tower, tied, _ = PUBLISHED[name]
    sizes = {
        "text_config": PUBLISHED_TEXT | text,
        "vision_config": tower,
        "tie_word_embeddings": tied,
    }
    return {"model_type": "qwen3_vl"} | sizes


def visual(grid, seed=0, c=TOWER):
    """Random patches of a grid; T above 1 makes it a clip with uneven times."""
    values = c.channels * c.frames * c.patch**2
    patches = np.random.default_rng(seed).integers(0, 256, (np.prod(grid), values), np.uint8)
    times = tuple(0.27 + 1.5 * t for t in range(grid[0])) if grid[0] > 1 else None
    return Visual(patches, grid, c.merge, times)


def visuals():
    """One of each of GRIDS."""
    return {name: visual(grid, seed) for seed, (name, grid) in enumerate(GRIDS.items())}


def rendered(names, seen=None):
    """Rows of ROWS as sequences."""
    seen = seen or visuals()
    rows = [(ROWS[name][0], [seen[v] for v in ROWS[name][1]]) for name in names]
    return [prompts.render(TOKENIZER, text, given) for text, given in rows]


def batch(names, seen=None, **how):
    """Rows of ROWS as Sequences of few shapes."""
    how = {"pad_id": TOKENIZER.pad_id, "tower": TOWER, "width": 128} | how
    return sequences.pad(rendered(names, seen), **how)


def on_the_left(read):
    """The same Sequences, padded before instead of after."""
    shift = (~np.asarray(read.valid)).sum(1)
    roll = lambda x, n: np.roll(x, n, axis=-1)
    rolled = lambda x: None if x is None else np.stack([*map(roll, x, shift)])
    columns = {k: rolled(v) for k, v in read._asdict().items() if k != "patches"}
    return read._replace(**columns)
