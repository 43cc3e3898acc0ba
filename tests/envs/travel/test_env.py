"""The env: a state is a value, calls are recorded, the answer ends the task."""

import pickle

import pytest

from jaxrl.envs import table
from jaxrl.envs.travel import calls, expert, tools
from jaxrl.envs.travel import task as tasks
from jaxrl.messages import ToolCall

ENV = table.build("open_travel", {"split": "test", "size": 10})
FORECAST = ToolCall("weather", {"city": "Rome", "date": "2027-05-14"})


def test_kinds_come_in_turn_and_sft_has_no_multi_day():
    assert [ENV.reset(i)[0].task.kind for i in range(5)] == list(tasks.KINDS)
    sft = table.build("open_travel", {"split": "sft"})
    kinds = {sft.reset(i)[0].task.kind for i in range(20)}
    assert kinds == set(tasks.KINDS) - {"multi_day"}
    sizes = {s: len(table.build("open_travel", {"split": s})) for s in tasks.SIZES}
    assert sizes == {"sft": 2600, "rl": 1626, "test": 250}


def test_a_task_begins_with_the_rules_and_the_query():
    state, (system, user) = ENV.reset(3)
    assert (system.role, user.role) == ("system", "user") and user.content == state.task.query
    assert "VISIT: day | HH:MM-HH:MM | place" in system.content and ENV.stop == ()
    assert ENV.tools == tools.TOOLS


def test_using_a_tool_leaves_the_state_as_it_was_and_records_the_call():
    state, _ = ENV.reset(0)
    after, text = ENV.use(state, FORECAST)
    assert state.calls == () and after.calls == ((FORECAST, text),)
    assert text.startswith('{"city": "Rome"') and after.task == state.task
    again, error = ENV.use(after, FORECAST._replace(name="wether"))
    assert error.startswith("error: ") and len(again.calls) == 2
    assert ENV.use(state, FORECAST)[1] == text
    assert pickle.loads(pickle.dumps(again)) == again


@pytest.mark.parametrize("index", range(5))
def test_the_expert_through_the_env_gets_all_and_its_answer_alone_less(index):
    state, _ = ENV.reset(index)
    alone = ENV.step(state, ENV.answer(state))
    for message in expert.solve(state.task):
        for call in message.calls:
            state, _ = ENV.use(state, call)
    step = ENV.step(state, ENV.answer(state))
    assert step.done and step.messages == () and step.reward == pytest.approx(1)
    assert step.info["grounded"] == 1 and step.info["calls"] == len(state.calls) > 0
    assert alone.info["grounded"] == 0 and 0 < alone.reward < 0.9


def test_an_empty_or_senseless_answer_gets_nothing():
    for index in range(5):
        state, _ = ENV.reset(index)
        for text in ("", "I do not know.", "COST: much\nPICK:\n", "ROUTE: x > y\nSTAY: z"):
            assert ENV.step(state, text).reward == 0
    assert ENV.step(state, "COST: much\nPICK:\n").info["malformed"] == 2


def test_bad_settings_are_refused():
    with pytest.raises(KeyError, match="split = 'train' is not known"):
        table.build("open_travel", {"split": "train"})
    with pytest.raises(ValueError, match="size = -1 must be positive"):
        table.build("open_travel", {"size": -1})
    with pytest.raises(IndexError, match="task 10 of 10"):
        ENV.reset(10)


def test_only_some_types_and_none_that_a_split_has_not():
    env = table.build("open_travel", {"split": "rl", "only": ("compare", "search")})
    assert [env.reset(i)[0].task.kind for i in range(4)] == ["search", "compare"] * 2
    with pytest.raises(ValueError, match=r"only = \('multi_day',\) leaves no task in split 'sft'"):
        table.build("open_travel", {"split": "sft", "only": ("multi_day",)})
    with pytest.raises(KeyError, match="only = 'serch' is not known; did you mean 'search'"):
        table.build("open_travel", {"only": ("serch",)})


@pytest.mark.parametrize("kind", tasks.KINDS)
def test_in_brief_the_same_is_said_in_fewer_words(kind):
    """The record keeps what tools returned, so that the utility is the same."""
    env = table.build("open_travel", {"split": "test", "only": (kind,), "brief": True})
    whole = table.build("open_travel", {"split": "test", "only": (kind,)})
    state, asked = env.reset(0)
    assert asked == whole.reset(0)[1][1:]
    said, long = env.solve(state), whole.solve(state)
    assert sum(len(m.content) for m in said) < 0.8 * sum(len(m.content) for m in long)
    for m, other in zip(said, long, strict=True):
        assert m.calls == other.calls and (m.role == "tool" or m.content == other.content)
        for call in m.calls:
            state, shown = env.use(state, call)
            assert state.calls[-1][1] == whole.use(whole.reset(0)[0], call)[1]
            assert shown in [x.content for x in said]
    assert env.step(state, said[-1].content).reward == pytest.approx(1, abs=0.02)


def test_a_table_names_its_columns_once():
    rows = '[{"name": "A", "lat": 1, "open": "09:00"}, {"name": "B", "lon": 2, "rating": 4.5}]'
    assert calls.terse(rows) == "name | open | rating\nname: A | 09:00 | -\nname: B | - | 4.5"
    assert calls.terse('{"km": 2, "legs": [{"from": "A"}]}') == "km 2\nfrom\nfrom: A"
    rows = '[{"name": "A", "open": "09:00-18:00", "kind": "cafe", "km": 2.0}, '
    rows += '{"name": "B", "open": "11:00-22:00", "kind": "cafe", "km": 0.35}]'
    assert (
        calls.terse(rows)
        == "kind cafe\nname | open | km\nname: A | 9-18 | 2\nname: B | 11-22 | 0.35"
    )
    assert calls.terse('[{"a": 1, "b": 2}, {"a": 1, "b": 2}]') == "b 2\na\na: 1\na: 1"
    assert calls.terse("error: no such place") == "error: no such place"
    assert calls.terse("[]") == "nothing"
