"""Tool calls of any env: running one, what results have shown, and checks that tools share."""

import inspect

from jaxrl.tools import REFUSED, ToolError


def run(by_name, world, call):
    """The result of a ToolCall as text; of a call that makes no sense, an error that says why.

    by_name: {name: function of (world, arguments)}. Arguments must have the types that the
    function's signature gives.
    """
    tool = by_name.get(call.name)
    if tool is None:
        return f"{REFUSED}tool {call.name[:50]!r} is not known; one of {', '.join(by_name)}"
    try:
        bound = inspect.signature(tool).bind(world, **call.arguments)
    except TypeError as e:
        taken = ", ".join(list(inspect.signature(tool).parameters)[1:])
        return f"{REFUSED}{call.name}: {e}; it takes {taken}"
    try:
        return tool(*bound.args, **bound.kwargs)
    except ToolError as e:
        return f"{REFUSED}{e}"


def shown(made):
    """All that the results of the calls made have shown, as one text; refusals left out."""
    return "\n".join(text for _, text in made if not text.startswith(REFUSED))


def within(key, value, low, high):
    """The number if it lies in [low, high]; else a ToolError."""
    if not low <= value <= high:
        raise ToolError(key, value, f"out of range; give a number from {low} to {high}")
    return value
