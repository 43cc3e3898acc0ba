"""Win rates against baselines: by criterion, without ties, on valid outputs alone."""

import asyncio
import functools
import json
import re

import numpy as np
import pytest

from jaxrl.chat.base import Reply
from jaxrl.evals import win_rates
from jaxrl.rewards import pairwise
from jaxrl.rewards.judge import Judge
from jaxrl.rewards.rubric import Half, Rubric
from jaxrl.rewards.transcript import Transcript

RUBRIC = Rubric("x", Half(0), Half(1, (("length", "?"), ("start", "?"))))


async def model(conversations):
    """Scores an answer's length, and whether it begins with "a", unless there is a "?" in it."""
    return [Reply(_verdict(c[-1].content)) for c in conversations]


def _verdict(content):
    shown = {side: re.search(f"<ANSWER_{side}>\n(.*)\n", content)[1] for side in "AB"}
    parts = {s: {"length": len(x), "start": 10 * (x[0] == "a")} for s, x in shown.items()}
    for side, text in shown.items():
        if "?" in text:
            del parts[side]["start"]
    return json.dumps(
        {
            "answer_scores": {f"Agent_{s}": p for s, p in parts.items()},
            "combined_scores": {f"Agent_{s}": p["length"] for s, p in parts.items()},
        }
    )


def against(ours, theirs, valid=None):
    of = lambda answers: [Transcript(f"query {i}", (), a) for i, a in enumerate(answers)]
    compare = functools.partial(pairwise.compare, Judge(model, RUBRIC))
    return asyncio.run(win_rates.against(of(theirs), of(ours), compare, RUBRIC.criteria, valid))


def test_each_criterion_has_its_own_wins_and_ties():
    rows, valid, counts = against(["abc", "bbb", "", "a", "a??"], ["ab", "bb", "b", "bc", "b"])
    assert valid == 0.8 and counts["comparisons"] == 4
    combined, length, start = rows
    assert [r["criterion"] for r in rows] == ["combined", "answer/length", "answer/start"]
    assert (combined["wins"], combined["losses"], combined["ties"]) == (3, 1, 0)
    assert {**length, "criterion": "combined"} == combined and combined["win_rate"] == 0.75
    # "abc" and "ab" tie, so do "bbb" and "bb"; of "a??" the judge did not say.
    assert (start["wins"], start["losses"], start["ties"]) == (1, 0, 2)
    assert start["win_rate"] == 1 and 0 < start["low"] < start["high"] <= 1


def test_where_all_are_tied_there_is_no_rate():
    rows, valid, _ = against(["ab"], ["ab"])
    assert np.isnan(rows[0]["win_rate"]) and rows[0]["ties"] == 1 and valid == 1


@pytest.mark.parametrize("ours", [[], [""]])
def test_without_a_valid_output_nothing_is_won(ours):
    rows, valid, counts = against(ours, ["ab"] * len(ours))
    assert np.isnan(rows[0]["win_rate"]) and not valid > 0 and counts["calls"] == 0


def test_what_is_valid_may_be_told():
    rows, valid, counts = against(["abc", "b", "bb"], ["a"] * 3, [True, False, True])
    assert valid == 2 / 3 and counts["comparisons"] == 2 and rows[0]["wins"] == 2


def test_the_table_has_the_mean_over_criteria():
    """Wins 3 of 4 by length and 1 of 1 by its start; a policy that always ties has no rate."""
    rows, valid, _ = against(["abc", "bbb", "", "a", "a??"], ["ab", "bb", "b", "bc", "b"])
    tied, all_valid, _ = against(["ab"], ["ab"])
    heads = {"answer/length": "Len", "answer/start": "Start"}
    found = {"x": ([rows], valid), "y": ([tied], all_valid), "z": ([rows, lost(rows)], valid)}
    lines = win_rates.text(found, heads).splitlines()
    assert lines[0] == "| policy | Len | Start | mean | combined | valid |"
    assert lines[2] == "| x | 75.0 | 100.0 | 87.5 | 75.0 | 80.0 |"
    assert lines[3] == "| y | - | - | - | - | 100.0 |"
    assert lines[4] == "| z | 37.5 | 50.0 | 43.8 | 37.5 | 80.0 |"  # the mean of both judges


def lost(rows):
    """The same of a judge with whom nothing was won."""
    return [row | {"win_rate": 0.0} for row in rows]
