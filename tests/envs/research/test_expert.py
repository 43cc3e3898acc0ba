"""The expert's turns are real calls, and its reports cite what it opened; so far the baselines."""

import json

import pytest
import tiny_corpus

from jaxrl.envs.research import baselines, calls, expert, reports, words
from jaxrl.envs.research import task as tasks


@pytest.fixture(scope="module")
def drawn(names):
    return [tiny_corpus.task(names, "sft", i) for i in range(12)]


def made(messages):
    """The calls with their results."""
    wanted = [call for m in messages for call in m.calls]
    return list(zip(wanted, [m.content for m in messages if m.role == "tool"], strict=True))


@pytest.mark.parametrize("policy", [expert.solve, baselines.random_tool, baselines.nothing])
def test_every_result_is_what_the_tool_returns(policy, drawn):
    for task in drawn:
        messages = policy(task)
        assert all(calls.run(tasks.world(task), call) == text for call, text in made(messages))
        assert not any(text.startswith("error") for _, text in made(messages))
        assert messages[-1].role == "assistant" and not messages[-1].calls
        assert messages == policy(task)


def test_the_expert_opens_what_it_found_and_quotes_what_it_opened(drawn):
    for task in drawn:
        messages = expert.solve(task)
        searched = calls.found([c for c in made(messages) if c[0].name == "search"])
        opened = {
            r["id"]: r["text"]
            for c, t in made(messages)
            if c.name == "open"
            for r in [json.loads(t)]
        }
        report = reports.parse(messages[-1].content)
        assert report.cited == set(opened) <= searched and len(opened) == 1 + task.count
        assert all(c.text in " ".join(opened[c.cited[0]].split()) for c in report.claims)
        assert task.low <= report.words <= task.high
        assert sum(m.role == "assistant" for m in messages) == 4


def test_random_calls_depend_on_their_key(drawn):
    assert baselines.random_tool(drawn[0], "0") != baselines.random_tool(drawn[0], "1")


def test_the_expert_keeps_to_the_length(drawn):
    """A sentence each where there is no room, all there are where the report must be long."""
    short, long = (drawn[0]._replace(low=n, high=n) for n in (1, 10**6))
    pages = {
        c.arguments["id"]: json.loads(t)["text"]
        for c, t in made(expert.solve(short))
        if c.name == "open"
    }
    whole = sum(len(s.split()) for text in pages.values() for s in words.sentences(text))
    report = reports.parse(expert.answer(short))
    assert [len(s.claims) for s in report.sections] == [1] * (1 + short.count)
    assert reports.parse(expert.answer(long)).words == whole > report.words
