"""A config of `agent` -> all that a run needs, checked before anything is compiled or computed."""

import dataclasses
from typing import Any

from jaxrl import tools
from jaxrl.algos import estimators, objectives
from jaxrl.chat import templates
from jaxrl.envs import table
from jaxrl.envs.base import Env, choose
from jaxrl.models import rotary
from jaxrl.ops import distributions
from jaxrl.parallel import hosts, mesh
from jaxrl.rewards.graders import RewardConfig
from jaxrl.rollouts.episodes import Limits
from jaxrl.sampling.engine import EngineConfig
from jaxrl.training import setup
from jaxrl.training.learner import LearnerConfig

LIMITS = ("turns", "tokens", "reply", "observation", "seconds", "history")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What an AgentRun builds from."""

    base: setup.Base
    env: Env
    held_out: Env | None
    held_out_params: dict[str, Any]
    laws: tuple[distributions.Law, ...]  # of the members of a group
    limits: Limits
    engine: EngineConfig
    reward: RewardConfig
    estimator: estimators.EstimatorConfig
    objective: objectives.ObjectiveConfig
    learner: LearnerConfig


def plan(c):
    """Raises, naming key, value and fix, on any setting that cannot work."""
    _check_numbers(c)
    limits = Limits(**{key: c.rollout[key] for key in LIMITS})
    reward, engine = RewardConfig(**c.reward), EngineConfig(**c.engine)
    estimator = estimators.EstimatorConfig(**c.advantage)
    estimators.check(estimator, c.rollout.group)
    _check_estimator(estimator.name, reward.name)
    objective = objectives.ObjectiveConfig(**c.loss)
    objectives.check(objective, c.learner.old_logp)
    params, different = c.env.params.to_dict(), c.eval.params.to_dict()
    env = table.build(c.env.name, params)
    held_out = table.build(c.env.name, params | different) if different else None
    base = setup.open_base(c, {"learner.micro": c.learner.micro}, c.steps * c.learner.epochs)
    length = c.rollout.prompt + limits.tokens
    rotary.check_length(base.model, length, "rollout.prompt and rollout.tokens", "lower one")
    if length > engine.pages * engine.page:
        raise ValueError(
            f"engine.pages={engine.pages} of {engine.page} tokens cannot hold one episode of "
            f"{length} (rollout.prompt and rollout.tokens): raise it; {-(-length // engine.page)} "
            "for each of engine.slots keeps all in memory"
        )
    for one in (env, held_out) if held_out else (env,):
        _check_prompts(one, base.tokenizer, c.rollout)
    return Plan(
        base,
        env,
        held_out,
        params | different,
        _laws(c.rollout),
        limits,
        dataclasses.replace(engine, dtype=base.how["dtype"]),
        reward,
        estimator,
        objective,
        _learner(c, base.mesh, limits, objective),
    )


def _check_numbers(c):
    choose("rollout.zero_variance", c.rollout.zero_variance, ("keep", "drop"))
    rollout = [f"rollout.{key}" for key in ("prompts", "group", "prompt", "at_once", "workers")]
    for key in ("steps", *rollout, "learner.micro", "learner.epochs", "checkpoint.keep"):
        section, _, name = key.rpartition(".")
        value = c[section][name] if section else c[name]
        if value < 1:
            raise ValueError(f"{key}={value}: give at least 1")
    if c.rollout.temperature == 0:
        raise ValueError("rollout.temperature=0.0: equal episodes teach nothing; give more than 0")
    if not 0 <= c.seed < 2**32:
        raise ValueError(f"seed={c.seed}: give a number in [0, 2³²)")
    if hosts.count() > 1:
        raise ValueError(
            f"{hosts.count()} processes: agents are trained by one, with all its devices; recipes "
            "without tools (configs/quickstart.py) take several"
        )


def _check_estimator(name, reward):
    needs = set(estimators.find(name).needs)
    if needs - {"rank"}:
        raise ValueError(
            f"advantage.name={name!r} needs {sorted(needs)}, which episodes do not have: give "
            "'arena', 'grpo' or another that compares rewards"
        )
    if "rank" in needs and reward != "tournament":
        raise ValueError(
            f"advantage.name={name!r} with reward.name={reward!r}, which ranks nobody: give "
            "reward.name='tournament'"
        )


def _laws(rollout):
    """The anchor draws the likeliest token, and its log-probs are those of the others' softmax."""
    law = distributions.Law(rollout.temperature, rollout.top_k, rollout.top_p)
    greedy = distributions.Law(rollout.temperature, top_k=1)
    return ((greedy,) if rollout.anchor else (law,)) + (law,) * (rollout.group - 1)


def _learner(c, where, limits, objective):
    """Rows for the longest episodes there can be; a group may take several."""
    kept, group = limits.history == "kept", c.rollout.group
    prompt = c.rollout.prompt + (0 if kept else limits.tokens)
    branch, branches = (limits.tokens, group) if kept else (limits.reply, 1)
    for key, need in (("width", prompt + branch), ("scored", branch)):
        if 0 < c.learner[key] < need:
            raise ValueError(
                f"learner.{key}={c.learner[key]} cannot hold one episode, which may need {need}: "
                "raise or zero it, or lower rollout.tokens or rollout.prompt"
            )
    width, scored = c.learner.width or prompt + branches * branch, c.learner.scored
    width = mesh.columns(where, "learner.width", c.learner.width, width)
    scored = mesh.columns(where, "learner.scored", scored, min(branches * branch, width))
    fit = min((width - prompt) // branch, scored // branch, branches)
    if fit < branches and objective.aggregation in ("prompt_mean", "group_mean"):
        raise ValueError(
            f"learner.width={width} and learner.scored={scored} hold {fit} of the {branches} "
            f"episodes of a group, but loss.aggregation={objective.aggregation!r} needs all in one "
            "row: zero both, or aggregate otherwise"
        )
    trees = c.rollout.prompts * (-(-group // fit) if kept else group * limits.turns)
    return LearnerConfig(
        width=width,
        scored=scored,
        rows=-(-trees // c.learner.micro) * c.learner.micro,
        micro=c.learner.micro,
        epochs=c.learner.epochs,
        old_logp=c.learner.old_logp,
        temperature=c.rollout.temperature,
    )


def _check_prompts(env, tokenizer, c):
    """Every task's prompt must fit: a long one is refused here, not after an hour."""
    shown = tuple(map(tools.tool, getattr(env, "tools", ()))) if c.schemas else ()
    for index in range(len(env)):
        length = len(templates.render(tokenizer, env.reset(index)[1], tools=shown))
        if length > c.prompt:
            raise ValueError(
                f"task {index} has a prompt of {length} tokens, but rollout.prompt={c.prompt}: "
                "raise it, or leave such tasks out"
            )
