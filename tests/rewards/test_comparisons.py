"""Counts of judged matches, and their names in the log."""

import collections

import numpy as np

from jaxrl.rewards import comparisons
from jaxrl.training.metrics import SCHEMA


def test_counts_by_match_and_by_call():
    """Ties are of matches, wins of calls; what stands in for a verdict wins nothing."""
    calls = np.array([[[6, 4], [5, 7]], [[5, 5], [3, 2]], [[8, 8], [1, 9]]], float)
    told = np.array([[True, True], [False, True], [True, True]])
    got = comparisons.tally(calls, told)
    assert got == {"comparisons": 3, "ties": 1, "neutral": 1, "first_wins": 3, "second_wins": 1}
    np.testing.assert_array_equal(comparisons.Compared(calls, got).scores, calls.sum(1))


def test_every_metric_is_documented_and_none_is_missing():
    """A judge that never had a winner has no bias to show: NaN, not 0 and not a half."""
    found = comparisons.metrics(collections.Counter(calls=3, first_wins=3, second_wins=1))
    assert set(found) == {name for name in SCHEMA if name.startswith("judge/")}
    assert found["judge/calls"] == 3 and found["judge/first_wins"] == 0.75
    assert np.isnan(comparisons.metrics(collections.Counter())["judge/first_wins"])
