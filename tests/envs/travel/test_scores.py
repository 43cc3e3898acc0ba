"""The parts that several kinds share, against what their formulas say by hand."""

import json

import pytest

from jaxrl.envs.travel import geography, places, plans, routes, scores
from jaxrl.envs.travel.answers import Answer
from jaxrl.envs.travel.plans import Visit
from jaxrl.envs.travel.task import Task
from jaxrl.messages import ToolCall

TASK = Task("one_day", 0, "Lyon", date="2027-05-10", mode="transit")  # a Monday
LYON = geography.city("city", "Lyon")
SPOTS = [
    p
    for p in places.places(places.World(0), LYON).values()
    if p.category in ("museum", "temple", "park") and p.closed != "Monday"
]
DATES, DAY = {1: "2027-05-10", 2: "2027-05-11"}, {1: (540, 1200), 2: (540, 1200)}


def test_formulas():
    assert scores.share([True, False, 0.5, 0.5]) == 0.5 and scores.share([]) == 0
    assert scores.ratio(3, 4) == 0.75 and scores.ratio(4, 3) == 1 and scores.ratio(0, 0) == 1
    assert [scores.within_budget(c, 100) for c in (0, 100, 130, 250)] == pytest.approx(
        [1, 1, 0.7, 0]
    )
    assert [scores.figure(x, 100.0) for x in (None, 95, 105, 94.9, 105.1)] == [0, 1, 1, 0, 0]
    assert scores.figure(3.0, 4.0) == 1 and scores.figure(2.9, 4.0) == 0
    assert scores.form(Answer(read=3, malformed=1)) == 0.75 and scores.form(Answer()) == 0


def by_hand(visits, start):
    """Each visit on its own terms, from the rows of the places and the table of ways."""
    flags, here, ready = [], start, 540
    for v in visits:
        arrive = ready + routes.leg("transit", here, v.place).minutes
        weekday = {1: "Monday", 2: "Tuesday"}[v.day]
        flags.append(
            v.start >= arrive
            and v.place.opens <= v.start
            and v.end <= v.place.closes
            and v.place.closed != weekday
            and v.end - v.start >= v.place.minutes
        )
        here, ready = v.place, v.end
    return flags


def test_feasibility_to_the_minute():
    """The earliest schedule is feasible; one minute less anywhere is not."""
    earliest = plans.schedule(LYON, SPOTS[:3], "transit", TASK.date, DAY[1])
    check = lambda visits: scores.feasible(TASK, visits, LYON, DATES, DAY)
    assert check(earliest) == by_hand(earliest, LYON) == [True] * 3
    for i, visit in enumerate(earliest):
        sooner = [*earliest[:i], visit._replace(start=visit.start - 1), *earliest[i + 1 :]]
        shorter = [*earliest[:i], visit._replace(end=visit.end - 1), *earliest[i + 1 :]]
        assert check(sooner) == by_hand(sooner, LYON) and not check(sooner)[i]
        assert check(shorter) == by_hand(shorter, LYON) and not check(shorter)[i]


def test_what_is_closed_cannot_be_visited():
    shut = next(p for p in places.of(places.World(0), LYON, "restaurant") if p.closed == "Monday")
    check = lambda day: scores.feasible(TASK, [Visit(day, 800, 900, shut)], LYON, DATES, DAY)
    assert [check(1), check(2), check(3)] == [[False], [True], [False]]
    late = Visit(1, SPOTS[0].closes - 30, SPOTS[0].closes + 90, SPOTS[0])
    assert scores.feasible(TASK, [late], LYON, DATES, DAY) == [False]


def test_a_detour_costs_what_it_is_long():
    order = plans.in_a_day(LYON, tuple((p,) for p in SPOTS[:4]), "transit", TASK.date, DAY[1])[1]
    assert scores.route(TASK, order, LYON, DATES, DAY) == 1
    back = [order[0], order[3], order[1], order[2]]
    ways = [routes.length((LYON, *(v.place for v in visits))) for visits in (order, back)]
    moved = [v._replace(start=600 + 100 * i, end=690 + 100 * i) for i, v in enumerate(back)]
    assert scores.route(TASK, moved, LYON, DATES, DAY) == pytest.approx(min(1, ways[0] / ways[1]))
    assert ways[1] > 1.05 * ways[0]


def test_days_count_alike_and_six_places_are_ordered_freely():
    day = plans.in_a_day(LYON, tuple((p,) for p in SPOTS[:3]), "transit", TASK.date, DAY[1])[1]
    second = [v._replace(day=2) for v in day]
    assert scores.route(TASK, [*day, *second], LYON, DATES, DAY) == 1
    many = [Visit(1, 600 + 10 * i, 605 + 10 * i, p) for i, p in enumerate(SPOTS[:6])]
    best = routes.length((LYON, *routes.shortest((LYON,), tuple(SPOTS[:6]))))
    assert scores.route(TASK, many, LYON, DATES, DAY) == pytest.approx(
        best / routes.length((LYON, *SPOTS[:6]))
    )


def test_what_no_result_showed_is_not_grounded():
    leg = {"from": "A", "to": "B", "km": 1.0, "minutes": 5, "cost": 0.0}
    way = json.dumps({"mode": "walking", "legs": [leg]})
    made = (
        (ToolCall("poi_search", {}), '[{"name": "A"}, {"name": "B"}]'),
        (ToolCall("navigation", {}), way),
        (ToolCall("poi_search", {}), 'error: "name": "D"'),
    )
    rate = lambda names, pairs, mode="walking": scores.grounded(made, names, mode, pairs)
    assert rate(["A", "B"], [("A", "B")]) == 1
    assert rate(["A", "C", "D", "B"], []) == 0.5
    assert rate(["A"], [("A", "B"), ("B", "A")]) == 0.75
    assert rate(["A"], [("A", "B")], "cycling") == 0.5
    assert rate([], []) == 0


def test_names_are_read_with_or_without_the_city():
    name = SPOTS[0].name
    assert [scores.place(TASK, n) for n in (name, f"{name}, Lyon", name.lower())] == [SPOTS[0]] * 3
    assert scores.place(TASK, "Nowhere Hall") is None and scores.place(TASK, ", Lyon") is None
