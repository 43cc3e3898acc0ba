"""Tasks: as many as asked for, in one split each, said in words that hold every limit."""

import collections

import pytest

from jaxrl.envs.travel import journeys, plans, sketches
from jaxrl.envs.travel import task as tasks

bare = lambda task: task._replace(query="", budget=0.0, limit=0)


@pytest.fixture(scope="module")
def splits():
    """Split -> twelve tasks of each kind."""
    draw = sketches.draw
    kinds = [(kind, i) for kind in tasks.KINDS for i in range(12)]
    return {split: [draw(0, split, *which) for which in kinds] for split in tasks.SIZES}


@pytest.fixture(scope="module")
def drawn(splits):
    """The tasks of all splits."""
    return [task for tasks in splits.values() for task in tasks]


def test_no_task_is_in_two_splits(splits, drawn):
    """Content decides, not words: the same wish in another wording must not cross over."""
    for split, own in splits.items():
        assert {tasks.split(task) for task in own} == {split}
        other = [t._replace(query="Other words", budget=1.0, limit=3) for t in own]
        assert {tasks.split(task) for task in other} == {split}
    assert len({bare(task) for task in drawn}) == len(drawn)


def test_splits_have_their_shares(drawn):
    first = drawn[0]
    counts = collections.Counter(tasks.split(first._replace(count=i)) for i in range(3000))
    assert all(abs(counts[s] / 3000 - share) < 0.03 for s, share in tasks.SHARES.items())


def test_a_task_is_a_function_of_its_number(drawn):
    """Whatever was drawn before it."""
    sketches.draw.cache_clear()
    again = [sketches.draw(0, t, kind, 5) for t in tasks.SIZES for kind in reversed(tasks.KINDS)]
    assert set(again) <= set(drawn)
    assert sketches.draw(1, "test", "search", 5) not in drawn


@pytest.mark.parametrize("kind", tasks.KINDS)
def test_the_words_say_what_the_program_checks(kind, drawn):
    for task in (t for t in drawn if t.kind == kind):
        for value in (task.city, task.origin, task.start, task.end, *task.places, task.category):
            assert value in task.query
        for number in (task.budget, task.price, task.rating, task.radius_km, task.limit):
            assert not number or f"{number:g}" in task.query
        for value in (task.time, task.after, task.by, "" if kind == "direction" else task.date):
            assert value in task.query
        assert "{" not in task.query and "  " not in task.query


def test_there_are_many_wordings(drawn):
    for kind in tasks.KINDS:
        openings = {t.query[:9] for t in drawn if t.kind == kind}
        assert len(openings) >= 4


def feasible(task):
    if task.kind == "search":
        return len(plans.search(task)) > task.count
    if task.kind == "compare":
        options, best = plans.compare(task)
        return len(options) == 3 and best.price <= task.budget
    if task.kind == "direction":
        return plans.in_order([p.name for p in plans.direction(task)], task.before)
    plan = plans.one_day(task) if task.kind == "one_day" else journeys.multi_day(task)
    return plan is not None and plan.cost <= task.budget


def test_every_task_can_be_done(drawn):
    assert all(map(feasible, drawn))
    assert any(t.before for t in drawn)
