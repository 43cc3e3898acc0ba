"""Timetables: as many rows as promised, local times that fit the minutes, and who has no train."""

import datetime
import zoneinfo

import pytest

from jaxrl.envs.travel import geography, places, trips
from jaxrl.tools import ToolError

WORLD = places.World(0)
city = lambda name: geography.city("city", name)
PAIRS = [("Rome", "Paris"), ("London", "Athens"), ("Sydney", "Perth"), ("Lyon", "Geneva")]


@pytest.mark.parametrize("a, b", PAIRS[:3])
def test_flights_of_a_day(a, b):
    rows = trips.flights(WORLD, city(a), city(b), "2027-03-27")
    assert 10 <= len(rows) <= 15 and len({t.number for t in rows}) == len(rows)
    assert [t.depart for t in rows] == sorted(t.depart for t in rows)
    assert all(t.depart.startswith("2027-03-27") and t.price > 0 for t in rows)
    shortest = 35 + 60 * geography.km(city(a), city(b)) / 780
    assert all(shortest <= t.minutes <= shortest + 31 for t in rows)
    assert rows != trips.flights(WORLD, city(a), city(b), "2027-03-28")


@pytest.mark.parametrize("a, b", PAIRS)
def test_arrivals_are_local_times(a, b):
    """Departure and arrival, taken to UTC, are `minutes` apart, also where the clocks change."""
    zones = [zoneinfo.ZoneInfo(city(n).timezone) for n in (a, b)]
    timetable = trips.trains if b == "Geneva" else trips.flights
    for date in ("2027-03-27", "2027-03-28", "2027-10-31"):
        for t in timetable(WORLD, city(a), city(b), date):
            start, end = (
                datetime.datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(datetime.UTC)
                for text, zone in zip((t.depart, t.arrive), zones, strict=True)
            )
            assert (end - start).total_seconds() == 60 * t.minutes


def test_trains_go_to_neighbours_alone():
    rows = trips.trains(WORLD, city("Lyon"), city("Geneva"), "2027-03-01")
    assert 8 <= len(rows) <= 12 and len({t.number for t in rows}) == len(rows)
    with pytest.raises(ToolError, match=r"no trains from Rome \(IT\) to Athens .* flight_search"):
        trips.trains(WORLD, city("Rome"), city("Athens"), "2027-03-01")


@pytest.mark.parametrize(
    "a, b, words", [("Tokyo", "Yokohama", "too near"), ("Rome", "Rome", "origin is Rome too")]
)
def test_pairs_without_flights(a, b, words):
    with pytest.raises(ToolError, match=words):
        trips.flights(WORLD, city(a), city(b), "2027-03-01")
