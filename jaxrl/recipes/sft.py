"""Supervised fine-tuning: examples → packed rows → update (configs/base.py, `sft`).

The loop is `recipes.supervised.run`.
"""

import dataclasses
import functools
from pathlib import Path

import grain
import jax
import jax.numpy as jnp

from jaxrl.algos import objectives
from jaxrl.data import sources
from jaxrl.models import rotary
from jaxrl.parallel import mesh
from jaxrl.recipes import supervised
from jaxrl.training import examples, setup, step


def prepare(c, workdir):
    """As supervised.prepare."""
    return supervised.prepare(c, workdir, plan)


def run(c, workdir, p=None):
    """As supervised.run.  p: what `prepare` returned, if the caller has done so."""
    p = prepare(c, workdir) if p is None else p
    batches = sources.batches(p.examples, c.data.batch, c.seed)
    return supervised.run(c, workdir, p, batches, Parts)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What `run` builds from."""

    base: setup.Base
    examples: grain.MapDataset
    held_out: grain.MapDataset | None
    width: int
    scored: int
    rows: int  # a whole batch in the worst case; a multiple of micro
    micro: int


def plan(c):
    """Reads all text; raises, naming key, value and fix, on any setting that cannot work."""
    for key, value in (("steps", c.steps), ("data.batch", c.data.batch)):
        if value < 1:
            raise ValueError(f"{key}={value}: give at least 1")
    base = setup.open_base(c, {"learner.micro": c.learner.micro}, c.steps)
    longest = c.data.max_length
    width = mesh.columns(base.mesh, "learner.width", c.learner.width, longest)
    rotary.check_length(base.model, longest, f"data.max_length={longest}", "lower it")
    if not 2 <= longest <= width:
        raise ValueError(f"data.max_length={longest}: give 2 to {width}, learner.width")
    scored = mesh.columns(base.mesh, "learner.scored", c.learner.scored, width)
    sets = []
    for key in ("path", "eval_path"):
        sets.append(_load(c, base, key, scored) if c.data[key] or key == "path" else None)
    rows = -(-c.data.batch // c.learner.micro) * c.learner.micro
    return Plan(base, *sets, width, scored, rows, c.learner.micro)


def _load(c, base, key, scored):
    if not Path(c.data[key]).is_file():
        raise FileNotFoundError(f"data.{key}={c.data[key]!r} is no file: give one of JSON lines")
    found = examples.load(c.data[key], base.tokenizer, c.data.max_length)
    most = max(int(found[i].mask.sum()) for i in range(len(found)))
    if most > scored:
        raise ValueError(
            f"learner.scored={scored}, but an example of data.{key} has {most} tokens in the loss: "
            "raise it, or zero it"
        )
    return found


class Parts:
    """The functions of `supervised.run`, with what they compile, inside an open session."""

    def __init__(self, c, plan, session):
        self._c, self._plan, self._session = c, plan, session
        base, how = plan.base, objectives.ObjectiveConfig(name="sft")
        objective = functools.partial(objectives.OBJECTIVES[how.name], c=how)
        loss_fn = step.make_loss(objective, base.model, **base.how)
        self._step = base.train_step(loss_fn, objective)
        self._score = step.make_score(base.model, **base.how)

    def learn(self, state, batch):
        """One update on a list of examples."""
        with self._session.clock.stage("update"):
            rows, count = self._pack(batch)
            state, stats, _ = self._step(state, rows, count, self._session.frozen)
            stats = jax.device_get(stats)  # waits: the clock is for the work, not its dispatch
        return state, stats | {"tokens/trained": sum(int(x.mask.sum()) for x in batch)}

    def evaluate(self, state, done):
        """Mean loss of a held-out token after `done` updates, when due -> a row of eval.jsonl."""
        held_out, size, total, tokens = self._plan.held_out, self._c.data.batch, 0.0, 0
        if not held_out or not self._session.evaluates(done):
            return
        with self._session.clock.stage("eval"):
            params = self._plan.base.join(state.params, self._session.frozen)
            for start in range(0, len(held_out), size):
                stop = min(start + size, len(held_out))
                rows, count = self._pack([held_out[i] for i in range(start, stop)])
                logp = self._score(params, rows, count)
                total -= float(jnp.where(rows.mask > 0, logp, 0).sum())
                tokens += int(rows.mask.sum())
        row = {"step": done, "name": "held_out", "n": len(held_out), "loss": total / tokens}
        self._session.writer.evaluation(row)

    def _pack(self, batch):
        p = self._plan
        room, mine = p.base.room(p.rows, p.micro), p.base.part(batch)
        rows, used = examples.pack(mine, width=p.width, scored=p.scored, rows=room)
        return p.base.place_micro(rows, used, p.micro)
