"""Trajectories as a judge sees them: what is shown, what is cut."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrl.messages import Message, ToolCall
from jaxrl.rewards import transcript
from jaxrl.rewards.transcript import Limits, Transcript, Turn

PROMPT = (Message("system", "Be brief."), Message("user", "A day in Rome?"))
CALL = ToolCall("poi_search", {"city": "Rome", "tags": ["café"]}, id="7")
TEXT = st.text(st.characters(codec=None), max_size=60) | st.sampled_from(
    ["</PATH_A>", "<|im_end|>", "<think>", "&lt;", '"}]}', "\ud800", "\U000e0041", "\u202e", "\x00"]
)
CALLS = st.builds(ToolCall, TEXT, st.dictionaries(TEXT, TEXT | st.integers(), max_size=3))
TURNS = st.lists(st.builds(Turn, TEXT, st.lists(CALLS, max_size=5).map(tuple)), max_size=6)


def test_steps_and_answer_are_shown_and_tool_results_are_not():
    """In ArenaRL a judge reads what an agent did, not what the world returned."""
    messages = (
        Message("assistant", "I look around.", (CALL,)),
        Message("tool", "SECRET RESULT", call_id="7"),
        Message("assistant", "<think>\nEnough.\n</think>\n\nSee the Forum."),
    )
    got = transcript.of(PROMPT, messages)
    assert got == Transcript(
        "A day in Rome?", (Turn("I look around.", (CALL,)), Turn("Enough.", ())), "See the Forum."
    )
    lines = [json.loads(line) for line in transcript.path(got, Limits()).splitlines()]
    assert [x["step"] for x in lines] == [1, 2]
    (call,) = lines[0]["tool_calls"]
    assert call["name"] == "poi_search" and json.loads(call["arguments"]) == CALL.arguments
    assert lines[1] == {"step": 2, "reasoning": "Enough.", "tool_calls": []}
    assert "SECRET" not in transcript.path(got, Limits()) + transcript.answer(got, Limits())


@pytest.mark.parametrize(
    "messages, turns",
    [
        ((), 0),
        ((Message("assistant", "", (CALL,)),), 1),
        ((Message("assistant", "x", (CALL,)), Message("tool", "y")), 1),
        ((Message("assistant", "x"), Message("user", "and then?")), 1),
        ((Message("assistant", " \n"),), 0),
        ((Message("assistant", "<think>cut off here"),), 1),
        ((Message("assistant", "thought</think>  "),), 1),
    ],
)
def test_a_missing_answer_is_a_fixed_sentence(messages, turns):
    """Ended by a limit, in a call, in its thoughts, or with nothing: all the same to the judge."""
    got = transcript.of(PROMPT, messages)
    assert transcript.answer(got, Limits()) == transcript.NO_ANSWER
    assert len(got.turns) == turns


def test_a_prompt_without_a_user_is_refused():
    with pytest.raises(ValueError, match=r"\['system'\].*message of a user"):
        transcript.of(PROMPT[:1], ())


@pytest.mark.parametrize("values", [{"path": 1}, {"turns": 0}, {"answer": 2.5}, {"query": None}])
def test_limits_are_checked(values):
    with pytest.raises(ValueError, match=rf"Limits.{next(iter(values))}="):
        Limits(**values)


@given(TURNS, st.integers(2, 80), st.integers(2, 4), st.integers(2, 3))
@settings(max_examples=60, deadline=None)
def test_a_path_is_valid_json_within_its_limit(turns, most, steps, calls):
    """A cut that fell between a backslash and its quote once could have opened the string."""
    limits = Limits(path=most, turns=steps, calls=calls)
    shown = transcript.path(Transcript("q", tuple(turns), "a"), limits)
    lines = [json.loads(line) for line in shown.split("\n")] if shown else []
    numbered = [x for x in lines if "step" in x]
    assert len(numbered) == min(len(turns), steps)
    assert ({"note": "steps left out"} in lines) == (len(turns) > steps)
    own = [re.sub(r"\[… \d+ characters left out …\]", "", t) for x in numbered for t in texts(x)]
    assert sum(map(len, own)) <= most


def texts(line):
    calls = [c for c in line["tool_calls"] if "name" in c]
    return [line["reasoning"], *(t for c in calls for t in (c["name"], c["arguments"]))]


def test_long_texts_are_cut_in_the_middle_before_short_ones():
    turns = (Turn("a" * 500 + "b" * 500, (CALL,)), Turn("short", ()))
    shown = transcript.path(Transcript("q", turns, ""), Limits(path=200))
    long, short = (json.loads(x) for x in shown.splitlines())
    assert short["reasoning"] == "short" and long["tool_calls"][0]["name"] == "poi_search"
    match = re.fullmatch(r"(a+)\[… (\d+) characters left out …\](b+)", long["reasoning"])
    assert match and len(match[1]) + int(match[2]) + len(match[3]) == 1000


def test_arguments_of_a_million_characters_and_of_any_depth_are_shown_short():
    deep = {}
    for _ in range(100_000):
        deep = {"a": deep}
    calls = (ToolCall("x", {"a": "y" * 1_000_000}), ToolCall("z", deep))
    shown = transcript.path(Transcript("q", (Turn("", calls),), ""), Limits(path=1000))
    assert len(shown) < 1500 and "nested too deeply" in shown
