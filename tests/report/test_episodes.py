"""Episodes as the page prints them: who said what, in which turn, and which tokens were whose."""

import pytest

from jaxrl.report import episodes
from jaxrl.rollouts.episodes import ENDINGS


def call(name="poi_search", **arguments):
    return {"name": name, "arguments": arguments or {"query": "museum"}, "id": ""}


def message(role, content="", *calls):
    return {"role": role, "content": content, "calls": list(calls)}


def row(*messages, ended="answer", **more):
    found = {"step": 3, "task": 7, "prompt": "Where?", "reward": 1.0, "utility": 0.5}
    found |= {"advantage": 1.0, "counts": {}, "messages": list(messages), "ended": ended}
    return found | {"pieces": [], "logp": [], "chosen": [], "turn": []} | more


ASKED = (message("system", "You plan."), message("user", "Where?"))
SEARCH = message("assistant", "I look.", call(), call("weather", city="Łódź", days=2))
FOUND = (message("tool", "Louvre"), message("tool", "sun"))
ANSWER = message("assistant", "The Louvre.")


def labels(shown):
    return [(m["kind"], m["label"]) for m in shown["messages"]]


def test_messages_are_named_by_speaker_turn_and_the_call_they_answer():
    shown = episodes.shown(row(*ASKED, SEARCH, *FOUND, ANSWER), 1.0)
    assert labels(shown) == [
        ("asks", "system"),
        ("asks", "task"),
        ("says", "reply, turn 1"),
        ("sees", "result of poi_search"),
        ("sees", "result of weather"),
        ("answer", "final answer, turn 2"),
    ]
    assert shown["messages"][2]["calls"][1] == {
        "name": "weather",
        "arguments": [("city", "Łódź"), ("days", "2")],
        "more": 0,
    }
    assert (shown["turns"], shown["meaning"]) == (2, "gave its answer")


def test_results_get_no_name_where_an_unreadable_call_was_answered_among_them():
    """Calls that could not be read are not in the row: their results would shift the names."""
    shown = episodes.shown(row(SEARCH, *FOUND, message("tool", "could not be read"), ANSWER), 1.0)
    assert [label for kind, label in labels(shown) if kind == "sees"] == ["result"] * 3


@pytest.mark.parametrize("ended, label", [("answer", "final answer"), ("reply", "last reply")])
def test_a_reply_that_was_cut_is_no_answer(ended, label):
    assert (
        labels(episodes.shown(row(*ASKED, ANSWER, ended=ended), 1.0))[-1][1] == f"{label}, turn 1"
    )


def test_only_what_an_agent_was_told_at_length_is_folded():
    long = "x" * (episodes.OPEN + 1)
    told = (message("tool", "short"), message("tool", long), message("tool", "\n" * 9 + "." * 9))
    shown = episodes.shown(row(message("assistant", long, call()), *told), 1.0)
    assert [m["folded"] for m in shown["messages"]] == [False, False, True, False]
    assert shown["messages"][2]["length"] == episodes.OPEN + 1


def test_an_endless_episode_is_cut_and_says_where():
    turns = [m for k in range(60) for m in (message("assistant", str(k), call()), FOUND[0])]
    shown = episodes.shown(row(*ASKED, *turns), 1.0)
    assert shown["cut"] == 122 - episodes.MESSAGES and len(shown["messages"]) == episodes.MESSAGES
    assert labels(shown)[shown["half"]][1] == "reply, turn 51" and shown["turns"] == 60


def test_texts_and_arguments_share_one_budget():
    hostile = call("n" * 999, **{"k" * 999: "v" * 99_999, **{str(k): k for k in range(99)}})
    messages = [message("assistant", "s" * 99_999, *[hostile] * 99), message("tool", "t" * 99_999)]
    shown = episodes.shown(row(*messages), 1.0)
    texts = [m["text"] for m in shown["messages"]]
    texts += [text for c in shown["messages"][0]["calls"] for _, text in c["arguments"]]
    assert sum(map(len, texts)) < episodes.CHARS + 40 * len(texts)
    assert "characters left out" in texts[0] and shown["messages"][0]["more"] == 95
    assert all(len(c["name"]) <= episodes.NAME for c in shown["messages"][0]["calls"])


def test_tokens_stand_by_turn_and_the_worlds_are_one_run():
    pieces = ["I", " go", "<res>", "ult", "Done", "\u202e"]
    logp = [-0.1, -3.0, None, None, -0.2, -0.3]
    given = {"chosen": [1, 1, 0, 0, 1, 1], "turn": [1, 1, 1, 1, 2, 2], "advantage": -1.0}
    tokens = episodes.shown(row(ANSWER, pieces=pieces, logp=logp, **given), 1.0)["tokens"]
    first, second = tokens["head"]
    assert [(t["turn"], len(t["runs"])) for t in (first, second)] == [(1, 2), (2, 1)]
    mine, world = first["runs"]
    assert [(text, classes) for text, classes, _ in mine["chosen"]] == [
        ("I", "n4 u0"),
        (" go", "n4 u3"),
    ]
    assert (world["chosen"], world["world"]) == ([], ("<res>ult", None, 2))
    assert second["runs"][0]["chosen"][1][0] == "‹U+202E›"
    assert (tokens["all"], tokens["chosen"], tokens["cut"]) == (6, 4, 0)


def test_what_the_world_said_at_length_takes_no_tokens_from_the_policy():
    n = episodes.TOKENS
    given = {"pieces": ["I", *["far "] * n, "go"], "logp": [-1.0, *[None] * n, -1.0]}
    given |= {"chosen": [1, *[0] * n, 1], "turn": [1] * (n + 1) + [2]}
    tokens = episodes.shown(row(ANSWER, **given), 1.0)["tokens"]
    text, _, count = tokens["head"][0]["runs"][1]["world"]
    assert (count, tokens["cut"], tokens["all"]) == (n, 0, n + 2) and "left out" in text
    assert tokens["head"][1]["runs"][0]["chosen"][0][0] == "go" and tokens["tail"] == []


def test_many_tokens_show_both_ends():
    n = episodes.TOKENS + 70
    given = {"pieces": [str(k) for k in range(n)], "logp": [-1.0] * n, "chosen": [1] * n}
    tokens = episodes.shown(row(ANSWER, turn=[1] * n, **given), 1.0)["tokens"]
    drawn = [tokens[end][0]["runs"][0]["chosen"] for end in ("head", "tail")]
    assert tokens["cut"] == 70 and sum(map(len, drawn)) == episodes.TOKENS
    assert (drawn[0][0][0], drawn[1][-1][0]) == ("0", str(n - 1))


def test_every_ending_has_its_meaning():
    assert set(episodes.ENDED) == set(ENDINGS)
