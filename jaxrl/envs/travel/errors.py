"""What a tool says of arguments that make no sense, and how it looks up what a text names."""

import datetime
import difflib
import unicodedata

from jaxrl.tools import ToolError

LONGEST = 200  # characters of an argument: near matches of a longer one cost seconds
FIRST, LAST = datetime.date(2026, 1, 1), datetime.date(2028, 12, 31)  # the timetables' years


def fold(text):
    """Letters and digits alone, small and without accents: "Xi’an " and "xian" are one."""
    plain = unicodedata.normalize("NFKD", text)
    return "".join(c for c in plain if c.isalnum()).casefold()


def lookup(key, value, table):
    """table[fold(value)], or a ToolError with the nearest names. table: folded name -> a record."""
    if len(value) > LONGEST:
        raise ToolError(key, value, f"{len(value)} characters; give a name of at most {LONGEST}")
    found = table.get(fold(value))
    if found is None:
        near = difflib.get_close_matches(fold(value), list(table), n=3, cutoff=0.5)
        names = [table[n].name for n in near] or [r.name for r in list(table.values())[:5]]
        hint = "did you mean" if near else "known are, among others,"
        raise ToolError(key, value, f"not known; {hint} {', '.join(names)}?")
    return found


def day(key, value):
    """An ISO date within the timetables, as a datetime.date."""
    try:
        date = datetime.date.fromisoformat(value)
    except ValueError:
        raise ToolError(key, value, "no date; write YYYY-MM-DD, such as 2027-05-14") from None
    if not FIRST <= date <= LAST:
        raise ToolError(key, value, f"not covered; give a date from {FIRST} to {LAST}")
    return date


def choice(key, value, choices):
    """The text if it is one of the choices, whatever its case."""
    if value.casefold() not in choices:
        raise ToolError(key, value, f"not known; one of {', '.join(choices)}")
    return value.casefold()
