"""The published weightings, the paper's rounding, and rubrics that make no sense."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxrl.rewards import rubric
from jaxrl.rewards.rubric import RUBRICS, Half, Rubric

WHOLE = st.integers(0, 10)


def test_the_three_published_weightings():
    """arXiv:2601.06487, appendix E."""
    got = {name: (r.path.weight, r.answer.weight) for name, r in RUBRICS.items()}
    assert got == {"travel": (0.6, 0.4), "research": (0.5, 0.5), "writing": (0.4, 0.6)}
    assert all(len(r.path.names) == 3 and len(r.answer.names) == 4 for r in RUBRICS.values())
    assert RUBRICS["travel"].path.names == ("breadth", "relevance", "detail")
    assert RUBRICS["research"].answer.names == ("relevance", "accuracy", "depth", "clarity")
    assert {r.neutral for r in RUBRICS.values()} == {5.0}


@given(st.lists(WHOLE, min_size=3, max_size=3), st.lists(WHOLE, min_size=4, max_size=4))
def test_combined_is_exact(path, answer):
    """0.6 · 7 + 0.4 · 8 is 7.4 in fractions and must be 74 tenths whatever floats make of it."""
    up = lambda x: math.floor(x + Fraction(1, 2))
    p, a = up(Fraction(sum(path), 3)), up(Fraction(sum(answer), 4))
    for r in RUBRICS.values():
        w = Fraction(str(r.path.weight))
        want = up(10 * (w * p + (1 - w) * a))
        assert rubric.combined(r, {"path": path, "answer": answer}) == want


def test_halves_are_rounded_up():
    """Python's round takes 6.5 to 6: the paper's judges are told to go up."""
    r = RUBRICS["research"]
    assert rubric.combined(r, {"path": [6, 7, 5], "answer": [6, 7, 6, 7]}) == 65  # (6 + 7) / 2
    assert rubric.mean(r, {"path": [6, 7, 5], "answer": [6, 7, 6, 7]}) == 6.25


def test_answer_only_leaves_the_path_out():
    r = rubric.answer_only(RUBRICS["travel"])
    assert [key for key, _ in r.halves] == ["answer"]
    assert rubric.mean(r, {"answer": [1, 2, 3, 5]}) == 2.75
    assert RUBRICS["travel"].path.names  # and the table is as it was


A, B = (("a", "?"),), (("b", "?"), ("b", "?"))


@pytest.mark.parametrize(
    "path, answer, more, words",
    [
        (Half(0.6, A), Half(0.6, A), {}, "weights"),
        (Half(-0.5, A), Half(1.5, A), {}, "weights"),
        (Half(0.5, ()), Half(0.5, A), {}, "path.dimensions"),
        (Half(0, A), Half(1, A), {}, "path.dimensions"),
        (Half(0.5, A), Half(0.5, B), {}, "answer.dimensions"),
        (Half(0.5, A), Half(0.5, A), {"low": 10}, "low=10, high=10"),
    ],
)
def test_senseless_rubrics_are_refused(path, answer, more, words):
    with pytest.raises(ValueError, match=words):
        Rubric("x", path, answer, **more)
