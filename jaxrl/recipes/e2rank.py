"""E2Rank in one command: an embedder by contrast, then by contrast and the order of a list.

    WORKDIR/first, second     a run each (recipes/embed.py), with its report and its embedder

The second stage begins with the first's embedder; its rows have a ranking, which a chat model can
give (launch.label). arXiv:2510.22733. A stage that is done is not done again.
"""

from pathlib import Path

from jaxrl.recipes import embed, embed_plan, stages
from jaxrl.training import metrics, setup


def prepare(c, workdir):
    """The Plan of the first stage. Checks both before anything is trained."""
    embed_plan.plan(stages.with_checkpoint(c.second, c.first.model.checkpoint))
    setup.write_config(c, workdir)
    return embed.prepare(c.first, Path(workdir) / "first")


def run(c, workdir, p=None):
    """Both stages, or what is left of them.  returns: the rows of eval.jsonl of the second; none if
    a signal asked to stop during the first."""
    p, workdir = prepare(c, workdir) if p is None else p, Path(workdir)
    if not (workdir / "first" / embed.MODEL).exists():
        embed.run(c.first, workdir / "first", p)
    if not metrics.finished(workdir / "first", c.first.steps):
        return []
    started = stages.with_checkpoint(c.second, workdir / "first" / embed.MODEL)
    return embed.run(started, workdir / "second")
