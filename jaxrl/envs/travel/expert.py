"""The scripted expert: looks up what a task needs, then answers with the best plan that is found.

Its turns make SFT data, its answers are the references. Each call really runs; several go out in
one turn where none needs another's result, so that no task takes more than four turns.
"""

import functools
import itertools

from jaxrl.envs.travel import answers, calls, journeys, plans, routes
from jaxrl.envs.travel import task as tasks
from jaxrl.envs.travel import weather as forecasts
from jaxrl.envs.travel.answers import Answer
from jaxrl.messages import Message, ToolCall


@functools.lru_cache(maxsize=1024)
def solve(task):
    """The assistant's and the tools' messages from the query to the final answer, as a tuple."""
    rounds, answer = SCRIPTS[task.kind](task)
    messages = []
    for text, wanted in rounds:
        messages.append(Message("assistant", text, tuple(wanted)))
        messages += [Message("tool", calls.run(tasks.world(task), c), call_id=c.id) for c in wanted]
    return (*messages, Message("assistant", answers.write(answer)))


def answer(task):
    """The text of the expert's final answer."""
    return solve(task)[-1].content


def _direction(task):
    route = plans.direction(task)
    legs = routes.legs(task.mode, route)
    rounds = [
        ("First I look up where the places are.", [_look(task, p.name) for p in route]),
        ("This order is the shortest; I check the way.", [_way(task, route)]),
    ]
    names = tuple(p.name for p in route)
    minutes = sum(leg.minutes for leg in legs)
    return rounds, Answer(route=names, mode=task.mode, minutes=float(minutes))


def _search(task):
    near = {"near": f"{task.start}, {task.city}", "category": task.category}
    wanted = [ToolCall("around_search", near | {"radius_km": task.radius_km, "count": 20})]
    if task.prefer == "rated":  # a guide lists a category by rating
        wanted.append(
            ToolCall("web_search", {"query": f"{task.category} in {task.city}", "count": 1})
        )
    picks = tuple(p.name for p in plans.search(task)[: task.count])
    return [("I search around the place.", wanted)], Answer(picks=picks)


def _compare(task):
    ways = {"origin": task.origin, "destination": task.city}
    wanted = [ToolCall(f"{m}_search", ways | {"date": task.date}) for m in ("flight", "train")]
    wanted.append(ToolCall("navigation", ways | {"mode": "driving"}))
    options, best = plans.compare(task)
    listed = tuple(
        answers.Option(m, t.number, float(t.minutes), t.price) for m, t in options.items()
    )
    choice = answers.Ride("", best.mode, best.number)
    return [("I look at all three.", wanted)], Answer(options=listed, choice=choice)


def _one_day(task):
    plan = plans.one_day(task)
    first = [
        *(_look(task, name) for name in (task.start, *task.places)),
        ToolCall("weather", {"city": task.city, "date": task.date}),
    ]
    around = [_around(task, task.places[0], c) for c in (task.category, "restaurant")]
    start = tasks.named(task, (task.start,))
    rounds = [
        ("I look up the places and the weather.", first),
        ("Now what else there is nearby.", around),
        ("This order fits the opening hours; I check the way.", [_day(task, start, plan.visits)]),
    ]
    wet = forecasts.umbrella(tasks.world(task), tasks.city(task), tasks.date(task))
    return rounds, Answer(visits=_slots(plan), umbrella=wet, cost=plan.cost)


def _multi_day(task):
    plan = journeys.multi_day(task)
    there = {"origin": task.origin, "destination": task.city, "date": task.date}
    home = {"origin": task.city, "destination": task.origin, "date": tasks.last_day(task)}
    modes = [(f"{m}_search", way) for way in (there, home) for m in ("flight", "train")]
    hotels = {"city": task.city, "category": "hotel", "count": 20}
    first = [*(ToolCall(name, dict(way)) for name, way in modes), ToolCall("poi_search", hotels)]
    around = _around(task, plan.hotel.name, "restaurant")
    days = [list(g) for _, g in itertools.groupby(plan.visits, key=lambda v: v.day)]
    rounds = [
        ("I begin with the ways there and back, and hotels.", first),
        ("Now the sights, and meals.", [*(_look(task, n) for n in task.places), around]),
        ("I check the ways of each day.", [_day(task, (plan.hotel,), day) for day in days]),
    ]
    travels = tuple(answers.Ride(t.depart[:10], t.mode, t.number) for t in (plan.out, plan.back))
    stay = {"stay": plan.hotel.name, "travels": travels}
    return rounds, Answer(visits=_slots(plan), cost=plan.cost, **stay)


SCRIPTS = {
    "direction": _direction,
    "search": _search,
    "compare": _compare,
    "one_day": _one_day,
    "multi_day": _multi_day,
}


def _look(task, name):
    return ToolCall("poi_search", {"city": task.city, "query": name, "count": 1})


def _around(task, name, category):
    near = {"near": f"{name}, {task.city}", "category": category}
    return ToolCall("around_search", near | {"radius_km": 20.0, "count": plans.NEAR})


def _day(task, start, visits):
    return _way(task, (*start, *(v.place for v in visits)))


def _way(task, stops):
    first, *via, last = (f"{p.name}, {task.city}" for p in stops)
    ends = {"origin": first, "destination": last, "mode": task.mode}
    return ToolCall("navigation", ends | ({"via": via} if via else {}))


def _slots(plan):
    return tuple(answers.Slot(v.day, v.start, v.end, v.place.name) for v in plan.visits)
