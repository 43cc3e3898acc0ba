"""Rows of any length as few fixed shapes: sorted, cut into batches, padded to a ladder of widths.

    shape (rows, width):   width on the ladder, rows = the budget of tokens // width

A shape is compiled once. Rows go from the longest to the shortest, so only the last batch is not
full: it has half the rows, a quarter and so on, as few as hold what is left. So a single query is
no batch of thousands of tokens. The padding that remains is the step of the ladder: eight widths to
each doubling.
"""

from typing import NamedTuple

import numpy as np

from jaxrl.data.sequences import Sequences, pad

NARROWEST = 8


class Batch(NamedTuple):
    """Rows of one shape."""

    index: np.ndarray  # [n] int: which rows these are; the batch may have more, to be ignored
    sequences: Sequences  # [B, W], padded on the right


def rung(length, longest):
    """The least width of the ladder that holds `length`; never beyond `longest`."""
    step = max(2, 2 ** (length - 1).bit_length() // 16)
    return min(max(-(-length // step) * step, NARROWEST), longest)


def batches(rows, pad_id, longest, budget):
    """Yields Batches of lists of ids, none of them longer than `longest`, none of them empty.

    budget: tokens of a batch, padding included; a row that alone is longer is a batch.
    """
    lengths = np.array([len(row) for row in rows], np.int64)
    order, start = np.argsort(-lengths, kind="stable"), 0
    while start < len(rows):
        width = rung(int(lengths[order[start]]), longest)
        size = max(budget // width, 1)
        index = order[start : start + size]
        while (size + 1) // 2 >= len(index) and size > 1:
            size = (size + 1) // 2
        chosen = [rows[i] for i in index]
        yield Batch(index, pad(chosen, width=width, pad_id=pad_id, count=size))
        start += len(index)
