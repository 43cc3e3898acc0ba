"""What a judge of pairs returns, whoever it is, and how it is counted."""

import collections
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import numpy as np


class Compared(NamedTuple):
    """The outcome of M matches, both orders of each: two judge calls a match."""

    calls: np.ndarray  # [M, 2, 2] f64: order (as listed, swapped), then contestant as listed
    counts: collections.Counter
    criteria: np.ndarray | None = None  # [M, 2, 2, K] f64: calls by the K criteria of a rubric;
    # NaN where a verdict lacks one

    @property
    def scores(self):
        """(s_i, s_j) = J(i, j) + J(j, i), by contestant: [M, 2] f64. arXiv:2601.06487, eq. 3."""
        return _summed(self.calls)


# Matches of two contestants each, all judged at once. A contestant is what the judge takes it to
# be: a Transcript (pairwise.py), or a name and a true utility (programmatic.py).
Compare = Callable[[Sequence[tuple[Any, Any]]], Awaitable[Compared]]


def tally(calls, told):
    """Counts of M matches: comparisons, ties, and by call which side was ahead.

    calls: [M, 2, 2]; told: [M, 2] bool, False where the verdict is a neutral stand-in. first_wins
    and second_wins count calls by the order of showing, contestants apart: equal without a bias.
    """
    ahead = calls[..., 0] - calls[..., 1]
    shown = np.where([True, False], ahead, -ahead)[told]
    summed = _summed(calls)
    counts = {
        "comparisons": len(calls),
        "ties": int((summed[:, 0] == summed[:, 1]).sum()),
        "neutral": int((~told).sum()),
        "first_wins": int((shown > 0).sum()),
        "second_wins": int((shown < 0).sum()),
    }
    return collections.Counter(counts)


def metrics(counts):
    """Counts as metrics; names and units are in training/metrics.SCHEMA.

    judge/first_wins is NaN where no call had a winner.
    """
    decided = counts["first_wins"] + counts["second_wins"]
    plain = ("comparisons", "calls", "retries", "neutral", "ties", "miscounted")
    share = counts["first_wins"] / decided if decided else np.nan
    return {f"judge/{k}": float(counts[k]) for k in plain} | {"judge/first_wins": share}


def _summed(calls):
    return calls.sum(1).round(9)  # so that sums of tenths are equal where they should be
