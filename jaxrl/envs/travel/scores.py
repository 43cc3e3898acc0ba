"""The parts of a utility that several kinds of tasks share, each in [0, 1] with its formula."""

import itertools

from jaxrl.envs.travel import calls, places, plans, routes
from jaxrl.envs.travel import task as tasks


def share(flags):
    """Σ flags / n; 0 of none: who states nothing has nothing right."""
    flags = list(flags)
    return sum(map(float, flags)) / len(flags) if flags else 0.0


def ratio(best, found):
    """best / found, at most 1; 1 where both are 0, since nothing is shorter or cheaper."""
    return min(1.0, best / found) if found > 0 else 1.0


def within_budget(cost, budget):
    """1 up to the budget b, then 1 − (c − b)/b, not below 0."""
    return max(0.0, min(1.0, 1 - (cost - budget) / budget))


def figure(stated, true):
    """Whether |stated − true| ≤ max(1, 5 % of true)."""
    return float(stated is not None and abs(stated - true) <= max(1.0, 0.05 * true))


def form(answer):
    """read / (read + malformed): the share of keyed lines that could be read."""
    return share([1] * answer.read + [0] * answer.malformed)


def place(task, name):
    """The Place of the task's city that a name means, with or without the city; or None."""
    known = places.places(tasks.world(task), tasks.city(task))
    bare = name.rpartition(",")[0]
    return known.get(places.fold(name)) or (known.get(places.fold(bare)) if bare else None)


def visits(task, answer):
    """(the plans.Visit of every VISIT whose place exists, by time; how many others there are)."""
    named = [(slot, place(task, slot.place)) for slot in answer.visits]
    found = [plans.Visit(s.day, s.start, s.end, p) for s, p in named if p]
    return sorted(found, key=lambda v: (v.day, v.start, v.end)), len(named) - len(found)


def feasible(task, found, start, dates, windows):
    """Which of the sorted visits can be made, as a list of bool.

    One can if its place is open throughout, it lasts as long as a visit takes, and one gets there
    in time from the visit before (the first of a day: from `start`, when the day begins).
    dates: day -> ISO date;  windows: day -> (first, last) minute.
    """
    flags, before = [], None
    for visit in found:
        same = before is not None and before.day == visit.day
        there = before.place if same else start
        ready = before.end if same else windows.get(visit.day, (0, 0))[0]
        on_time = ready + routes.leg(task.mode, there, visit.place).minutes <= visit.start
        long_enough = visit.end - visit.start >= visit.place.minutes
        date = dates.get(visit.day)
        opened = date and places.is_open(visit.place, date, visit.start, visit.end)
        flags.append(bool(on_time and long_enough and opened))
        before = visit
    return flags


def route(task, found, start, dates, windows):
    """Mean over days of (shortest way found through the day's places) / (way taken).

    The shortest is over feasible orders up to five places, over all orders beyond or if none is.
    """
    ratios = []
    for day, group in itertools.groupby(found, key=lambda v: v.day):
        stops = tuple(v.place for v in group)
        different = tuple(dict.fromkeys(stops))
        known = day in dates and len(different) <= 5
        single = tuple((p,) for p in different)
        best = known and plans.in_a_day(start, single, task.mode, dates[day], windows[day])
        free = lambda stops=different: routes.length((start, *routes.shortest((start,), stops)))
        ratios.append(ratio(best[0] if best else free(), routes.length((start, *stops))))
    return share(ratios)


def legs(start, found):
    """(from, to) names of each visit's way there. start: where every day begins."""
    before, pairs = None, []
    for visit in found:
        here = before.place if before and before.day == visit.day else start
        pairs.append((here.name, visit.place.name))
        before = visit
    return pairs


def grounded(made, names, mode, pairs):
    """Mean of two shares: names (of places, trips) that results showed; ways that were looked up.

    made: the calls with their results; pairs: (from, to) of the ways, of which there may be none.
    """
    seen, ways = calls.shown(made), calls.travelled(made)
    parts = [share(n in seen for n in names)]
    if pairs:
        parts.append(share((mode, a, b) in ways for a, b in pairs))
    return share(parts)


def trip(listed, ride):
    """The Trip that an Option or a Ride names, or None. listed: mode -> Trips."""
    found = listed.get(ride.mode, ()) if ride else ()
    return next((t for t in found if t.number == ride.number), None)


def meal(visit):
    """Whether a visit is to a restaurant."""
    return visit.place.category == plans.EATING


def lunch(visit):
    """Whether a visit begins at lunch time."""
    first, last = plans.LUNCH
    return first <= visit.start <= last
