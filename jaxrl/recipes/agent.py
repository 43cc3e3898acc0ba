"""The loop of rl.py over episodes of agents: tools are called, judges grade, whole runs resume."""

from jaxrl.recipes import rl
from jaxrl.recipes.agent_plan import plan
from jaxrl.recipes.agent_run import AgentRun


def prepare(c, workdir):
    """As rl.prepare, of a config of `agent`."""
    return rl.prepare(c, workdir, plan)


def run(c, workdir, p=None):
    """As rl.run, of a config of `agent`."""
    return rl.run(c, workdir, prepare(c, workdir) if p is None else p, AgentRun)
