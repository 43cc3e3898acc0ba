"""Our engine as a chat model: its replies are the engine's, its failures are told, never raised."""

import asyncio
import dataclasses
import json

import numpy as np
import pytest
from tiny_engine import CHAT, Scripted, make_chat, until

from jaxrl.chat import replay, templates
from jaxrl.messages import Message, Tool, ToolCall
from jaxrl.ops.distributions import Law
from jaxrl.rewards import comparisons, pairwise
from jaxrl.rewards.judge import Judge
from jaxrl.rewards.rubric import Half, Rubric
from jaxrl.rewards.transcript import Transcript, Turn
from jaxrl.sampling.driver import Driver
from jaxrl.sampling.engine import Request
from jaxrl.sampling.local import Local, LocalConfig

ASK = [[Message("user", text)] for text in ("Hi", "So?", "Hi")]


@pytest.fixture(scope="module")
def driver():
    with Driver(make_chat()) as driver:
        yield driver


def scripted(text):
    """A driver whose engine says this text."""
    return Driver(Scripted(lambda request: CHAT.encode(text)))


def test_replies_are_what_the_engine_draws_and_count(driver):
    """Equal conversations are drawn apart, and the same again by a model of the same seed."""
    c = LocalConfig(max_new=6, law=Law(0.9))
    model = Local(driver, CHAT, c)
    replies = asyncio.run(model(ASK))
    again = asyncio.run(Local(driver, CHAT, c)(ASK[::-1]))
    other = asyncio.run(Local(driver, CHAT, dataclasses.replace(c, seed=1))(ASK))
    assert not any(r.failure for r in replies)
    assert replies[0].text != replies[2].text and [r.text for r in replies] != [
        r.text for r in other
    ]
    assert {r.text for r in replies} == {r.text for r in again}
    prompt = templates.render(CHAT, ASK[0])
    assert replies[0].prompt_tokens == len(prompt) and 1 <= replies[0].new_tokens <= 6
    assert model.counts["requests"] == 3
    assert model.counts["new_tokens"] == sum(r.new_tokens for r in replies)
    greedy = Local(driver, CHAT, LocalConfig(max_new=6, law=Law(0.0)))
    (reply,) = asyncio.run(greedy(ASK[:1]))
    job = driver.submit(Request(tuple(prompt), 6, Law(0.0))).result()
    assert reply.text == CHAT.decode(job.tokens)


def test_calls_are_read_where_tools_are_given_and_stops_are_cut():
    said = 'Look. <tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call> <tool_call>{"'
    tool = Tool("f", "Does.", {"type": "object", "properties": {}})
    with scripted(said) as driver:
        ask = lambda **c: asyncio.run(Local(driver, CHAT, LocalConfig(**c))(ASK[:1]))[0]
        with_tools, without, stopped = ask(tools=(tool,)), ask(), ask(stop=("never", "k. "))
    assert with_tools.text == "Look." and with_tools.calls == (ToolCall("f", {"x": 1}),)
    assert len(with_tools.malformed) == 1 and not with_tools.failure
    assert without.text == said and without.calls == ()
    assert stopped.text == "Loo"


def test_what_befalls_a_conversation_is_told_in_its_reply(driver):
    long = [Message("user", "x" * 3000)]
    roles = [Message("prompt", "a"), Message("user", "b")]
    half = [Message("user", "\ud800")]
    model = Local(driver, CHAT, LocalConfig(max_new=3))
    replies = asyncio.run(model([long, ASK[0], roles, [], half]))
    assert [r.failure for r in replies] == ["refused", "", "refused", "refused", "refused"]
    assert "beyond the model's context of 2048" in replies[0].detail
    assert "cannot be mixed" in replies[2].detail
    assert model.counts["refused"] == 4


def test_an_engine_that_breaks_or_is_left_fails_the_replies():
    class Broken(Scripted):
        def step(self):
            raise MemoryError("no room on the device")

    with Driver(Broken()) as driver:
        replies = asyncio.run(Local(driver, CHAT, LocalConfig())(ASK))
    assert [(r.failure, r.detail) for r in replies] == [("error", "no room on the device")] * 3
    (reply,) = asyncio.run(Local(driver, CHAT, LocalConfig())(ASK[:1]))
    assert reply.failure == "error" and "not open" in reply.detail


def test_a_cancelled_call_ends_its_requests():
    engine = Scripted(steps=0)

    async def run():
        task = asyncio.ensure_future(Local(driver, CHAT, LocalConfig())(ASK))
        await asyncio.to_thread(until, lambda: len(engine.jobs) == 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Driver(engine) as driver:
        asyncio.run(run())
        engine.allowed.release(100)
        until(lambda: len(engine.cancelled) == 3)


def test_its_replies_can_be_recorded_and_replayed(driver, tmp_path):
    model = Local(driver, CHAT, LocalConfig(max_new=4, name="tiny"))
    recorded = replay.Recording(tmp_path / "replies.jsonl", model.about, model)
    first = asyncio.run(recorded(ASK))
    recorded.close()
    offline = replay.Recording(tmp_path / "replies.jsonl", model.about)
    assert asyncio.run(offline(ASK)) == first
    other = Local(driver, CHAT, LocalConfig(max_new=5, name="tiny"))
    offline = replay.Recording(tmp_path / "replies.jsonl", other.about)
    assert all(r.failure for r in asyncio.run(offline(ASK)))


def test_a_judge_that_babbles_gives_neutral_verdicts_and_counts_them(driver):
    rubric = Rubric("walks", Half(0.0), Half(1.0, (("Fit", "Does it fit?"),)))
    of = lambda answer: Transcript("Where to?", (Turn("I look.", ()),), answer)
    matches = [(of("Left."), of("Right.")), (of("Up."), of("Down."))]
    model = Local(driver, CHAT, LocalConfig(max_new=5))
    got = asyncio.run(pairwise.compare(Judge(model, rubric, tries=2), matches))
    np.testing.assert_array_equal(got.scores, 10)
    assert got.counts["calls"] == 8 and got.counts["ties"] == 2
    assert sum(v for k, v in got.counts.items() if k.startswith("neutral/")) == 4
    assert comparisons.metrics(got.counts)["judge/neutral"] == 4
    assert json.dumps(got.counts)
