"""Tool calls in the world of Open-Travel: running one, and which ways were looked up."""

import json
import re

from jaxrl.envs import calls
from jaxrl.envs.travel import tools
from jaxrl.tools import REFUSED

BY_NAME = {tool.__name__: tool for tool in tools.TOOLS}
shown = calls.shown
HOURS = re.compile(r"(\d\d):00-(\d\d):00")  # an opening time, always of whole hours


def run(world, call):
    """The result of a ToolCall as text: see envs.calls.run."""
    return calls.run(BY_NAME, world, call)


def terse(text):
    """A result in fewer tokens: rows of a table under its columns' names, without coordinates.

    What all rows have alike is said once, above. Rows begin as the lines of an answer do, with a
    word and a colon: a policy that has learned little finds there what may stand behind one. For
    small policies; what tools return is JSON, with every name beside every value.
    """
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return text  # of a call that was refused
    if isinstance(found, dict):
        flat = {k: v for k, v in found.items() if not isinstance(v, list)}
        rows = [row for v in found.values() if isinstance(v, list) for row in v]
        return "\n".join([_named(flat), *([_table(rows)] if rows else [])])
    return _table(found) if found else "nothing"


def _table(rows):
    columns = [k for k in dict.fromkeys(k for row in rows for k in row) if k not in ("lat", "lon")]
    cells = [[_short(row.get(k, "-")) for k in columns] for row in rows]
    first, *others = zip(columns, *cells, strict=True)
    alike = {k: c[0] for k, *c in others if len(c) > 1 == len({*c})}
    left = [n for n, k in enumerate(columns) if k not in alike]
    head, *lines = (" | ".join(row[n] for n in left) for row in (columns, *cells))
    lines = [f"{first[0]}: {line}" for line in lines]
    return "\n".join([*([_named(alike)] if alike else []), head, *lines])


def _named(values):
    return " | ".join(f"{k} {_short(v)}" for k, v in values.items())


def _short(value):
    """41.0 -> "41", "09:00-18:00" -> "9-18"."""
    text = f"{value:.10g}" if isinstance(value, float) else str(value)
    hours = HOURS.fullmatch(text)
    return f"{int(hours[1])}-{int(hours[2])}" if hours else text


def travelled(made):
    """(mode, from, to) of every leg that navigation gave, as a set of names."""
    found = set()
    for call, text in made:
        if call.name == "navigation" and not text.startswith(REFUSED):
            way = json.loads(text)
            found |= {(way["mode"], leg["from"], leg["to"]) for leg in way["legs"]}
    return found
