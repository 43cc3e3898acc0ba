"""Ways between places: kilometres, minutes and fares of four modes, and short orders of a visit."""

import functools
import itertools
from typing import NamedTuple

from jaxrl.envs.travel import geography
from jaxrl.tools import ToolError

EXACT = 7  # places up to which all orders are tried


class Mode(NamedTuple):
    """How one gets about."""

    detour: float  # way over great circle
    speed: float  # km/h
    wait: float  # minutes before each leg
    fare: float  # USD a leg
    per_km: float  # USD
    limit: float  # km, the longest leg; beyond, another mode is named


MODES = {
    "walking": Mode(1.25, 4.8, 0, 0, 0, 40),
    "cycling": Mode(1.25, 14, 2, 0, 0, 100),
    "transit": Mode(1.35, 20, 8, 2, 0.1, 80),
    "driving": Mode(1.3, 28, 5, 1, 0.25, 3000),
}
TOWN = 30  # km: what a drive has beyond them is on motorways
MOTORWAY = 95  # km/h


class Leg(NamedTuple):
    """From one place to the next."""

    km: float
    minutes: int
    cost: float  # USD


@functools.lru_cache(maxsize=65536)
def leg(mode, a, b):
    """The Leg from a to b (anything with name, lat, lon), or a ToolError where it is too long.

    km = detour · d(a, b);  minutes = wait + 60 km / speed;  cost = fare + per_km · km
    """
    m = MODES[mode]
    km = m.detour * geography.km(a, b)
    if km > m.limit:
        fix = (
            f"it goes at most {m.limit:g} km a leg, and {a.name} to {b.name} is {km:.0f} km; use "
            "driving, train_search or flight_search"
        )
        raise ToolError("mode", mode, fix)
    fast = max(0.0, km - TOWN) if mode == "driving" else 0.0
    minutes = m.wait + 60 * ((km - fast) / m.speed + fast / MOTORWAY)
    return Leg(round(km, 2), max(1, round(minutes)), round(m.fare + m.per_km * km, 2))


def legs(mode, stops):
    """The Legs between stops that follow each other."""
    return [leg(mode, a, b) for a, b in itertools.pairwise(stops)]


def length(stops):
    """Great-circle km along the stops."""
    return sum(geography.km(a, b) for a, b in itertools.pairwise(stops))


def shortest(start, between, end=(), rule=lambda order: True):
    """The shortest order of `between` after start (a tuple of 0 or 1) and before end, by length.

    Exact for up to EXACT places, all orders being tried; beyond, the nearest next and then 2-opt.
    rule: which orders count; where none does, and beyond EXACT, it is not asked.
    """
    full = lambda order: (*start, *order, *end)
    if len(between) <= EXACT:
        orders = list(itertools.permutations(between))
        allowed = [o for o in orders if rule(o)] or orders
        return min(allowed, key=lambda o: length(full(o)))
    return tuple(_untangled(start, _nearest(start, list(between)), end))


def _untangled(start, order, end):
    """2-opt: turns a stretch round wherever that makes the way shorter, until none does."""
    stops, first, last = [*start, *order, *end], len(start), len(start) + len(order)
    apart = lambda i, j: geography.km(stops[i], stops[j]) if 0 <= i and j < len(stops) else 0.0
    better = True
    while better:
        better = False
        for i, j in itertools.combinations(range(first, last), 2):
            now = apart(i - 1, i) + apart(j, j + 1)
            if apart(i - 1, j) + apart(i, j + 1) < now - 1e-9:
                stops[i : j + 1] = stops[i : j + 1][::-1]
                better = True
    return stops[first:last]


def _nearest(start, left):
    order = [left.pop(0)] if not start else []
    while left:
        here = order[-1] if order else start[0]
        order.append(left.pop(min(range(len(left)), key=lambda i: geography.km(here, left[i]))))
    return order
