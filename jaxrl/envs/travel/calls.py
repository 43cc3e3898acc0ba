"""Tool calls in the world of Open-Travel: running one, and which ways were looked up."""

import json

from jaxrl.envs import calls
from jaxrl.envs.travel import tools
from jaxrl.tools import REFUSED

BY_NAME = {tool.__name__: tool for tool in tools.TOOLS}
shown = calls.shown


def run(world, call):
    """The result of a ToolCall as text: see envs.calls.run."""
    return calls.run(BY_NAME, world, call)


def terse(text):
    """A result in fewer tokens: rows of a table under its columns' names, without coordinates.

    For small policies; what tools return is JSON, with every name beside every value.
    """
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return text  # of a call that was refused
    if isinstance(found, dict):
        flat = {k: v for k, v in found.items() if not isinstance(v, list)}
        rows = [row for v in found.values() if isinstance(v, list) for row in v]
        head = " | ".join(f"{k} {v}" for k, v in flat.items())
        return "\n".join([head, *([_table(rows)] if rows else [])])
    return _table(found) if found else "nothing"


def _table(rows):
    columns = [k for k in dict.fromkeys(k for row in rows for k in row) if k not in ("lat", "lon")]
    lines = [" | ".join(str(row.get(k, "-")) for k in columns) for row in rows]
    return "\n".join([" | ".join(columns), *lines])


def travelled(made):
    """(mode, from, to) of every leg that navigation gave, as a set of names."""
    found = set()
    for call, text in made:
        if call.name == "navigation" and not text.startswith(REFUSED):
            way = json.loads(text)
            found |= {(way["mode"], leg["from"], leg["to"]) for leg in way["legs"]}
    return found
