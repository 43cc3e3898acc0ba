"""Learning from files, with nothing sampled: batch → update, and a run around it.

SFT, preferences, embedders and rerankers differ in what they read, and in two functions:

    state, stats = parts.learn(state, batch)    one update; stats has "tokens/trained"
    parts.evaluate(state, done)                 held-out figures after `done` updates, when due

`train` is the loop; a notebook or a fork passes it functions of its own.
"""

from pathlib import Path

import jax

from jaxrl.parallel import hosts
from jaxrl.report import page
from jaxrl.training import metrics, setup
from jaxrl.training.session import Session


def train(c, state, batches, learn, after):
    """Draws, learns, records; after: logs, evaluates, saves, and returns True to stop."""
    for i in range(int(state.step), c.steps):
        batch = next(batches)  # c.data.batch examples
        state, stats = learn(state, batch)
        if after(state, i, stats):
            break
    return state


def prepare(c, workdir, plan):
    """The Plan of a run, new or resumed; raises on bad settings before anything is computed."""
    p = plan(c)
    setup.write_config(c, workdir)
    return p


def run(c, workdir, p, batches, parts, *, model="", save=None):
    """Trains as `c` says, or goes on with what `workdir` holds, and writes the report.

    parts: (c, p, Session) -> an object with `learn` and `evaluate`; model: the directory in the
    workdir that save(whole parameters, path) writes when all updates are done, unless it is there.
    returns: rows of eval.jsonl, oldest first.
    """
    if hosts.first():
        metrics.print_config(c.to_dict())
    with Session(c, p.base, workdir, batches) as s:
        made = parts(c, p, s)

        def after(state, i, stats):
            made.evaluate(state, i + 1)
            return s.record(state, i, stats, stats["tokens/trained"])

        made.evaluate(s.state, s.start)
        state = train(c, s.state, batches, made.learn, after)
        s.save(state)
        if model and int(state.step) >= c.steps:
            whole = lambda: p.base.policy()[1](state.params, s.frozen)
            _leave(whole, Path(workdir) / model, save)
    if hosts.first():
        page.write(workdir)
    return metrics.read_rows(Path(workdir) / "eval.jsonl")[0]


def _leave(whole, path, save):
    """Writes a model in the first of several processes; the others give it their parts."""
    if hosts.largest(path.exists()):
        return
    params = whole()
    if hosts.count() > 1:  # one alone fetches a tensor as it writes it
        params = jax.tree.map(hosts.everywhere, params)
    if hosts.first():
        save(params, path)
    hosts.meet()
