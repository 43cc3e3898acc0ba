"""What an agent can do in the world: typed functions whose first argument is the world.

Each returns a short JSON text, or raises a ToolError that names key, value and fix. The types of
arguments are the caller's to check; here is checked what they mean.
"""

import itertools
import json
from typing import Literal, get_args

from jaxrl.envs.calls import within
from jaxrl.envs.travel import corpus, errors, geography, places, routes, trips
from jaxrl.envs.travel import weather as forecasts
from jaxrl.envs.travel.errors import fold
from jaxrl.tools import ToolError

MOST = 20  # rows of a result
VIAS = 16  # places between origin and destination
Mode = Literal["walking", "cycling", "transit", "driving"]
Category = Literal[
    "any",
    "museum",
    "gallery",
    "landmark",
    "temple",
    "park",
    "viewpoint",
    "market",
    "restaurant",
    "cafe",
    "hotel",
]


def poi_search(
    world: places.World, city: str, query: str = "", category: Category = "any", count: int = 5
) -> str:
    """Find places in a city by words of their names, or by category; best match, then best rated.

    city: the city's name
    query: words of the place's name, or "" for any
    category: what kind of place
    count: how many at most, 1 to 20
    """
    where = geography.city("city", city)
    within("count", count, 1, MOST)
    wanted = _words("query", query)
    hits = lambda p: len(wanted & set(p.name.casefold().split()))
    found = [p for p in _candidates(world, where, category) if hits(p) or not wanted]
    found = sorted(found, key=lambda p: (-hits(p), -p.rating, p.name))[:count]
    if not found:
        raise ToolError("query", query, f"it matches no place in {where.name}; use fewer words")
    return _json([shown(p) for p in found])


def around_search(
    world: places.World,
    near: str,
    category: Category = "any",
    radius_km: float = 2.0,
    count: int = 5,
) -> str:
    """Find places around a place, nearest first, with their distance in a straight line.

    near: "PLACE, CITY", or a city's name for its centre
    category: what kind of place
    radius_km: how far at most, up to 20
    count: how many at most, 1 to 20
    """
    centre = places.find(world, "near", near)
    within("radius_km", radius_km, 0.1, 20)
    within("count", count, 1, MOST)
    where = geography.city("near", _city_of(centre))
    others = (p for p in _candidates(world, where, category) if p != centre)
    far = [(geography.km(centre, p), p) for p in others]
    rows = sorted((d, p) for d, p in far if d <= radius_km)[:count]
    return _json([shown(p) | {"km": round(d, 2)} for d, p in rows])


def navigation(
    world: places.World,
    origin: str,
    destination: str,
    mode: Mode = "transit",
    via: list[str] | None = None,
) -> str:
    """Distance, time and cost of a way through the stops, in the order given.

    origin: "PLACE, CITY", or a city's name for its centre
    destination: likewise
    mode: how to go
    via: up to 16 places to pass on the way, in order
    """
    mode = errors.choice("mode", mode, get_args(Mode))
    via = via or []
    if len(via) > VIAS:
        fix = f"{len(via)} places; give at most {VIAS}, or split the way in two"
        raise ToolError("via", via, fix)
    middle = [places.find(world, f"via[{i}]", text) for i, text in enumerate(via)]
    first = places.find(world, "origin", origin)
    last = places.find(world, "destination", destination)
    stops = [first, *middle, last]
    legs = routes.legs(mode, stops)
    total = routes.Leg(*(round(sum(x), 2) for x in zip(*legs, strict=True)))
    rows = [
        {"from": a.name, "to": b.name} | leg._asdict()
        for (a, b), leg in zip(itertools.pairwise(stops), legs, strict=True)
    ]
    return _json({"mode": mode, "legs": rows} | total._asdict())


def flight_search(world: places.World, origin: str, destination: str, date: str) -> str:
    """List the flights of a day between two cities. Times are local, prices in USD.

    origin: a city's name
    destination: a city's name
    date: YYYY-MM-DD
    """
    return _trips(trips.flights, world, origin, destination, date)


def train_search(world: places.World, origin: str, destination: str, date: str) -> str:
    """List the trains of a day between two cities. Times are local, prices in USD.

    origin: a city's name
    destination: a city's name
    date: YYYY-MM-DD
    """
    return _trips(trips.trains, world, origin, destination, date)


def weather(world: places.World, city: str, date: str) -> str:
    """Forecast the weather of a city for a day.

    city: the city's name
    date: YYYY-MM-DD
    """
    return _json(forecasts.weather(world, geography.city("city", city), errors.day("date", date)))


def web_search(world: places.World, query: str, count: int = 3) -> str:
    """Search travel guides: overviews, closing days, ways to get there, the best of a category.

    query: what to look for; name the city
    count: how many pages at most, 1 to 10
    """
    within("count", count, 1, 10)
    if not _words("query", query):
        raise ToolError("query", query, "it is empty; write words such as 'museums in Lyon'")
    found = corpus.search(world, query, count)
    return _json([page._asdict() for page in found])


TOOLS = (
    poi_search,
    around_search,
    navigation,
    flight_search,
    train_search,
    weather,
    web_search,
)


def shown(place):
    """A place as a row of a result; what it does not say is left out."""
    hours = f"{places.clock(place.opens)}-{places.clock(place.closes)}"
    row = {"name": place.name, "category": place.category, "lat": place.lat, "lon": place.lon}
    row |= {"open": hours, "price": place.price, "rating": place.rating}
    row |= {"closed": place.closed} if place.closed else {}
    return row | ({"visit_minutes": place.minutes} if place.minutes else {})


def _candidates(world, city, category):
    chosen = errors.choice("category", category, get_args(Category))
    return tuple(p for p in places.places(world, city).values() if chosen in ("any", p.category))


def _city_of(where):
    return where.city if isinstance(where, places.Place) else where.name


def _words(key, text):
    if len(text) > errors.LONGEST:
        raise ToolError(key, text, f"{len(text)} characters; give at most {errors.LONGEST}")
    return {w for w in text.casefold().split() if fold(w)}


def _trips(timetable, world, origin, destination, date):
    a, b = geography.city("origin", origin), geography.city("destination", destination)
    rows = timetable(world, a, b, str(errors.day("date", date)))
    return _json(
        [
            {"number": t.number, "depart": t.depart, "arrive": t.arrive}
            | {"minutes": t.minutes, "price": t.price}
            for t in rows
        ]
    )


def _json(value):
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
