"""A config of `rl` -> all that a run needs, checked before anything is compiled or computed."""

import dataclasses
from typing import Any

from jaxrl.algos import estimators, objectives
from jaxrl.chat import templates
from jaxrl.envs import table
from jaxrl.envs.base import Env, choose
from jaxrl.ops import distributions
from jaxrl.parallel import hosts, mesh
from jaxrl.sampling import sampler
from jaxrl.sampling.decode import SampleConfig
from jaxrl.training import setup
from jaxrl.training.learner import LearnerConfig

ZERO_VARIANCE = ("keep", "drop", "resample")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What `run` builds from; frozen configs and the two envs."""

    base: setup.Base
    env: Env
    held_out: Env | None
    held_out_params: dict[str, Any]
    sample: SampleConfig
    greedy: SampleConfig
    estimator: estimators.EstimatorConfig
    objective: objectives.ObjectiveConfig
    learner: LearnerConfig


def plan(c):
    """Raises, naming key, value and fix, on any setting that cannot work."""
    choose("rollout.zero_variance", c.rollout.zero_variance, ZERO_VARIANCE)
    _check_numbers(c)
    estimator = estimators.EstimatorConfig(**c.advantage)
    estimators.check(estimator, c.rollout.group)
    law = distributions.Law(c.rollout.temperature, c.rollout.top_k, c.rollout.top_p)
    if law.temperature == 0:
        raise ValueError("rollout.temperature=0.0: equal samples teach nothing; give more than 0")
    objective = objectives.ObjectiveConfig(**c.loss)
    objectives.check(objective, c.learner.old_logp)
    params = c.env.params.to_dict()
    different = c.eval.params.to_dict()
    env = table.build(c.env.name, params)
    held_out = table.build(c.env.name, params | different) if different else None
    rows = {"learner.micro": c.learner.micro} | _sampled(c)
    rows |= {"eval.prompts": c.eval.prompts} if held_out else {}
    base = setup.open_base(c, rows, c.steps * c.learner.epochs)
    learner = _learner(c, base.mesh)
    for bucket in c.rollout.buckets:
        mesh.columns(base.mesh, "rollout.buckets", bucket, bucket)
        if 0 < c.rollout.prefill < bucket and bucket % c.rollout.prefill:
            raise ValueError(
                f"rollout.prefill={c.rollout.prefill} does not divide {bucket} of rollout.buckets: "
                "give a divisor of all that are longer, or 0"
            )
    sampler.check_lengths(base.model, tuple(sorted(c.rollout.buckets)), c.rollout.max_new)
    for one in (env, held_out) if held_out else (env,):
        _check_prompts(one, base.tokenizer, c)
    dtype = base.how["dtype"]
    squares = "squares" in estimators.find(estimator.name).needs
    prefill = c.rollout.prefill
    sample = SampleConfig(c.rollout.group, c.rollout.max_new, law, dtype, prefill, squares)
    greedy = SampleConfig(1, c.rollout.max_new, distributions.Law(temperature=0.0), dtype, prefill)
    return Plan(
        base, env, held_out, params | different, sample, greedy, estimator, objective, learner
    )


def _check_numbers(c):
    rollout = [f"rollout.{key}" for key in ("prompts", "parts", "rounds", "workers")]
    for key in (
        "steps",
        *rollout,
        "eval.prompts",
        "learner.micro",
        "learner.epochs",
        "checkpoint.keep",
    ):
        section, _, name = key.rpartition(".")
        value = c[section][name] if section else c[name]
        if value < 1:
            raise ValueError(f"{key}={value}: give at least 1")
    if c.rollout.max_staleness and hosts.count() > 1:
        raise ValueError(
            f"rollout.max_staleness={c.rollout.max_staleness} with {hosts.count()} processes: what "
            "runs ahead is saved by one process alone; set it to 0, or use one process"
        )
    if c.rollout.max_staleness < 0:
        raise ValueError(
            f"rollout.max_staleness={c.rollout.max_staleness}: give 0 (the newest weights) or more"
        )
    buckets = tuple(c.rollout.buckets)
    if not buckets or not all(isinstance(b, int) and b >= 1 for b in buckets):
        raise ValueError(f"rollout.buckets={buckets}: give one or more whole numbers above 0")
    if not 0 <= c.overlong.buffer <= c.rollout.max_new:
        raise ValueError(
            f"overlong.buffer={c.overlong.buffer}: give 0 (off) to rollout.max_new="
            f"{c.rollout.max_new}"
        )
    if not 0 <= c.seed < 2**32:
        raise ValueError(f"seed={c.seed}: give a number in [0, 2³²)")


def _sampled(c):
    """{key: prompts a call of the sampler}, for the mesh."""
    prompts, parts = c.rollout.prompts, c.rollout.parts
    if prompts % parts:
        fits = [n for n in range(1, prompts + 1) if prompts % n == 0]
        raise ValueError(
            f"rollout.parts={parts} does not divide rollout.prompts={prompts}: give one of {fits}"
        )
    name = "rollout.prompts" if parts == 1 else "rollout.prompts / rollout.parts"
    return {name: prompts // parts}


def _learner(c, where):
    group = c.rollout.group * c.rollout.max_new
    most = c.rollout.prompts  # one process may hold all groups that have a signal
    most *= min(hosts.count(), c.rollout.rounds) if c.rollout.zero_variance == "resample" else 1
    rows = -(-most // c.learner.micro) * c.learner.micro
    width, scored = max(c.rollout.buckets) + group, group
    for key, given, need in (
        ("width", c.learner.width, width),
        ("scored", c.learner.scored, scored),
    ):
        if given and given < need:
            raise ValueError(
                f"learner.{key}={given} cannot hold one group, which may need {need}: raise or "
                "zero it, or lower rollout.group, rollout.max_new or the last of rollout.buckets"
            )
    return LearnerConfig(
        width=mesh.columns(where, "learner.width", c.learner.width, width),
        scored=mesh.columns(where, "learner.scored", c.learner.scored, scored),
        rows=rows,
        micro=c.learner.micro,
        epochs=c.learner.epochs,
        old_logp=c.learner.old_logp,
        temperature=c.rollout.temperature,
    )


def _prompt(env, index):
    """The messages of a task. They are made in this process: what cannot be is refused."""
    try:
        return env.reset(index)[1]
    except Exception as error:
        raise ValueError(
            f"task {index} of {type(env).__name__} cannot be reset ({type(error).__name__}: "
            f"{error}): mend it or leave it out"
        ) from error


def _check_prompts(env, tokenizer, c):
    """Every task's prompt must fit: a long one is refused here, not after an hour."""
    limit, longest, where = max(c.rollout.buckets), 0, None
    for index in range(len(env)):
        length = len(templates.render(tokenizer, _prompt(env, index)))
        if length > longest:
            longest, where = length, index
    if longest > limit:
        raise ValueError(
            f"task {where} has a prompt of {longest} tokens, the longest of {len(env)}, but "
            f"rollout.buckets={tuple(c.rollout.buckets)} end below that: add a longer bucket, or "
            "leave such tasks out"
        )
