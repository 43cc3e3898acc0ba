"""Tool calls: running one, and what the calls of a trajectory have shown."""

import inspect
import json

from jaxrl.envs.travel import tools
from jaxrl.envs.travel.errors import ToolError

BY_NAME = {tool.__name__: tool for tool in tools.TOOLS}
FAILED = "error: "  # begins the result of a call that was refused


def run(world, call):
    """The result of a ToolCall as text; of a call that makes no sense, an error that says why.

    Arguments must have the types that the tool's signature gives.
    """
    tool = BY_NAME.get(call.name)
    if tool is None:
        return f"{FAILED}tool {call.name[:50]!r} is not known; one of {', '.join(BY_NAME)}"
    try:
        bound = inspect.signature(tool).bind(world, **call.arguments)
    except TypeError as e:
        return f"{FAILED}{call.name}: {e}; it takes {_signature(tool)}"
    try:
        return tool(*bound.args, **bound.kwargs)
    except ToolError as e:
        return f"{FAILED}{e}"


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


def shown(made):
    """All that the results of the calls made have shown, as one text; refusals left out."""
    return "\n".join(text for _, text in made if not text.startswith(FAILED))


def travelled(made):
    """(mode, from, to) of every leg that navigation gave, as a set of names."""
    found = set()
    for call, text in made:
        if call.name == "navigation" and not text.startswith(FAILED):
            way = json.loads(text)
            found |= {(way["mode"], leg["from"], leg["to"]) for leg in way["legs"]}
    return found


def _signature(tool):
    return ", ".join(list(inspect.signature(tool).parameters)[1:])
