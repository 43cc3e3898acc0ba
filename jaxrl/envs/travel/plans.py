"""The best that is found for a task: what its expert answers, and what its budget is drawn from.

Each plan is exact over the choices it lists; None says that there is no feasible one.
"""

import functools
import itertools
from typing import NamedTuple

from jaxrl.envs.travel import geography, places, routes, trips
from jaxrl.envs.travel import task as tasks
from jaxrl.tools import ToolError

LUNCH = (11 * 60 + 30, 14 * 60 + 30)  # a meal begins between these
EATING = "restaurant"
NEAR = 6  # rows an around_search is asked for


class Visit(NamedTuple):
    """A place, and when one is there."""

    day: int  # 1 is the first
    start: int  # minutes after midnight
    end: int
    place: places.Place


class Plan(NamedTuple):
    """A whole journey."""

    visits: tuple[Visit, ...]
    cost: float  # USD
    hotel: places.Place | None = None
    out: trips.Trip | None = None
    back: trips.Trip | None = None


def direction(task):
    """The shortest allowed order of the places between start and end, both included."""
    first, last, *between = tasks.named(task, (task.start, task.end, *task.places))
    rule = lambda order: in_order([p.name for p in order], task.before)
    return (first, *routes.shortest((first,), between, (last,), rule), last)


def in_order(names, pair):
    """Whether both of the pair (or no pair) are among the names, the first one earlier."""
    return not pair or (set(pair) <= set(names) and names.index(pair[0]) < names.index(pair[1]))


def conditions(task, place):
    """search: condition -> whether a place meets it."""
    (centre,) = tasks.named(task, (task.start,))
    at = places.minutes(task.time)
    return {
        "category": place.category == task.category,
        "radius": geography.km(centre, place) <= task.radius_km,
        "rating": place.rating >= task.rating,
        "price": place.price <= task.price,
        "open": places.is_open(place, task.date, at, at),
    }


def preferred(task, place):
    """search: the smaller, the better."""
    (centre,) = tasks.named(task, (task.start,))
    far = round(geography.km(centre, place), 2)
    return {"rated": -place.rating, "nearest": far, "cheapest": place.price}[task.prefer]


@functools.lru_cache(maxsize=1024)
def search(task):
    """All places that meet every condition, the preferred first."""
    listed = places.places(tasks.world(task), tasks.city(task)).values()
    found = [p for p in listed if p.name != task.start and all(conditions(task, p).values())]
    return tuple(sorted(found, key=lambda p: (preferred(task, p), p.name)))


@functools.lru_cache(maxsize=1024)
def departures(task, back=False):
    """Mode -> its Trips of the day, for the modes there are; the drive leaves at task.after."""
    a, b = geography.city("origin", task.origin), tasks.city(task)
    date = tasks.last_day(task) if back else task.date
    a, b = (b, a) if back else (a, b)
    found = {}
    for mode, timetable in (("flight", trips.flights), ("train", trips.trains)):
        try:
            found[mode] = timetable(tasks.world(task), a, b, date)
        except ToolError:
            continue  # no such connection
    if task.kind == "compare":
        found["driving"] = (trips.drive(a, b, f"{task.date} {task.after}"),)
    return found


def in_time(task, trip):
    """compare: condition -> whether a trip meets it."""
    return {
        "after": trip.depart >= f"{task.date} {task.after}",
        "by": trip.arrive <= f"{task.date} {task.by}",
        "budget": not task.budget or trip.price <= task.budget,
    }


def worth(task, trip):
    """compare: the smaller, the better."""
    return trip.price if task.prefer == "cheapest" else trip.minutes


def compare(task):
    """(mode -> its best trip in time, the best of all within the budget or None)."""
    options, best = {}, None
    for mode, listed in departures(task).items():
        met = [(worth(task, t), t, in_time(task, t)) for t in listed]
        timely = [(w, t) for w, t, ok in met if ok["after"] and ok["by"]]
        allowed = [(w, t) for w, t, ok in met if all(ok.values())]
        if timely:
            options[mode] = min(timely)[1]
        if allowed:
            best = min(filter(None, (best, min(allowed))))
    return options, best and best[1]


def schedule(start, stops, mode, date, window, day=1):
    """The earliest Visits of the stops in this order, or None where one of them comes too late."""
    now, here, visits = window[0], start, []
    for stop in stops:
        arrive = now + routes.leg(mode, here, stop).minutes
        begin = max(arrive, stop.opens, LUNCH[0] if stop.category == EATING else 0)
        now, here = begin + stop.minutes, stop
        late = stop.category == EATING and begin > LUNCH[1]
        if late or now > window[1] or not places.is_open(stop, date, begin, now):
            return None
        visits.append(Visit(day, begin, now, stop))
    return visits


def in_a_day(start, groups, mode, date, window, day=1):
    """The shortest feasible day with one place of each group (a tuple of tuples), or None."""
    best = None
    for chosen in itertools.product(*groups):
        for order in itertools.permutations(chosen):
            length = routes.length((start, *order))
            if best is None or length < best[0]:
                visits = schedule(start, order, mode, date, window, day)
                best = (length, visits) if visits else best
    return best


def one_day(task):
    """The shortest day from the start: all places, one of the category, and a lunch."""
    (start,), must = tasks.named(task, (task.start,)), tasks.named(task, task.places)
    extra = [p for p in near(task, task.category, must[0]) if p not in must][:2]
    groups = (*((p,) for p in must), tuple(extra), tuple(lunches(task, must[0], 3)))
    window = places.minutes(task.after), places.minutes(task.by)
    found = in_a_day(start, groups, task.mode, task.date, window)
    return found and Plan(tuple(found[1]), cost(task, found[1], start))


def lunches(task, around, count):
    """The nearest `count` restaurants that serve on every day and are rated well enough."""
    serve = lambda p: p.rating >= task.rating and not p.closed
    return [p for p in near(task, EATING, around) if serve(p)][:count]


def near(task, category, around):
    """Of the category's NEAR places nearest to one place: those open on the first day, in order."""
    found = [p for p in places.of(tasks.world(task), tasks.city(task), category) if p != around]
    found = sorted(found, key=lambda p: geography.km(around, p))[:NEAR]
    return [p for p in found if p.closed != places.weekday(task.date)]


def cost(task, visits, start):
    """Tickets, meals, and fares between the stops of each day."""
    total = sum(v.place.price for v in visits)
    for _, day in itertools.groupby(visits, key=lambda v: v.day):
        total += sum(leg.cost for leg in routes.legs(task.mode, (start, *(v.place for v in day))))
    return round(total, 2)
