"""Tool calls in the corpus: running one, and which documents the calls of a trajectory showed."""

import json

from jaxrl.envs import calls
from jaxrl.envs.research import tools
from jaxrl.tools import REFUSED

BY_NAME = {tool.__name__: tool for tool in tools.TOOLS}


def run(world, call):
    """The result of a ToolCall as text: see envs.calls.run."""
    return calls.run(BY_NAME, world, call)


def found(made):
    """The ids of all documents that searches listed or that were opened, as a set."""
    return {row["id"] for row in _rows(made, ("search", "open"))}


def opened(made):
    """The ids of the documents of which a page was opened, as a set."""
    return {row["id"] for row in _rows(made, ("open",))}


def evidence(made):
    """id -> all of its text that results showed: title, snippets and pages."""
    shown = {}
    for row in _rows(made, ("search", "open")):
        text = row["text"] if "text" in row else row["snippet"]
        shown[row["id"]] = f"{shown.get(row['id'], row['title'])}\n{text}"
    return shown


def _rows(made, names):
    """The JSON objects in the results of the calls of these tools, refusals left out."""
    for call, text in made:
        if call.name in names and not text.startswith(REFUSED):
            value = json.loads(text)
            yield from value if isinstance(value, list) else (value,)
