"""Open-DeepResearch as a benchmark: its scripted policies, its utility, and what judges look at."""

from jaxrl.envs.research import baselines, expert
from jaxrl.envs.research.utility import utility
from jaxrl.evals.tables import Scored

ENV = "open_deepresearch"
RUBRIC = "research"  # of rewards.rubric.RUBRICS
POLICIES = {  # task -> messages, from the first call to the answer
    "expert": expert.solve,
    "random_tool": baselines.random_tool,
    "nothing": baselines.nothing,
}
CRITERIA = {  # of the rubric -> as the paper's Table 3 heads it
    "path/framework": "Frm",
    "path/tool_usage": "Tool",
    "path/coverage": "Cov",
    "answer/relevance": "Rel",
    "answer/accuracy": "Acc",
    "answer/depth": "Dep",
    "answer/clarity": "Cla",
}


def score(episode):
    """The utility of an agent.Episode. Valid: the form is kept, and only what was seen is cited."""
    found = utility(episode.state.task, episode.state.calls, episode.answer)
    return Scored(found.value, found.parts, found.valid)
