"""The agent's loop: calls made through the env, what went wrong told, every ending counted."""

import asyncio

import pytest

from jaxrl.chat.base import Reply
from jaxrl.chat.tool_calls import Malformed
from jaxrl.envs.research import expert
from jaxrl.evals import agent, open_deepresearch
from jaxrl.messages import ToolCall
from jaxrl.rollouts import episodes


class Script:
    """A ChatModel that gives its replies in turn; `seen`: the conversations of each call."""

    def __init__(self, *replies):
        self.replies, self.seen = replies, []

    async def __call__(self, conversations):
        self.seen.append([tuple(c) for c in conversations])
        return [self.replies[len(self.seen) - 1]] * len(conversations)


def play(env, model, turns=6, indices=(0,)):
    return asyncio.run(agent.play(env, model, indices, turns=turns))


def call(name, **arguments):
    return ToolCall(name, arguments)


def test_calls_are_made_and_their_results_shown(research):
    calls = (
        ToolCall("search", {"query": "was", "count": 2}, "a"),
        ToolCall("open", {"id": "d3"}, "b"),
    )
    model = Script(
        Reply("I look.", calls), Reply("<think>Now.</think># T\n## S\nOne two three [d3].")
    )
    (episode,) = play(research, model)
    assert episode.ending == "answer" and episode.answer == "# T\n## S\nOne two three [d3]."
    assert [c for c, _ in episode.state.calls] == list(calls)
    asked, first, second, answered = episode.messages
    assert asked.calls == calls and answered.content.startswith("<think>")
    assert (first.call_id, second.call_id) == ("a", "b") and '"id": "d3"' in second.content
    assert model.seen[1][0] == (*episode.prompt, asked, first, second)
    assert open_deepresearch.score(episode).valid


@pytest.mark.parametrize(
    "wanted, said, recorded",
    [
        (call("search", query="was", count="two"), "error: count = 'two': give an integer", 0),
        (call("search", qery="was"), "error: q", 0),
        (call("search", query="was", count=99), "error: count = 99: out of range", 1),
        (call("browse", url="x"), "error: tool 'browse' is not known", 0),
    ],
)
def test_a_call_that_makes_no_sense_is_told(research, wanted, said, recorded):
    """Arguments of a wrong type never reach the env; what they mean is the env's to refuse."""
    (episode,) = play(research, Script(Reply("", (wanted,)), Reply("x")))
    assert episode.messages[1].content.startswith(said) and episode.ending == "answer"
    assert len(episode.state.calls) == recorded


def test_numbers_take_the_type_of_the_tool(research):
    (episode,) = play(
        research, Script(Reply("", (call("search", query="was", count=2.0),)), Reply("x"))
    )
    assert episode.state.calls[0][0].arguments == {"query": "was", "count": 2}
    assert type(episode.state.calls[0][0].arguments["count"]) is int


def test_a_call_that_cannot_be_read_becomes_an_observation(research):
    broken = Malformed("its JSON cannot be read", '{"name": ', "z")
    model = Script(Reply("Hm.", malformed=(broken,)), Reply("x"))
    (episode,) = play(research, model)
    assert "could not be read: its JSON" in episode.messages[1].content
    assert episode.messages[1].call_id == "z" and episode.state.calls == ()


def test_calls_may_stand_in_the_text(research):
    """An endpoint without a parser of calls: one is made, one is broken, and both are answered."""
    text = 'So.\n<tool_call>\n{"name": "open", "arguments": {"id": "d3"}}\n</tool_call>'
    model = Script(Reply(f"{text}\n<tool_call>\n{{</tool_call>"), Reply("x"))
    (episode,) = play(research, model)
    said, result, trouble, _ = episode.messages
    assert said.content == "So." and said.calls == (call("open", id="d3"),)
    assert '"id": "d3"' in result.content and "could not be read" in trouble.content
    assert episode.ending == "answer" and len(episode.state.calls) == 1


def test_every_ending_has_its_name(research):
    look = Reply("", (call("search", query="was"),))
    (long,) = play(research, Script(*[look] * 3), turns=3)
    assert long.ending == "turns" and len(long.state.calls) == 2 and long.answer == ""
    (late,) = play(research, Script(look, Reply("x")), turns=2)
    assert late.ending == "answer" and late.messages[-2].content.endswith(episodes.LAST)
    (empty,) = play(research, Script(Reply("<think>only thoughts")))
    (failed,) = play(research, Script(look, Reply("", failure="timeout", detail="late")))
    assert empty.ending == "empty" and (failed.ending, failed.detail) == ("timeout", "late")
    counted = agent.endings([long, late, empty, failed, failed])
    assert counted == {"answer": 1, "empty": 1, "turns": 1, "timeout": 2}
    assert not any(open_deepresearch.score(e).valid for e in (long, late, empty, failed))


def test_all_tasks_go_on_together_and_those_that_ended_are_left_out(research):
    """Task 1 answers at once; the others, later, each with its own conversation."""
    sizes, told = [], []

    async def model(conversations):
        sizes.append(len(conversations))
        done = lambda c: c[1].content == second or len(c) > 2
        return [Reply("x" if done(c) else "", () if done(c) else look) for c in conversations]

    look, second = (call("search", query="was"),), research.reset(1)[1][1].content
    run = agent.play(research, model, (0, 1, 2), turns=5, tell=told.append)
    played = asyncio.run(run)
    assert sizes == [3, 2] and told == [1, 3]
    assert [e.state.task.query for e in played] == [e.prompt[1].content for e in played]
    assert [len(e.state.calls) for e in played] == [1, 0, 1]


def test_the_expert_as_a_chat_model_gets_what_the_script_gets(research):
    """The script's turns, sent through the loop: same calls, same results, same score."""
    task = research.reset(4)[0].task
    turns = [m for m in expert.solve(task) if m.role == "assistant"]
    model = Script(*(Reply(m.content, m.calls) for m in turns))
    (episode,) = play(research, model, indices=(4,))
    script = agent.scripted(research, expert.solve, 4)
    assert episode.state == script.state and episode.messages == script.messages
    assert open_deepresearch.score(episode) == open_deepresearch.score(script)
