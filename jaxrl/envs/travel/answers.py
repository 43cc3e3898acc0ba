"""The form of an answer: lines that say what was decided, among any prose.

    ROUTE: Amber Lion Museum > Jade Fox Park > Royal Bell Gate
    VISIT: 1 | 09:30-10:30 | Amber Lion Museum

Parsing is lenient: marks of lists and of bold type, the case of a key, a currency sign and a city
after a place's name are no matter. A line that has a key and cannot be read is counted, not fatal.
"""

import math
import re
from typing import NamedTuple

from jaxrl.envs.travel import places

LONGEST = 60  # lines, and stops of a route, that are read; more are counted as malformed
WIDEST = 2000  # characters of a line
FORM = """\
Finish with an answer in these lines, and nothing else in them:
ROUTE: place > place > place (in order, first and last stop included)
MODE: walking, cycling, transit or driving
MINUTES: minutes on the way in all
PICK: place (a line for each)
OPTION: flight, train or driving | number, or - for driving | minutes | price (the best of each)
CHOICE: flight, train or driving | number
TRAVEL: YYYY-MM-DD | flight or train | number (a line for each way)
STAY: hotel
VISIT: day | HH:MM-HH:MM | place (a line for each stop, meals too; the first day is 1)
UMBRELLA: yes or no
COST: USD in all
Use the lines that the task needs: ROUTE, MODE, MINUTES for a way; PICK to find places; OPTION and \
CHOICE to compare; VISIT, UMBRELLA, COST for a day; TRAVEL, STAY, VISIT, COST for several days."""


class Slot(NamedTuple):
    """A VISIT as stated."""

    day: int
    start: int  # minutes after midnight
    end: int
    place: str


class Option(NamedTuple):
    """An OPTION as stated."""

    mode: str
    number: str
    minutes: float
    price: float


class Ride(NamedTuple):
    """A CHOICE (no date) or a TRAVEL as stated."""

    date: str
    mode: str
    number: str


class Answer(NamedTuple):
    """All that the lines of a text said; the last line of a kind that stands once counts."""

    route: tuple[str, ...] = ()
    mode: str = ""
    minutes: float | None = None
    picks: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    choice: Ride | None = None
    travels: tuple[Ride, ...] = ()
    stay: str = ""
    visits: tuple[Slot, ...] = ()
    umbrella: str = ""
    cost: float | None = None
    read: int = 0  # lines that were understood
    malformed: int = 0  # lines with a key that were not


def parse(text):
    """A text -> its Answer. Never raises."""
    found, read, malformed = {}, 0, 0
    for line in text.splitlines():
        match = LINE.match(line) if len(line) <= WIDEST else None
        if match is None:
            continue
        field, parser, many = KEYS[match[1].upper()]
        try:
            if read + malformed >= LONGEST:
                raise ValueError("too many lines")
            value = parser(match[2].strip(" *`"))
        except ValueError:
            malformed += 1
            continue
        read += 1
        found[field] = (*found.get(field, ()), value) if many else value
    return Answer(**found, read=read, malformed=malformed)


def write(answer):
    """An Answer -> its lines, which parse gives back."""
    lines = []
    for key, (field, _, many) in KEYS.items():
        value = getattr(answer, field)
        if value not in ("", None, ()):
            shown = value if many else (value,)
            lines += [f"{key}: {_shown(key, v)}" for v in shown]
    return "\n".join(lines)


def _shown(key, value):
    if key == "ROUTE":
        return " > ".join(value)
    if key == "VISIT":
        span = f"{places.clock(value.start)}-{places.clock(value.end)}"
        return f"{value.day} | {span} | {value.place}"
    if isinstance(value, tuple):
        return " | ".join(_plain(v) for v in value if v != "")
    return _plain(value)


def _plain(value):
    return f"{value:.2f}".removesuffix(".00") if isinstance(value, float) else str(value)


def _name(text):
    if not text or "|" in text:
        raise ValueError(f"{text!r} is no name")
    return text


def _route(text):
    stops = tuple(s.strip(" *`") for s in re.split(r">|→|->", text))
    if not 2 <= len(stops) <= LONGEST or not all(stops):
        raise ValueError("a route has two stops or more, with > between")
    return stops


def _number(text):
    found = re.fullmatch(r"(?:USD|\$)?\s*([0-9][0-9,]*(?:\.[0-9]+)?)\s*(?:USD|\$|min\w*)?", text)
    if not found:
        raise ValueError(f"{text!r} is no number")
    value = float(found[1].replace(",", ""))
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]!r} is too large")
    return value


def _cells(text, count):
    cells = [c.strip(" *`") for c in text.split("|")]
    if len(cells) != count or not all(cells):
        raise ValueError(f"{count} fields with | between")
    return cells


def _option(text):
    mode, number, minutes, price = _cells(text, 4)
    return Option(mode.lower(), number.upper(), _number(minutes), _number(price))


def _choice(text):
    mode, number = _cells(text, 2)
    return Ride("", mode.lower(), number.upper())


def _travel(text):
    date, mode, number = _cells(text, 3)
    return Ride(date, mode.lower(), number.upper())


def _visit(text):
    day, span, place = _cells(text, 3)
    start, _, end = re.sub(r"\s*[–—-]\s*", "-", span).partition("-")
    day = re.fullmatch(r"(?:day\s*)?(\d{1,2})", day.lower())
    if not day:
        raise ValueError(f"{text!r} has no day")
    return Slot(int(day[1]), places.minutes(start), places.minutes(end), place)


def _yes(text):
    word = text.lower().rstrip(".")
    if word not in ("yes", "no"):
        raise ValueError(f"{text!r} is neither yes nor no")
    return word


KEYS = {  # key -> (field of Answer, parser, whether there may be several lines)
    "TRAVEL": ("travels", _travel, True),
    "STAY": ("stay", _name, False),
    "VISIT": ("visits", _visit, True),
    "ROUTE": ("route", _route, False),
    "MODE": ("mode", lambda text: _name(text).lower(), False),
    "MINUTES": ("minutes", _number, False),
    "PICK": ("picks", _name, True),
    "OPTION": ("options", _option, True),
    "CHOICE": ("choice", _choice, False),
    "UMBRELLA": ("umbrella", _yes, False),
    "COST": ("cost", _number, False),
}
LINE = re.compile(r"[\s>*#•\-]*(?:\d+[.)]\s*)?\**(" + "|".join(KEYS) + r")\**\s*:(.*)", re.I | re.A)
