"""Open-Travel as a benchmark: its scripted policies, its utility, and what judges look at."""

from jaxrl.envs.travel import baselines, expert
from jaxrl.envs.travel.utility import utility
from jaxrl.evals.tables import Scored

ENV = "open_travel"
RUBRIC = "travel"  # of rewards.rubric.RUBRICS
POLICIES = {  # task -> messages, from the first call to the answer
    "expert": expert.solve,
    "random_tool": baselines.random_tool,
    "nothing": baselines.nothing,
}
CRITERIA = {  # of the rubric -> as a table heads it
    "path/breadth": "Breadth",
    "path/relevance": "Path rel.",
    "path/detail": "Path det.",
    "answer/relevance": "Rel",
    "answer/feasibility": "Feas",
    "answer/details": "Det",
    "answer/clarity": "Cla",
}


def score(episode):
    """The utility of an agent.Episode. Valid: it has an answer."""
    found = utility(episode.state.task, episode.state.calls, episode.answer)
    return Scored(found.value, found.parts, bool(episode.answer))
