"""The expert's turns are real calls, few, and enough to answer from."""

import pytest

from jaxrl.envs.travel import answers, calls, expert, sketches
from jaxrl.envs.travel import task as tasks

DRAWN = [(kind, i) for kind in tasks.KINDS for i in range(4)]


@pytest.mark.parametrize("kind, number", DRAWN)
def test_every_result_is_what_the_tool_returns(kind, number):
    task = sketches.draw(0, "rl", kind, number)
    messages = expert.solve(task)
    wanted = [call for m in messages for call in m.calls]
    results = [m.content for m in messages if m.role == "tool"]
    assert results == [calls.run(tasks.world(task), call) for call in wanted]
    assert not any(text.startswith("error: ") for text in results)
    assert messages[-1].role == "assistant" and not messages[-1].calls
    assert sum(m.role == "assistant" for m in messages) <= 5


@pytest.mark.parametrize("kind, number", DRAWN)
def test_the_answer_names_nothing_that_no_result_showed(kind, number):
    messages = expert.solve(sketches.draw(0, "rl", kind, number))
    shown = "\n".join(m.content for m in messages if m.role == "tool")
    found = answers.parse(messages[-1].content)
    named = {*found.route, *found.picks, *(v.place for v in found.visits)}
    named |= {t.number for t in (*found.travels, *found.options)} - {"-"}
    assert named and all(name in shown for name in named) and found.malformed == 0
