"""Text with images and clips in it, as tokens and the visual rows that belong to them. Host numpy.

    text = f"<|im_start|>user\\n{IMAGE}What is this?<|im_end|>\\n"
    row = render(tokenizer, text, [images.read("cat.png", ImageConfig())])
    batch = pad([row], pad_id=tokenizer.pad_id, side=48)

A chat template writes the same marks where a message holds IMAGE or VIDEO. An image becomes one
block of visual tokens. A clip becomes a block every two frames, each behind its time in seconds.
"""

import re
from typing import NamedTuple

import numpy as np

from jaxrl.data import visual_rows
from jaxrl.data.media import Visual

START, END = "<|vision_start|>", "<|vision_end|>"
IMAGE_PAD, VIDEO_PAD = "<|image_pad|>", "<|video_pad|>"
IMAGE, VIDEO = START + IMAGE_PAD + END, START + VIDEO_PAD + END  # what stands for a visual


class Rendered(NamedTuple):
    """One sequence."""

    tokens: np.ndarray  # [T] int32
    position: np.ndarray  # [3, T] int32: time, row, column
    visual: np.ndarray  # [T] bool: holds a visual token
    visuals: tuple[Visual, ...]  # in the order of their tokens


class Batch(NamedTuple):
    """Sequences of one length, and the rows of patches of all their visuals."""

    tokens: np.ndarray  # [B, T] int32
    position: np.ndarray  # [3, B, T] int32
    valid: np.ndarray  # [B, T] bool
    visual: np.ndarray  # [B, T] int32: which visual token of the tower's; −1 = text
    patches: visual_rows.Patches | None  # None = text alone


def mark(visual):
    """The text that stands for a visual before `render`."""
    return IMAGE if visual.times is None else VIDEO


def render(tokenizer, text, visuals=()):
    """Text with a mark for each visual, in order -> Rendered. The tokenizer adds nothing."""
    tokens = np.asarray(tokenizer.encode(expand(text, visuals)), np.int32)
    pads = [tokenizer.core.token_to_id(token) for token in (IMAGE_PAD, VIDEO_PAD)]
    visual = np.isin(tokens, [pad for pad in pads if pad is not None])
    wanted = sum(v.tokens * v.grid[0] for v in visuals)
    if visual.sum() != wanted:
        raise ValueError(
            f"the tokenizer makes {visual.sum()} tokens of {wanted} × {IMAGE_PAD} or {VIDEO_PAD}: "
            "it does not know them; use that of a Qwen3-VL checkpoint"
        )
    blocks = [v.block for v in visuals for _ in range(v.grid[0])]
    return Rendered(tokens, positions(visual, blocks), visual, tuple(visuals))


def expand(text, visuals):
    """The text with each mark replaced by as many pads as its visual has tokens.

    image: <|vision_start|> n · <|image_pad|> <|vision_end|>
    clip:  for each T, <t seconds> and then a block like an image's, of <|video_pad|>

    As Qwen3-VL's first processor did. (transformers 5.23 replaces the pad alone:
    it leaves the outer marks of a clip standing.)
    """
    either = lambda one, other: f"({re.escape(one)}|{re.escape(other)})"
    found = re.findall(either(IMAGE, VIDEO), text)
    loose = len(re.findall(either(IMAGE_PAD, VIDEO_PAD), text)) - len(found)
    if loose or found != [mark(v) for v in visuals]:
        raise ValueError(
            f"the text marks {found or 'nothing'} and has {loose} pads outside of marks, for "
            f"{[mark(v) for v in visuals] or 'no visuals'}: put mark(visual) into the text for "
            "each visual, in their order, and no pad elsewhere"
        )
    queue = iter(visuals)
    return re.sub(either(IMAGE, VIDEO), lambda _: _expanded(next(queue)), text)


def _expanded(visual):
    if visual.times is None:
        return START + IMAGE_PAD * visual.tokens + END
    block = START + VIDEO_PAD * visual.tokens + END
    return "".join(f"<{t:.1f} seconds>{block}" for t in visual.times)


def positions(visual, blocks):
    """Places of M-RoPE [3, T] int32: time, row and column of each token (arXiv:2409.12191).

    Text advances all three by 1. A block of h × w tokens that begins at b has time b, rows
    b … b + h − 1, columns b … b + w − 1; what follows begins at b + max(h, w).

    visual: [T] bool, true for blocks' tokens; blocks: (h, w) of each, in order.
    """
    out, at, b = np.zeros((3, len(visual)), np.int32), 0, 0
    for h, w in blocks:
        start = at + int(np.argmax(visual[at:]))
        out[:, at:start] = b + np.arange(start - at)
        b, at = b + start - at, start + h * w
        out[:, start:at] = b + np.stack([np.zeros((h, w), int), *np.mgrid[:h, :w]]).reshape(3, -1)
        b += max(h, w)
    out[:, at:] = b + np.arange(len(visual) - at)
    return out


def pad(rendered, *, pad_id, side, length=None, rows=None, width=None, left=False):
    """Sequences -> Batch. side: of the tower's table of positions (vision.Config.side).

    length, rows and width fix the shapes: columns of text, rows and columns of patches; those not
    given come from visual_rows.bucket. A mesh that splits the batch needs rows that its data axes
    divide, as it needs such sequences. left: pad before the sequences, not after.
    """
    longest = max(len(x.tokens) for x in rendered)
    length = length or visual_rows.bucket(longest, 64)
    if longest > length:
        raise ValueError(
            f"a sequence has {longest} tokens, more than length={length}: raise it, or read its "
            "visuals with a lower max_pixels or total_pixels"
        )
    shape = len(rendered), length
    tokens, valid = np.full(shape, pad_id, np.int32), np.zeros(shape, bool)
    position, index = np.zeros((3, *shape), np.int32), np.full(shape, -1, np.int32)
    visuals = [v for x in rendered for v in x.visuals]
    patches, starts = None, []
    if visuals:
        patches, starts = visual_rows.lay(visuals, side=side, rows=rows, width=width)
    starts = iter(starts)
    for b, x in enumerate(rendered):
        T = len(x.tokens)
        span = slice(length - T, length) if left else slice(0, T)
        tokens[b, span], valid[b, span], position[:, b, span] = x.tokens, True, x.position
        where = [s + np.arange(v.tokens) for v in x.visuals for s in next(starts)]
        index[b, span][x.visual] = np.concatenate(where) if where else []
    return Batch(tokens, position, valid, index, patches)
