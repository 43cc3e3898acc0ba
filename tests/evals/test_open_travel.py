"""The table: the expert far above random tools, and those no worse than doing nothing."""

import pytest

from jaxrl.envs.travel import task as tasks
from jaxrl.envs.travel.env import OpenTravel
from jaxrl.evals import open_travel, tables
from jaxrl.rewards.rubric import RUBRICS


@pytest.fixture(scope="module")
def rows():
    """The table of the whole test split."""
    return tables.table(OpenTravel("test"), open_travel.POLICIES, open_travel.score)


@pytest.fixture(scope="module")
def found(rows):
    """The same by policy and kind."""
    return {(row["policy"], row["kind"]): row for row in rows}


def test_the_expert_is_far_above_the_baselines_on_every_kind_of_task(found):
    for kind in tasks.KINDS:
        best, random, nothing = (found[p, kind] for p in ("expert", "random_tool", "nothing"))
        assert best["n"] == random["n"] == nothing["n"] == 50
        assert best["low"] > 0.95 and random["high"] < 0.35
        assert random["low"] > 0 == nothing["utility"]


def test_rows_hold_intervals_and_parts(rows, found):
    for row in rows:
        assert row["low"] <= row["utility"] <= row["high"]
    assert all(value == 1 for value in found["expert", "all"]["parts"].values())
    assert {"coverage", "grounded", "constraints"} <= set(found["random_tool", "all"]["parts"])
    mean = sum(found["random_tool", kind]["utility"] for kind in tasks.KINDS) / 5
    assert abs(found["random_tool", "all"]["utility"] - mean) < 1e-6


def test_the_text_has_a_line_a_policy(rows):
    lines = tables.text(rows).splitlines()
    assert lines[0] == "| policy | " + " | ".join((*tasks.KINDS, "all")) + " |"
    assert lines[2] == "| expert | " + " | ".join(["100.0"] * 6) + " |"
    assert [line.count("|") for line in lines] == [8] * 5


def test_valid_is_who_answers(found):
    assert [found[p, "all"]["valid"] for p in open_travel.POLICIES] == [1, 1, 0]


def test_the_criteria_are_those_of_the_rubric():
    assert tuple(open_travel.CRITERIA) == RUBRICS[open_travel.RUBRIC].criteria
