"""Tasks drawn from a text key: each kind's choices, then the limits that its best plan allows.

draw(seed, "test", "one_day", 17)    always the same Task; its content lies in the split "test"
"""

import datetime
import functools
import math

from jaxrl.envs import draws
from jaxrl.envs.travel import geography, journeys, phrasing, places, plans, routes
from jaxrl.envs.travel import task as tasks
from jaxrl.envs.travel.task import Task

TRIES = 1000  # sketches of a task before giving up; on average some ten are drawn
FIRST_DAY = datetime.date(2027, 1, 4)
SIGHTS = ("museum", "gallery", "landmark", "temple", "park", "viewpoint", "market")
FAR = (150, 900)  # km between two cities of a journey
SLACK = (1.03, 1.25)  # of a budget or time limit over what the best plan needs


@functools.lru_cache(maxsize=8192)
def draw(seed, split, kind, number):
    """Task `number` of a kind in a split."""
    for attempt in range(TRIES):
        key = f"{seed}/{split}/{kind}/{number}/{attempt}"
        sketch = SKETCH[kind](key, seed)
        if sketch and tasks.split(sketch) == split and (task := FINISH[kind](key, sketch)):
            return task._replace(query=phrasing.query(key, task))
    raise RuntimeError(f"no feasible task for {key}; this is a defect of the sketches")


def _direction(key, seed):
    task = _in_a_city(key, "direction", seed)
    count = draws.integer(f"{key}/count", 3, 5)
    first, last, *between = (p.name for p in _sights(key, task, count + 2))
    pair = draws.sample(f"{key}/pair", between, 2)
    before = pair if draws.uniform(f"{key}/before", 0, 1) < 0.6 else ()
    mode = draws.pick(f"{key}/mode", tuple(routes.MODES))
    return task._replace(start=first, end=last, places=tuple(between), before=before, mode=mode)


def _limit_way(key, task):
    minutes = sum(leg.minutes for leg in routes.legs(task.mode, plans.direction(task)))
    return task._replace(limit=5 * math.ceil(minutes * _slack(key) / 5))


def _search(key, seed):
    task = _in_a_city(key, "search", seed)
    prefer = draws.pick(f"{key}/prefer", ("rated", "nearest", "cheapest"))
    category = draws.pick(f"{key}/category", ("museum", "landmark", "restaurant", "cafe", "hotel"))
    prices = places.CATEGORIES[category].prices
    (start,) = _sights(key, task, 1)
    return task._replace(
        start=start.name,
        category=category,
        count=draws.integer(f"{key}/count", 2, 3),
        radius_km=draws.integer(f"{key}/radius", 4, 12) / 2,
        rating=draws.integer(f"{key}/rating", 32, 40) / 10,
        price=float(round(draws.uniform(f"{key}/price", 0.4, 0.9) * prices[1])),
        time=places.clock(60 * draws.integer(f"{key}/time", 11, 16)),
        prefer=prefer,
    )


def _enough(key, task):
    """More than are asked for meet all conditions, so that the preference decides."""
    return task if len(plans.search(task)) > task.count else None


def _compare(key, seed):
    task = _between_cities(key, "compare", seed)
    return task and task._replace(
        prefer=draws.pick(f"{key}/prefer", ("cheapest", "fastest")),
        after=places.clock(30 * draws.integer(f"{key}/after", 12, 20)),
        by=places.clock(30 * draws.integer(f"{key}/by", 32, 44)),
    )


def _limit_trip(key, task):
    options, best = plans.compare(task)
    if len(options) < 3:
        return None
    spared = min(t.price for t in options.values())
    budget = best.price if task.prefer == "cheapest" else max(best.price * 0.9, spared)
    return _limited(key, task, budget)


def _one_day(key, seed):
    task = _in_a_city(key, "one_day", seed)
    task = task._replace(
        category=draws.pick(f"{key}/category", SIGHTS),
        rating=draws.integer(f"{key}/rating", 30, 38) / 10,
        mode=draws.pick(f"{key}/mode", ("transit", "driving", "cycling")),
        after=places.clock(30 * draws.integer(f"{key}/after", 17, 19)),
        by=places.clock(30 * draws.integer(f"{key}/by", 36, 40)),
    )
    hotels = places.of(tasks.world(task), tasks.city(task), "hotel")
    must = _sights(key, task, draws.integer(f"{key}/count", 2, 3))
    start = draws.pick(f"{key}/start", hotels)
    return task._replace(start=start.name, places=tuple(p.name for p in must))


def _limit_day(key, task):
    plan = plans.one_day(task)
    return plan and _limited(key, task, plan.cost)


def _multi_day(key, seed):
    task = _between_cities(key, "multi_day", seed)
    if task is None:
        return None
    days = draws.integer(f"{key}/days", 2, 3)
    must = _sights(key, task, journeys.A_DAY * days)
    return task._replace(
        days=days,
        places=tuple(p.name for p in must),
        mode=draws.pick(f"{key}/mode", ("transit", "driving", "cycling")),
        rating=draws.integer(f"{key}/rating", 30, 38) / 10,
        price=10.0 * draws.integer(f"{key}/price", 9, 20),
        by=places.clock(30 * draws.integer(f"{key}/by", 21, 24)),
        after=places.clock(30 * draws.integer(f"{key}/after", 34, 38)),
    )


def _limit_journey(key, task):
    plan = journeys.multi_day(task)
    return plan and _limited(key, task, plan.cost)


SKETCH = {
    "direction": _direction,
    "search": _search,
    "compare": _compare,
    "one_day": _one_day,
    "multi_day": _multi_day,
}
FINISH = {
    "direction": _limit_way,
    "search": _enough,
    "compare": _limit_trip,
    "one_day": _limit_day,
    "multi_day": _limit_journey,
}


def _in_a_city(key, kind, seed):
    towns = tuple(geography.cities().values())
    town = draws.pick(f"{key}/city", towns).name
    day = FIRST_DAY + datetime.timedelta(days=draws.integer(f"{key}/date", 0, 350))
    return Task(kind, seed, town, date=str(day))


def _between_cities(key, kind, seed):
    """From a drawn city to one a train may go to; None for a city that has none."""
    task = _in_a_city(key, kind, seed)
    home = geography.city("city", task.city)
    inside = lambda c: c.country in home.neighbours and FAR[0] <= geography.km(home, c) <= FAR[1]
    reached = [c for c in geography.cities().values() if inside(c) and home.country in c.neighbours]
    if not reached:
        return None
    return task._replace(origin=home.name, city=draws.pick(f"{key}/to", reached).name)


def _sights(key, task, count):
    listed = places.places(tasks.world(task), tasks.city(task)).values()
    rests = lambda p: task.kind != "multi_day" and p.closed == places.weekday(task.date)
    return draws.sample(
        f"{key}/sights", [p for p in listed if p.category in SIGHTS and not rests(p)], count
    )


def _limited(key, task, cost):
    return task._replace(budget=float(5 * math.ceil(cost * _slack(key) / 5)))


def _slack(key):
    return draws.uniform(f"{key}/slack", *SLACK)
