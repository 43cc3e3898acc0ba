"""Points of interest around real cities: where, how long open, how dear, how good.

All are functions of (seed, city, category, number). Names are unique in a city and may come again
in another, so a tool's argument reads "Amber Heron Museum, Lyon".
"""

import datetime
import functools
import math
from typing import NamedTuple

from jaxrl.envs import draws
from jaxrl.envs.travel import geography
from jaxrl.envs.travel.errors import fold, lookup
from jaxrl.tools import ToolError

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SPREAD = 2.5  # km, standard deviation of a place's distance from the centre, north and east
FARTHEST = 6.0  # km, in each of the two


class World(NamedTuple):
    """The whole world is its seed; what is in it is computed where it is asked for."""

    seed: int = 0


class Place(NamedTuple):
    """One point of interest. Times are minutes after midnight."""

    name: str
    category: str
    city: str
    lat: float
    lon: float
    opens: int
    closes: int  # 1440: at midnight
    closed: str  # a weekday, or "" if it is open on all days
    price: float  # USD: a ticket, a meal, or a night
    rating: float  # 1 to 5
    minutes: int  # a visit takes


class Kind(NamedTuple):
    """What the places of a category have in common; one of each choice is drawn."""

    count: int  # in a city
    nouns: tuple[str, ...]
    opens: tuple[int, ...]  # hours
    closes: tuple[int, ...]
    rests: float  # share that is closed on one weekday
    prices: tuple[float, float]
    minutes: tuple[int, ...]


CATEGORIES = {
    "museum": Kind(8, ("Museum", "History Museum"), (9, 10), (17, 18), 0.6, (5, 25), (60, 90, 120)),
    "gallery": Kind(6, ("Gallery", "Art House"), (10, 11), (18, 19), 0.5, (0, 15), (45, 60)),
    "landmark": Kind(8, ("Tower", "Palace", "Gate"), (8, 9), (18, 20), 0.2, (0, 20), (30, 45, 60)),
    "temple": Kind(6, ("Temple", "Cathedral", "Shrine"), (7, 8), (17, 18), 0, (0, 8), (30, 45)),
    "park": Kind(6, ("Park", "Garden"), (6, 7), (20, 22), 0, (0, 4), (45, 60, 90)),
    "viewpoint": Kind(4, ("Lookout", "Terrace"), (8, 9), (21, 22), 0.1, (0, 12), (30,)),
    "market": Kind(5, ("Market", "Bazaar"), (8, 9), (16, 18), 0.4, (0, 0), (45, 60)),
    "restaurant": Kind(14, ("Kitchen", "Bistro"), (11,), (15, 22), 0.3, (10, 45), (60, 75)),
    "cafe": Kind(8, ("Cafe", "Tea Room"), (7, 8), (18, 20), 0.2, (4, 12), (30,)),
    "hotel": Kind(10, ("Hotel", "Inn"), (0,), (24,), 0, (50, 240), (0,)),
}
FIRST = (
    "Amber Ancient Azure Bright Bronze Calm Cedar Copper Coral Crimson Crystal Distant Ember Fern "
    "Golden Granite Grand Hidden Indigo Ivory Jade Laurel Linden Little Lunar Maple Marble Misty "
    "Noble North Olive Opal Pearl Quiet Royal Ruby Scarlet Silver Velvet Winter"
).split()
SECOND = (
    "Anchor Arrow Badger Bell Bridge Canal Clock Comet Crane Crown Dolphin Falcon Fountain Fox "
    "Harbor Harp Heron Horizon Lantern Lion Lotus Meadow Mill Mirror Moon Oak Orchard Otter "
    "Peacock Phoenix Pine River Rose Sail Sparrow Star Stone Swan Tiger Willow"
).split()
STRIDES = (263, 367, 457, 563, 659, 761, 857, 953)  # primes: a walk by one meets every pair


@functools.lru_cache(maxsize=1024)
def places(world, city):
    """All places of a City, by folded name."""
    where = f"{world.seed}/{city.name}"
    names = _names(where)
    found = {}
    for category, kind in CATEGORIES.items():
        for i in range(kind.count):
            made = _place(f"{where}/{category}/{i}", next(names), category, kind, city)
            found[fold(made.name)] = made
    return found


def _names(key):
    """Names without end, no two alike before all pairs of words have come."""
    pairs = len(FIRST) * len(SECOND)
    at, stride = draws.integer(f"{key}/at", 0, pairs - 1), draws.pick(f"{key}/stride", STRIDES)
    while True:
        at = (at + stride) % pairs
        yield f"{FIRST[at // len(SECOND)]} {SECOND[at % len(SECOND)]}"


def _place(key, name, category, kind, city):
    """Cheap places are as good as dear ones: rating and price are drawn apart."""
    north, east = (
        max(-FARTHEST, min(FARTHEST, SPREAD * draws.normal(f"{key}/{way}"))) for way in "ne"
    )
    rests = draws.uniform(f"{key}/rests", 0, 1) < kind.rests
    return Place(
        name=f"{name} {draws.pick(f'{key}/noun', kind.nouns)}",
        category=category,
        city=city.name,
        lat=round(city.lat + north / 111.2, 5),
        lon=round(city.lon + east / (111.2 * math.cos(math.radians(city.lat))), 5),
        opens=60 * draws.pick(f"{key}/opens", kind.opens),
        closes=60 * draws.pick(f"{key}/closes", kind.closes),
        closed=draws.pick(f"{key}/closed", DAYS) if rests else "",
        price=float(round(draws.uniform(f"{key}/price", *kind.prices))),
        rating=round(draws.uniform(f"{key}/rating", 3.0, 5.0), 1),
        minutes=draws.pick(f"{key}/minutes", kind.minutes),
    )


def of(world, city, category):
    """The places of a category in a City, as a tuple."""
    return tuple(p for p in places(world, city).values() if p.category == category)


def find(world, key, text):
    """ "Amber Heron Museum, Lyon" -> a Place; "Lyon" -> a City; else a ToolError."""
    name, comma, town = text.rpartition(",")
    if not comma:
        try:
            return geography.city(key, text)
        except ToolError as e:
            fix = f'{e.fix} (A place in a city is written "NAME, CITY".)'
            raise ToolError(key, text, fix) from None
    return lookup(key, name, places(world, geography.city(key, town)))


def is_open(place, date, start, end):
    """Whether a place is open from `start` to `end` (minutes after midnight) on a date."""
    resting = place.closed == weekday(date)
    return not resting and place.opens <= start <= end <= place.closes


def weekday(date):
    """A date, or an ISO text of one -> "Monday" … "Sunday"."""
    date = datetime.date.fromisoformat(date) if isinstance(date, str) else date
    return DAYS[date.weekday()]


def clock(minutes):
    """570 -> "09:30"."""
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def minutes(text):
    """ "09:30" -> 570; ValueError for what is no time of day."""
    hour, _, minute = text.strip().partition(":")
    total = 60 * int(hour) + int(minute)
    if not (0 <= int(minute) < 60 and 0 <= total <= 1440):
        raise ValueError(f"{text!r} is no time of day; write HH:MM")
    return total
