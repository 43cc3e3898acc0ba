"""Verdicts out of replies: what is read, what is refused and why, and that nothing is raised."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrl.rewards import verdicts

GOOD = '{"combined_scores": {"Agent_A": 7.4, "Agent_B": 6}, "winner": "Agent_B"}'
SCORES = "combined_scores"


def pair(text):
    return verdicts.pairwise(text, 0, 10)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"Both are fine {{really}}.\n{GOOD}\nHope that helps {{}}!",
        f"<think>Perhaps {GOOD.replace('7.4', '1')}?</think>{GOOD}",
        f"no opening tag</think>\n{GOOD}",
        f"{GOOD}\n\nTo repeat:\n{GOOD}",
        f'{{"analysis": {{"path_A": "x"}}}}\n{GOOD}',
        GOOD.replace("combined", "Combined").replace("Agent_A", "AGENT_a"),
        GOOD.replace("{", "{\n \t"),
        '{"combined_scores": {"Agent_B": 6.04, "Agent_A": 7.35}}',  # halves up
        json.dumps({"analysis": f"A says {GOOD.replace('7.4', '10')}", **json.loads(GOOD)}),
    ],
)
def test_what_is_read(text):
    """A verdict quoted inside a string is not the judge's own; `winner` contradicts and is idle."""
    assert pair(text)[0] == (74, 60)


@pytest.mark.parametrize(
    "text, why",
    [
        ("", "empty"),
        (" \n ", "empty"),
        ("<think>I ran out of tokens " + GOOD, "empty"),
        ("x" * 200_001, "too_long"),
        ("Agent A is better: 8 to 5.", "not_json"),
        (GOOD[:-1], "not_json"),
        (GOOD[:-1] + ",}", "not_json"),
        (GOOD.replace('"', "'"), "not_json"),
        ('{"analysis": "it said ' + GOOD + '", ' + GOOD[1:], "not_json"),
        ("[" * 100_000 + GOOD[:-3], "not_json"),
        ('{"a":' * 30_000, "not_json"),
        ('{"winner": "Agent_A"}', "no_verdict"),
        (GOOD + GOOD.replace("7.4", "9"), "several"),
        ('{"combined_scores": {"Agent_A": 1, "Agent_A": 9, "Agent_B": 5}}', "several"),
        ('{"combined_scores": {"Agent_A": 1, "agent_a": 9, "Agent_B": 5}}', "several"),
        ('{"combined_scores": {"Agent_A": 7}}', "no_scores"),
        ('{"combined_scores": {"Alice": 7, "Bob": 5}}', "no_scores"),
        ('{"combined_scores": [7, 5]}', "no_scores"),
        (GOOD.replace("6", '"6"'), "not_a_number"),
        (GOOD.replace("6", "NaN"), "not_a_number"),
        (GOOD.replace("6", "-Infinity"), "not_a_number"),
        (GOOD.replace("6", "true"), "not_a_number"),
        (GOOD.replace("6", "null"), "not_a_number"),
        (GOOD.replace("6", "1e999"), "not_a_number"),
        (GOOD.replace("6", "10.01"), "out_of_range"),
        (GOOD.replace("6", "-1"), "out_of_range"),
        (GOOD.replace("6", "9" * 400), "out_of_range"),
        (GOOD.replace("6", "9" * 5000), "not_json"),  # Python refuses so many digits
    ],
)
def test_what_is_refused(text, why):
    assert pair(text) == (None, why)


def test_dimensions_are_read_by_part():
    asked = {"answer_scores": ("relevance", "clarity"), "path_scores": ("logic",)}
    body = {"answer_scores": {"clarity": 3, "relevance": 10}, "path_scores": {"logic": 0.5}}
    assert verdicts.pointwise(json.dumps(body), asked, 0, 10)[0] == {
        "answer_scores": [10, 3],
        "path_scores": [0.5],
    }
    del body["path_scores"]
    assert verdicts.pointwise(json.dumps(body), asked, 0, 10) == (None, "no_scores")
    assert verdicts.pointwise("{}", asked, 0, 10) == (None, "no_verdict")


def check(text):
    value, why = pair(text)
    if value is None:
        assert why in verdicts.FAILURES
    else:
        assert len(value) == 2 and all(type(x) is int and 0 <= x <= 100 for x in value)
    return value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.sampled_from([SCORES, "Agent_A"]), x),
)


@given(JSON, JSON, st.text(max_size=20), st.text(max_size=20))
@settings(max_examples=150, deadline=None)
def test_any_scores_with_any_prose_around(a, b, before, after):
    """Found with this: an integer of 400 digits is no float, and math.isfinite raises on it."""
    body = json.dumps({SCORES: {"Agent_A": a, "Agent_B": b}})
    check(before + body + after)
    check(json.dumps(a) + json.dumps(b))


def fuzz(count, seed):
    """Mutated verdicts: pieces cut, repeated, swapped. Returns how many could still be read."""
    draw, read = random.Random(seed), 0
    pieces = [
        '{"',
        "}",
        '"',
        ",",
        ":",
        SCORES,
        "Agent_A",
        "[",
        "1e9",
        "\\",
        "\ud800",
        "</think>",
        GOOD,
    ]
    for _ in range(count):
        text = GOOD
        for _ in range(draw.randrange(1, 5)):
            i, j = sorted(draw.randrange(len(text) + 1) for _ in range(2))
            middle = draw.choice(("", text[i:j] * 2, draw.choice(pieces), text[i:j][::-1]))
            text = text[:i] + middle + text[j if draw.random() < 0.5 else i :]
        read += check(text) is not None
    return read


def test_mutated_verdicts_never_raise():
    assert 100 < fuzz(3_000, seed=0) < 2_900  # both kinds occur


@pytest.mark.slow
def test_a_hundred_thousand_mutated_verdicts():
    assert 1_000 < fuzz(100_000, seed=1) < 99_000
