"""Tasks: the same for the same key, no topic in two splits, several documents needed."""

import collections

import pytest
import tiny_corpus

from jaxrl.envs.research import phrasing, topics
from jaxrl.envs.research import task as tasks

MANY = 120


@pytest.fixture(scope="module")
def drawn(names):
    """Tasks of every split."""
    draw = lambda split: [tiny_corpus.task(names, split, i) for i in range(MANY)]
    return {split: draw(split) for split in tasks.SIZES}


def test_no_topic_is_in_two_splits(drawn, world):
    of = {split: {t.topic for t in listed} for split, listed in drawn.items()}
    assert sum(map(len, of.values())) == len(set.union(*of.values())) == len(list(world.topics()))
    for split, ids in of.items():
        assert {tasks.split(world.document(id).title) for id in ids} == {split}


def test_a_topic_comes_again_only_after_all_others(drawn):
    for listed in drawn.values():
        by_kind = collections.defaultdict(list)
        for task in listed:
            by_kind[task.kind].append(task.topic)
        number = len({t.topic for t in listed})
        assert len({t.topic for t in listed[:number]}) == number
        assert len(by_kind) == 3 and len({t.query for t in listed}) > 0.95 * MANY


def test_the_query_says_all_that_is_asked(drawn, world):
    for task in drawn["rl"]:
        named = [f'"{world.document(id).title}"' for id in (task.topic, *task.subjects)]
        assert all(name in task.query for name in named) and "{" not in task.query
        assert str(task.low) in task.query and str(task.high) in task.query
        assert set(task.subjects) <= set(world.document(task.topic).related)
        assert len(task.subjects) in (0, task.count) and task.count >= 1
        assert bool(task.subjects) != (task.kind == "ideation")
        assert task.subjects or str(task.count) in task.query


def test_wordings_are_many_and_all_occur(drawn):
    for kind, wishes in phrasing.WISHES.items():
        asked = [t for listed in drawn.values() for t in listed if t.kind == kind]
        for wish in wishes:
            before, after = wish.split("{topic}")
            assert any(before in t.query and after in t.query for t in asked)


def test_a_seed_changes_the_tasks_and_not_the_splits(names, drawn):
    other = [tiny_corpus.task(names, "test", i, 1) for i in range(MANY)]
    assert other != drawn["test"]
    assert {t.topic for t in other} == {t.topic for t in drawn["test"]}


def test_technical_writing_is_about_documentation_where_there_is_some(monkeypatch, world):
    listed = [(i, t, "sqlite" if i % 4 else "hotpotqa") for i, t, _ in world.topics()]
    fake = type("Corpus", (), {"topics": lambda _: iter(listed)})()
    monkeypatch.setattr(topics.corpus, "open_corpus", lambda _: fake)
    topics.pool.cache_clear()
    found = topics.pool("x", "sft", "technical_writing")
    assert found and all(id % 4 for id in found)
    assert set(found) < set(topics.pool("x", "sft", "ideation"))
    topics.pool.cache_clear()
