"""What a task asks for. Its content decides its split, so no task is in two splits."""

import datetime
from typing import NamedTuple

from jaxrl.envs.base import share_of
from jaxrl.envs.travel import geography, places

KINDS = ("direction", "search", "compare", "one_day", "multi_day")
HELD_OUT = "multi_day"  # of the sft split, as in the paper
SHARES = {"test": 0.2, "sft": 0.4, "rl": 0.4}  # of all tasks
SIZES = {"sft": 2600, "rl": 1626, "test": 250}  # the paper's


class Task(NamedTuple):
    """One task; what a kind does not ask for keeps its default. Places are names in `city`."""

    kind: str
    seed: int  # of the world
    city: str
    query: str = ""  # as the user says it
    date: str = ""  # the first day
    origin: str = ""  # compare, multi_day: the city one leaves from
    mode: str = ""  # direction, one_day, multi_day: how one gets about
    start: str = ""  # direction, one_day: where it begins; search: around it
    end: str = ""  # direction: where it ends
    places: tuple[str, ...] = ()  # to be visited
    before: tuple[str, ...] = ()  # direction: the first of two must come before the second
    limit: int = 0  # direction: minutes on the way, at most
    category: str = ""  # search: what is looked for; one_day: one of it must be visited too
    count: int = 0  # search
    radius_km: float = 0.0  # search
    rating: float = 0.0  # at least: of what is found, of the restaurants, of the hotel
    price: float = 0.0  # at most: of what is found, of a night
    time: str = ""  # search: open at this time
    prefer: str = ""  # search: rated, nearest, cheapest; compare: cheapest, fastest
    after: str = ""  # leave (multi_day: on the way back; one_day: begin) at or after this time
    by: str = ""  # arrive (one_day: be done) at or before this time
    days: int = 0  # multi_day
    budget: float = 0.0  # USD for everything; 0 = no limit


def split(task):
    """The split that a task's content puts it in, whatever the words, budget and time limit."""
    return share_of(repr(task._replace(query="", budget=0.0, limit=0)), SHARES)


def world(task):
    """The World a task plays in."""
    return places.World(task.seed)


def city(task):
    """The City of a task."""
    return geography.city("city", task.city)


def named(task, names):
    """Names -> Places in the task's city."""
    known = places.places(world(task), city(task))
    return tuple(known[places.fold(name)] for name in names)


def last_day(task):
    """The ISO date of a journey's last day."""
    first = datetime.date.fromisoformat(task.date)
    return str(first + datetime.timedelta(days=max(task.days, 1) - 1))


def date(task):
    """The first day as a datetime.date."""
    return datetime.date.fromisoformat(task.date)
