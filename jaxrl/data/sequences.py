"""What embedders and rerankers read: sequences of one length, each with its own pictures."""

from typing import NamedTuple

import numpy as np

from jaxrl.data import visual_rows
from jaxrl.data.visual_prompts import Rendered
from jaxrl.data.visual_rows import Patches


class Sequences(NamedTuple):
    """B sequences of T columns. The last three are of models that see; None = text alone.

    The first axis of every leaf is the sequence, so a batch splits into micro-batches and over a
    mesh as text does.
    """

    tokens: np.ndarray  # [B, T] int32
    valid: np.ndarray  # [B, T] bool
    position: np.ndarray | None = None  # [B, 3, T] int32: time, row, column
    visual: np.ndarray | None = None  # [B, T] int32: which visual token of its own; −1 = text
    patches: Patches | None = None  # [B, N, W, ..] each field: N rows of patches a sequence


def pad(rows, *, pad_id, width=None, count=None, tower=None, patches=None):
    """Rows, of ids or visual_prompts.Rendered, -> Sequences [count, width], padded on the right.

    width: None = from visual_rows.bucket; count: None = as many as there are rows. Rows beyond the
    given ones have one valid token, or they would compute NaN.

    tower: vision.Config of a model that sees. If a row has pictures, all rows have room for them,
    empty where there are none: patches is its (N, W), None = from visual_rows.bucket. If none has,
    this is text alone, unless patches is given: one shape then serves all batches.
    """
    width = _width(rows, width)
    shape = len(rows) if count is None else count, width
    tokens, valid = np.full(shape, pad_id, np.int32), np.zeros(shape, bool)
    valid[len(rows) :, 0] = True
    for b, row in enumerate(rows):
        ids = row.tokens if isinstance(row, Rendered) else row
        tokens[b, : len(ids)], valid[b, : len(ids)] = ids, True
    if patches is None and not any(_visuals(row) for row in rows):
        return Sequences(tokens, valid)
    return Sequences(tokens, valid, *_seen(rows, shape, tower, *(patches or (None, None))))


def _seen(rows, shape, tower, per_sequence, width):
    """position, visual and patches of rows of which some have pictures."""
    if tower is None:
        raise ValueError("a row has pictures, and there is no tower to see them: give tower")
    B, T = shape
    of = [_visuals(row) for row in rows] + [()] * (B - len(rows))
    patches, starts = visual_rows.lay(of, tower=tower, rows=per_sequence, width=width)
    position, index = np.zeros((B, 3, T), np.int32), np.full(shape, -1, np.int32)
    position[:] = np.arange(T)  # of what is text alone
    for b, row in enumerate(rows):
        if of[b]:
            position[b, :, : len(row)] = row.position
            found = zip(of[b], starts[b], strict=True)
            where = [s + np.arange(v.tokens) for v, first in found for s in first]
            index[b, : len(row)][row.visual] = np.concatenate(where)
    return position, index, patches


def _visuals(row):
    return row.visuals if isinstance(row, Rendered) else ()


def _width(rows, width):
    longest = max(map(len, rows), default=1)
    width = width or visual_rows.bucket(longest, 64)
    if longest > width:
        raise ValueError(
            f"a row has {longest} tokens, more than width={width}: raise it, or read its pictures "
            "with a lower max_pixels or total_pixels"
        )
    return width
