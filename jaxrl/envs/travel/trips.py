"""Timetables between cities: flights and trains of a day, and the drive beside them.

Functions of (seed, from, to, date, number). Trains go within a country and to its neighbours, as if
there were no sea between. Departures and arrivals are local times.
"""

import datetime
import functools
import zoneinfo
from typing import NamedTuple

from jaxrl.envs import draws
from jaxrl.envs.travel import geography, routes
from jaxrl.tools import ToolError

MODES = ("flight", "train", "driving")
NEAREST_FLIGHT = 120  # km
RAIL = (15, 1500)  # km
AIRLINES = ("AJ", "BW", "CK", "DZ", "EQ", "FV", "GX")  # letters that no greater airline flies under


class Trip(NamedTuple):
    """One departure."""

    mode: str  # "flight", "train"; "driving" has no number
    number: str
    origin: str  # a city's name
    destination: str
    depart: str  # "2027-05-14 08:35"
    arrive: str
    minutes: int  # on the way
    price: float  # USD


@functools.lru_cache(maxsize=4096)
def flights(world, a, b, date):
    """10 to 15 flights of a day from City a to City b, by departure."""
    km = _apart(a, b)
    if a.airport == b.airport or km < NEAREST_FLIGHT:
        fix = f"no flights from {a.name}, {km:.0f} km: too near; use train_search"
        raise ToolError("destination", b.name, fix)
    key = f"{world.seed}/flight/{a.name}/{b.name}/{date}"
    rows = []
    for i in range(draws.integer(key, 10, 15)):
        minutes = round(35 + km / 13 + draws.uniform(f"{key}/{i}/minutes", 0, 30))
        price = (35 + 0.09 * km) * draws.uniform(f"{key}/{i}/price", 0.7, 1.7)
        number = draws.pick(f"{key}/{i}/line", AIRLINES) + str(_number(key, i))
        rows.append(_trip("flight", number, a, b, date, f"{key}/{i}", minutes, price))
    return tuple(sorted(rows, key=lambda t: t.depart))


@functools.lru_cache(maxsize=4096)
def trains(world, a, b, date):
    """8 to 12 trains of a day from City a to City b, by departure."""
    km = _apart(a, b)
    if b.country not in a.neighbours or not RAIL[0] <= km <= RAIL[1]:
        fix = (
            f"no trains from {a.name} ({a.country}) to {b.name} ({b.country}), {km:.0f} km; use "
            "flight_search or navigation with mode driving"
        )
        raise ToolError("destination", b.name, fix)
    key = f"{world.seed}/train/{a.name}/{b.name}/{date}"
    rows = []
    for i in range(draws.integer(key, 8, 12)):
        speed = draws.uniform(f"{key}/{i}/speed", 110, 250)  # km/h, stops included
        minutes = round(5 + 60 * 1.2 * km / speed)
        price = (6 + 0.11 * km) * draws.uniform(f"{key}/{i}/price", 0.7, 1.5)
        number = f"{'R' if speed < 180 else 'X'}{_number(key, i)}"
        rows.append(_trip("train", number, a, b, date, f"{key}/{i}", minutes, price))
    return tuple(sorted(rows, key=lambda t: t.depart))


def drive(a, b, depart):
    """The drive from City a to City b, leaving at "2027-05-14 08:35"."""
    way = routes.leg("driving", a, b)
    arrive = arrival(depart, way.minutes, a, b)
    return Trip("driving", "-", a.name, b.name, depart, arrive, way.minutes, way.cost)


def arrival(depart, minutes, a, b):
    """Local time in City b, `minutes` after the local time `depart` in City a."""
    start = datetime.datetime.fromisoformat(depart).replace(tzinfo=zoneinfo.ZoneInfo(a.timezone))
    end = start.astimezone(datetime.UTC) + datetime.timedelta(minutes=minutes)
    return end.astimezone(zoneinfo.ZoneInfo(b.timezone)).strftime("%Y-%m-%d %H:%M")


def _apart(a, b):
    if a == b:
        raise ToolError("destination", b.name, f"the origin is {a.name} too; give two cities")
    return geography.km(a, b)


def _number(key, i):
    """Three digits, different for every i below 25."""
    return 100 + 36 * i + draws.integer(f"{key}/{i}/number", 0, 35)


def _trip(mode, number, a, b, date, key, minutes, price):
    start = draws.integer(f"{key}/start", 6 * 12, 21 * 12) * 5
    depart = f"{date} {start // 60:02d}:{start % 60:02d}"
    arrive = arrival(depart, minutes, a, b)
    return Trip(mode, number, a.name, b.name, depart, arrive, minutes, float(round(price)))
