"""The table: the expert far above random calls, and those no worse than doing nothing."""

import pytest

from jaxrl.envs.research import task as tasks
from jaxrl.evals import open_deepresearch, tables
from jaxrl.rewards.rubric import RUBRICS


@pytest.fixture(scope="module")
def rows(research):
    return tables.table(research, open_deepresearch.POLICIES, open_deepresearch.score)


def test_the_expert_is_far_above_the_baselines_on_every_kind_of_task(rows):
    found = {(row["policy"], row["kind"]): row for row in rows}
    for kind in tasks.KINDS:
        best, random, nothing = (found[p, kind] for p in open_deepresearch.POLICIES)
        assert best["n"] == random["n"] == nothing["n"] == 10
        assert best["low"] > 0.9 and random["high"] < 0.5
        assert random["utility"] >= nothing["utility"] == 0
    assert found["random_tool", "all"]["utility"] > 0


def test_valid_answers_are_counted_apart(rows):
    whole = {row["policy"]: row for row in rows if row["kind"] == "all"}
    assert whole["expert"]["valid"] == 1 > whole["nothing"]["valid"] == 0
    lines = tables.text(rows, "valid").splitlines()
    assert lines[0] == "| policy | technical_writing | ideation | explanation | all |"
    assert lines[2] == "| expert |" + " 100.0 |" * 4


def test_the_criteria_are_the_seven_of_the_rubric():
    assert tuple(open_deepresearch.CRITERIA) == RUBRICS[open_deepresearch.RUBRIC].criteria
    heads = tuple(open_deepresearch.CRITERIA.values())
    assert heads == ("Frm", "Tool", "Cov", "Rel", "Acc", "Dep", "Cla")
