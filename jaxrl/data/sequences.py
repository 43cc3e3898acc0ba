"""What embedders and rerankers read: sequences of one length, each with its own pictures."""

from typing import NamedTuple

import numpy as np

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
    patches: Patches | None = None  # [B, W, ..] each field: a row of patches a sequence


def pad(rows, *, width, pad_id, count=None):
    """Lists of ids -> Sequences [count, width], padded on the right. count: None = as many.

    Rows beyond the given ones have one valid token, or they would compute NaN.
    """
    shape = len(rows) if count is None else count, width
    tokens, valid = np.full(shape, pad_id, np.int32), np.zeros(shape, bool)
    valid[len(rows) :, 0] = True
    for b, ids in enumerate(rows):
        tokens[b, : len(ids)], valid[b, : len(ids)] = ids, True
    return Sequences(tokens, valid)
