"""Rows of any length as few fixed shapes: sorted, cut into batches, padded to a ladder of widths.

    shape (rows, width):   width on the ladder, rows = the budget of tokens // width

A shape is compiled once. Rows go from the longest to the shortest, so only the last batch is not
full: it has half the rows, a quarter and so on, as few as hold what is left. So a single query is
no batch of thousands of tokens. The padding that remains is the step of the ladder: eight widths to
each doubling. Rows with pictures go apart from those of text alone: the tower looks at no empty
rows of patches.
"""

from typing import NamedTuple

import numpy as np

from jaxrl.data.sequences import Sequences, pad
from jaxrl.data.visual_prompts import Rendered

NARROWEST = 8


class Batch(NamedTuple):
    """Rows of one shape."""

    index: np.ndarray  # [n] int: which rows these are; the batch may have more, to be ignored
    sequences: Sequences  # [B, W], padded on the right


def rung(length, longest):
    """The least width of the ladder that holds `length`; never beyond `longest`."""
    step = max(2, 2 ** (length - 1).bit_length() // 16)
    return min(max(-(-length // step) * step, NARROWEST), longest)


def batches(rows, pad_id, longest, budget, tower=None):
    """Yields Batches of rows as sequences.pad takes them, none longer than `longest`, none empty.

    budget: tokens of a batch, padding included; a row that alone is longer is a batch. tower:
    vision.Config, for rows with pictures.
    """
    kinds = np.array([isinstance(row, Rendered) for row in rows], bool)
    for kind in (False, True):
        some = np.flatnonzero(kinds == kind)
        lengths = np.array([len(rows[i]) for i in some], np.int64)
        order = some[np.argsort(-lengths, kind="stable")]
        for index, width, size in _cut(order, rows, longest, budget):
            how = {"width": width, "pad_id": pad_id, "count": size, "tower": tower}
            yield Batch(index, pad([rows[i] for i in index], **how))


def _cut(order, rows, longest, budget):
    """(which rows, width, rows of the batch) of each batch; order: from the longest row on."""
    start = 0
    while start < len(order):
        width = rung(len(rows[order[start]]), longest)
        size = max(budget // width, 1)
        index = order[start : start + size]
        while (size + 1) // 2 >= len(index) and size > 1:
            size = (size + 1) // 2
        yield index, width, size
        start += len(index)
