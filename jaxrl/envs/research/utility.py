"""How good a trajectory is, by program: U = coverage · mean(the other parts), all in [0, 1].

Coverage is a factor, so that a report which says little cannot gain by saying it well. What judges
see besides, such as depth and clarity, is left out on purpose: a report that copies first sentences
gets all. Whether an answer is valid is told apart, as the paper counts it.
"""

from typing import NamedTuple

from jaxrl.envs.research import calls, reports, scores


class Utility(NamedTuple):
    """The value, and what it comes from."""

    value: float
    parts: dict[str, float]  # by name, each in [0, 1]
    valid: bool  # the form is kept, and nothing is cited that was never seen


def utility(task, made, text):
    """The Utility of the calls made, ((ToolCall, result), …), and the answer's text."""
    report, found = reports.parse(text), calls.found(made)
    parts = {
        "coverage": scores.coverage(task, report),
        "support": scores.support(report, calls.evidence(made)),
        "citations": scores.citations(report, found, calls.opened(made)),
        "cited": scores.cited(report),
        "structure": scores.structure(task, report),
        "length": scores.length(task, report),
        "distinct": scores.distinct(report),
    }
    others = [value for name, value in parts.items() if name != "coverage"]
    value = parts["coverage"] * sum(others) / len(others)
    return Utility(value, parts, scores.valid(report, found))
