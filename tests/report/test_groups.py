"""Which groups the report shows, and that a player is the same in its bracket and its episode."""

from jaxrl.report import groups


def row(step, task, n):
    return {"step": step, "task": task, "n": n}


def tournament(step, task, players=2):
    return {"step": step, "task": task, "players": [{}] * players}


def rows(steps):
    return [row(step, task, n) for step in steps for task in (5, 6) for n in (0, 1)]


def test_of_a_long_run_the_first_the_middle_and_the_last_update():
    found = groups.chosen([tournament(s, 6) for s in range(9)], rows(range(9)))
    assert [played["step"] for played, _ in found] == [0, 4, 8]
    for played, members in found:
        assert [(r["step"], r["task"], r["n"]) for r in members] == [
            (played["step"], 6, 0),
            (played["step"], 6, 1),
        ]


def test_a_short_run_shows_each_update_once():
    for n in (1, 2, 3):
        found = groups.chosen([tournament(s, 5) for s in range(n)], [])
        assert [played["step"] for played, _ in found] == list(range(n))
        assert all(members == [] for _, members in found)
    assert groups.chosen([], []) == []


def test_without_a_tournament_the_first_group_of_an_update():
    ((played, members),) = groups.chosen([], rows([3]))
    assert played is None and [(r["task"], r["n"]) for r in members] == [(5, 0), (5, 1)]


def test_a_task_drawn_twice_in_an_update_does_not_join_two_groups():
    twice = [row(0, 5, n) for n in range(4)]
    ((_, members),) = groups.chosen([tournament(0, 5)], twice)
    assert [r["n"] for r in members] == [0, 1]
