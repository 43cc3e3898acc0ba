"""Group-relative reinforcement learning on single-turn tasks: the six arrows and a run around them.

`train` is the loop. `run` makes its parts from a config (configs/base.py, `rl`); a notebook or a
fork passes its own.
"""

from pathlib import Path

import jax

from jaxrl.parallel import hosts
from jaxrl.recipes.rl_plan import plan
from jaxrl.recipes.rl_run import Run
from jaxrl.report import page
from jaxrl.training import metrics, setup


def train(c, state, tasks, collect, select, estimate, learn, after):
    """The arrows of the library, in order. Each argument is a plain function.

    collect: tasks → sampler → scored trajectories, of weights at most rollout.max_staleness updates
    old. select: which groups to learn from. after: logs, evaluates, saves; returns True to stop.
    """
    key = jax.random.key(c.seed)  # batch i draws from fold_in(key, i): resuming needs no saved key
    for i in range(int(state.step) // c.learner.epochs, c.steps):
        traj = collect(state.params, tasks, key, i)  # B rollouts with rewards
        groups = select(traj)  # rows of traj.prompt_tokens
        adv = estimate(traj)  # [B], or [B, R] from an estimator that goes token by token
        state, stats, logp = learn(state, traj, groups, adv)
        if after(state, i, traj, groups, adv, stats, logp):
            break
    return state


def prepare(c, workdir, plan=plan):
    """The Plan of a run, new or resumed; raises on bad settings before anything is computed."""
    p = plan(c)
    setup.write_config(c, workdir)
    return p


def run(c, workdir, p=None, parts=Run):
    """Trains as `c` says, or goes on with what `workdir` holds, and writes the report.

    p: what `prepare` returned, if the caller has done so. parts: the class whose methods are the
    arrows.  returns: rows of eval.jsonl, oldest first.
    """
    p = prepare(c, workdir) if p is None else p
    if hosts.first():
        metrics.print_config(c.to_dict())
    with parts(c, p, workdir) as r:
        state = train(c, r.state, r.tasks, r.collect, r.select, r.estimate, r.learn, r.after)
        r.finish(state)
    if hosts.first():
        page.write(workdir)
    return metrics.read_rows(Path(workdir) / "eval.jsonl")[0]
