"""The env: a state is a value, calls are recorded, the answer ends the task."""

import pickle

import pytest
import tiny_corpus

from jaxrl.envs import table
from jaxrl.envs.research import expert, sources, tools
from jaxrl.envs.research import task as tasks
from jaxrl.messages import ToolCall


@pytest.fixture(scope="module")
def env(names):
    return table.build("open_deepresearch", {"split": "test", "size": 9, "corpus": names})


def test_kinds_come_in_turn_and_sizes_are_the_papers(env, names):
    assert [env.reset(i)[0].task.kind for i in range(3)] == list(tasks.KINDS) == list(env.kinds)
    build = lambda split: table.build("open_deepresearch", {"split": split, "corpus": names})
    assert {s: len(build(s)) for s in tasks.SIZES} == {"sft": 2662, "rl": 2216, "test": 100}


def test_a_task_begins_with_the_rules_and_the_query(env):
    state, (system, user) = env.reset(2)
    assert (system.role, user.role) == ("system", "user") and user.content == state.task.query
    assert "# Title that names the topic" in system.content and "[d17, d4]" in system.content
    assert env.tools == tools.TOOLS and env.stop == ()


def test_using_a_tool_leaves_the_state_as_it_was_and_records_the_call(env):
    state, _ = env.reset(0)
    call = ToolCall("search", {"query": tiny_corpus.title(5)})
    after, text = env.use(state, call)
    assert state.calls == () and after.calls == ((call, text),) and after.task == state.task
    again, error = env.use(after, call._replace(name="serch"))
    assert error.startswith("error: ") and len(again.calls) == 2
    assert env.use(state, call)[1] == text and pickle.loads(pickle.dumps(again)) == again


@pytest.mark.parametrize("index", range(3))
def test_the_expert_through_the_env_gets_more_than_its_answer_alone(env, index):
    state, _ = env.reset(index)
    alone = env.step(state, env.answer(state))
    for message in env.solve(state):
        for call in message.calls:
            state, _ = env.use(state, call)
    step = env.step(state, env.answer(state))
    assert step.done and step.messages == () and step.reward > 0.9
    assert (
        step.info["valid"] == 1
        and step.info["calls"] == len(state.calls) == 2 + 2 * state.task.count
    )
    assert alone.info["valid"] == 0 and alone.reward < 0.7


def test_kinds_and_rules_may_be_left_out(names):
    params = {"corpus": names, "only": ("ideation",), "brief": True, "size": 9}
    few = table.build("open_deepresearch", params)
    drawn = [few.reset(i) for i in range(9)]
    assert few.kinds == ("ideation",) and {s.task.kind for s, _ in drawn} == {"ideation"}
    assert len({s.task.topic for s, _ in drawn}) == 9
    assert all([m.role for m in prompt] == ["user"] for _, prompt in drawn)
    with pytest.raises(KeyError, match="only = 'idea' is not known; did you mean 'ideation'"):
        table.build("open_deepresearch", {"corpus": names, "only": ("idea",)})


def test_bad_settings_are_refused(names, monkeypatch):
    with pytest.raises(KeyError, match="split = 'train' is not known"):
        table.build("open_deepresearch", {"split": "train", "corpus": names})
    with pytest.raises(ValueError, match="size = -1 must be positive"):
        table.build("open_deepresearch", {"size": -1, "corpus": names})
    with pytest.raises(IndexError, match="task 9 of 9"):
        table.build("open_deepresearch", {"size": 9, "corpus": names}).reset(9)
    monkeypatch.setitem(sources.SOURCES, "sqlite", sources.SOURCES["sqlite"]._replace(files=list))
    with pytest.raises(FileNotFoundError, match="apt-get install sqlite3-doc"):
        table.build("open_deepresearch", {"corpus": f"{names}+sqlite"})
    assert isinstance(hash(table.build("open_deepresearch", {"corpus": names})), int)


def test_a_corpus_with_too_few_documents_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXRL_CACHE", str(tmp_path))
    (tmp_path / "few.jsonl").write_text('{"title": "Lonely", "text": "%s"}' % ("word " * 90))
    env = table.build("open_deepresearch", {"corpus": str(tmp_path / "few.jsonl")})
    with pytest.raises(ValueError, match="no topic for split 'rl'"):
        env.reset(0)


@pytest.mark.skipif(not sources.SOURCES["hotpotqa"].files(), reason="corpus not installed")
@pytest.mark.slow
def test_the_real_corpus(tmp_path, monkeypatch):
    """The default: enough topics for the paper's sizes, and the expert can do the first tasks."""
    monkeypatch.setenv("JAXRL_CACHE", str(tmp_path))
    env = table.build("open_deepresearch", {"split": "test"})
    for index in range(6):
        state, _ = env.reset(index)
        for message in expert.solve(state.task):
            for call in message.calls:
                state, _ = env.use(state, call)
        assert env.step(state, env.answer(state)).reward > 0.8
    from jaxrl.envs.research import topics

    assert len(topics.pool("hotpotqa", "sft", "ideation")) > tasks.SIZES["sft"]
    assert len(topics.pool("hotpotqa", "rl", "ideation")) > tasks.SIZES["rl"]
