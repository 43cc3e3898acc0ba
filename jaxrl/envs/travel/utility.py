"""How good a trajectory is, by program: U = coverage · mean(the other parts), all in [0, 1].

Coverage is a factor, so that an answer which says little cannot gain by saying it well. What judges
of open-ended text may see besides, such as tone, is left out on purpose.
"""

from typing import NamedTuple

from jaxrl.envs.travel import answers, days, scores, ways

PARTS = {
    "direction": ways.direction,
    "search": ways.search,
    "compare": ways.compare,
    "one_day": days.one_day,
    "multi_day": days.multi_day,
}


class Utility(NamedTuple):
    """The value, and what it comes from."""

    value: float
    parts: dict[str, float]  # by name, each in [0, 1]
    constraints: dict[str, float]  # by name, 1 = met; their mean is parts["constraints"]
    malformed: int  # lines of the answer that could not be read


def utility(task, made, text):
    """The Utility of the calls made, ((ToolCall, result), …), and the answer's text."""
    answer = answers.parse(text)
    parts, constraints = PARTS[task.kind](task, made, answer)
    parts |= {"constraints": scores.share(constraints.values()), "form": scores.form(answer)}
    others = [value for name, value in parts.items() if name != "coverage"]
    value = parts["coverage"] * scores.share(others)
    return Utility(value, parts, {k: float(v) for k, v in constraints.items()}, answer.malformed)
