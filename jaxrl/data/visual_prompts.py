"""Text with images and clips in it, as tokens and the visual rows that belong to them. Host numpy.

    text = f"<|im_start|>user\\n{IMAGE}What is this?<|im_end|>\\n"
    row = render(tokenizer, text, [images.read("cat.png", ImageConfig())])
    batch = sequences.pad([row], pad_id=tokenizer.pad_id, tower=c.vision)

A chat template writes the same marks where a message holds IMAGE or VIDEO. An image becomes one
block of visual tokens. A clip becomes a block every two frames, each behind its time in seconds.
"""

import dataclasses
import re

import numpy as np

from jaxrl.data import truncation
from jaxrl.data.media import MediaError, Visual

START, END = "<|vision_start|>", "<|vision_end|>"
IMAGE_PAD, VIDEO_PAD = "<|image_pad|>", "<|video_pad|>"
IMAGE, VIDEO = START + IMAGE_PAD + END, START + VIDEO_PAD + END  # what stands for a visual
BLOCK = re.compile(  # a visual, or one T of a clip, once it is expanded
    r"(<[\d.]+ seconds>)?{}({}|{})+{}".format(*map(re.escape, (START, IMAGE_PAD, VIDEO_PAD, END)))
)


@dataclasses.dataclass(frozen=True, eq=False)
class Rendered:
    """One sequence; its length is that of its tokens."""

    tokens: np.ndarray  # [T] int32
    visual: np.ndarray  # [T] bool: holds a visual token
    visuals: tuple[Visual, ...]  # in the order of their tokens
    cut: bool = False  # a limit took some of its text

    def __len__(self):
        return len(self.tokens)

    @property
    def position(self):
        """[3, T] int32: time, row, column."""
        return positions(self.visual, [v.block for v in self.visuals for _ in range(v.grid[0])])


def mark(visual):
    """The text that stands for a visual before `render`."""
    return IMAGE if visual.times is None else VIDEO


def render(tokenizer, text, visuals=(), *, limit=None, tail=0, kept=frozenset()):
    """Text with a mark for each visual, in order -> Rendered. The tokenizer adds nothing.

    limit: tokens at most. Text goes, from the end of what stands before the last `tail` tokens, but
    no id in `kept`; a visual is never cut: MediaError if they do not fit. The times of a clip and
    the marks around visual tokens are part of it. That a whole visual is refused rather than left
    out is our choice.
    """
    whole = expand(text, visuals)
    encoded = tokenizer.core.encode(whole, add_special_tokens=False)
    ids, longer = encoded.ids, limit is not None and len(encoded.ids) > limit
    if longer:
        inside = _inside(whole, encoded.offsets)
        if inside.sum() + tail > limit:
            raise MediaError(
                f"its pictures and clips take {inside.sum()} tokens, the end of the prompt {tail}, "
                f"and limit={limit}: raise it, or lower image.max_pixels or video.total_pixels"
            )
        ids = truncation.cut(ids, limit, tail, inside | np.isin(ids, list(kept)))
    tokens = np.asarray(ids, np.int32)
    pads = [tokenizer.core.token_to_id(token) for token in (IMAGE_PAD, VIDEO_PAD)]
    visual = np.isin(tokens, [pad for pad in pads if pad is not None])
    wanted = sum(v.tokens * v.grid[0] for v in visuals)
    if visual.sum() != wanted:
        raise ValueError(
            f"the tokenizer makes {visual.sum()} tokens of {wanted} × {IMAGE_PAD} or {VIDEO_PAD}: "
            "it does not know them; use that of a Qwen3-VL checkpoint"
        )
    return Rendered(tokens, visual, tuple(visuals), longer)


def _inside(text, offsets):
    """[T] bool: which tokens, by their first and last character, are of an expanded visual."""
    of = np.zeros(len(text) + 1, bool)
    for block in BLOCK.finditer(text):
        of[slice(*block.span())] = True
    return np.array([of[first:stop].any() for first, stop in offsets], bool)


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
