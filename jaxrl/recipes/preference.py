"""Learning from preferences: pairs → packed trees → update, and a run around it.

The losses of `algos/preferences.py`, DPO and its kin, and the reward model (bradley_terry), whose
parameters are the decoder's and a scalar head's. The loop is `recipes.supervised.run`.
"""

import dataclasses
import functools
from pathlib import Path

import grain
import jax

from jaxrl.algos import preferences
from jaxrl.data import sources
from jaxrl.models import forms, heads, rotary
from jaxrl.parallel import mesh
from jaxrl.recipes import supervised
from jaxrl.training import pairs, setup, step


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
    loss: preferences.PreferenceConfig
    examples: grain.MapDataset
    held_out: grain.MapDataset | None
    width: int
    scored: int
    rows: int  # a whole batch in the worst case; a multiple of micro
    micro: int


def plan(c):
    """Reads all text; raises, naming key, value and fix, on any setting that cannot work."""
    loss = preferences.PreferenceConfig(**c.loss)
    least = 2 if loss.name in preferences.UNPAIRED else 1
    for key, value, low in (("steps", c.steps, 1), ("data.batch", c.data.batch, least)):
        if value < low:
            raise ValueError(f"{key}={value}: give at least {low}")
    reward = loss.name in preferences.REWARD_MODELS
    specs = heads.reward_specs if reward else forms.specs
    base = setup.open_base(c, {"learner.micro": c.learner.micro}, c.steps, specs=specs)
    width = _width(c, base)
    sets = [_load(c, base, key, loss) for key in ("path", "eval_path")]
    rows = -(-c.data.batch // c.learner.micro) * c.learner.micro
    scored = mesh.columns(base.mesh, "learner.scored", c.learner.scored, width)
    return Plan(base, loss, *sets, width, scored, rows, c.learner.micro)


def _width(c, base):
    """Columns of a row: room for one prompt with two responses at the least."""
    longest = c.data.max_length
    if longest < 2:
        raise ValueError(f"data.max_length={longest}: give at least 2")
    rotary.check_length(base.model, longest, f"data.max_length={longest}", "lower it")
    for key in ("width", "scored"):
        if c.learner[key] and c.learner[key] < 2 * longest:
            raise ValueError(
                f"learner.{key}={c.learner[key]} may be too short for two responses of "
                f"data.max_length={longest}: give {2 * longest} or more, or zero it"
            )
    return mesh.columns(base.mesh, "learner.width", c.learner.width, 2 * longest)


def _load(c, base, key, loss):
    path = c.data[key]
    if key == "eval_path" and not path:
        return None
    if not Path(path).is_file():
        raise FileNotFoundError(f"data.{key}={path!r} is no file: give one of JSON lines")
    unpaired = loss.name in preferences.UNPAIRED
    found = pairs.load(path, base.tokenizer, c.data.max_length, unpaired=unpaired)
    if unpaired and len(found) < 2:
        raise ValueError(f"data.{key}={path!r} holds one response: {loss.name} compares several")
    return found


class Parts:
    """The functions of `supervised.run`, with what they compile, inside an open session."""

    def __init__(self, c, plan, session):
        self._c, self._plan, self._session = c, plan, session
        base, loss = plan.base, plan.loss
        objective = functools.partial(preferences.PREFERENCES[loss.name], c=loss)
        tokens = step.rewards if loss.name in preferences.REWARD_MODELS else step.log_probs
        loss_fn = step.make_loss(objective, base.model, tokens=tokens, **base.how)
        self._step = base.train_step(loss_fn, objective)
        self._sums = step.make_sums(loss_fn)
        self._score = step.make_score(base.model, **base.how)
        made = preferences.prepare(loss)
        self._prepare = step.make_prepare(made, base.model, **base.how) if made else None
        self._reference = None
        if loss.name in preferences.NEED_A_REFERENCE:
            self._reference = base.reference(session.frozen)

    def learn(self, state, batch):
        """One update on a list of preferences."""
        with self._session.clock.stage("update"):
            rows, count = self._rows(self._whole(state), batch)
            state, stats, _ = self._step(state, rows, count, self._session.frozen)
            stats = jax.device_get(stats)  # waits: the clock is for the work, not its dispatch
        trained = sum(len(r) for x in batch for r in x.responses)
        return state, stats | {"tokens/trained": trained}

    def evaluate(self, state, done):
        """Mean loss, accuracy and margin held out after `done` updates -> a row of eval.jsonl."""
        held_out, size, total = self._plan.held_out, self._c.data.batch, None
        if not held_out or not self._session.evaluates(done):
            return
        with self._session.clock.stage("eval"):
            params = self._whole(state)
            for start in range(0, len(held_out), size):
                batch = [held_out[i] for i in range(start, min(start + size, len(held_out)))]
                sums = jax.device_get(self._sums(params, *self._rows(params, batch)))
                total = sums if total is None else jax.tree.map(lambda x, y: x + y, total, sums)
        loss, stats = total
        mean = lambda x: float(x / stats["weight"])
        row = {"step": done, "name": "held_out", "n": len(held_out), "loss": mean(loss)}
        row |= {"preferred": mean(stats["preference/accuracy"])}
        self._session.writer.evaluation(row | {"margin": mean(stats["preference/margin"])})

    def _whole(self, state):
        return self._plan.base.join(state.params, self._session.frozen)

    def _rows(self, params, batch):
        """Packed and placed, with all that the loss reads of other models or of the whole batch."""
        p = self._plan
        batch = pairs.with_others(batch) if p.loss.name in preferences.UNPAIRED else batch
        rows, used = pairs.pack(
            p.base.part(batch),
            width=p.width,
            scored=p.scored,
            rows=p.base.room(p.rows, p.micro),
            last_only=p.loss.name in preferences.REWARD_MODELS,
        )
        rows, count = p.base.place_micro(rows, used, p.micro)
        if self._reference is not None:
            rows = rows.replace(ref_logp=self._score(self._reference, rows, count))
        if self._prepare:
            rows = rows.replace(prepared=self._prepare(params, rows, count))
        return rows, count
