"""Advantage estimators by name. An estimator is a kernel, an oracle and a line in ESTIMATORS.

    adv = estimate(signals, EstimatorConfig(name="grpo"))     # [B], over the global batch

Advantages are computed before any split into rows or micro-batches. Those that are one number a
sample stay [B] until the loss; those that go token by token are [B, R].
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from jaxrl.algos import agent_estimators as agent
from jaxrl.algos import estimator_options as options
from jaxrl.algos import group_estimators as group
from jaxrl.algos import signal_checks
from jaxrl.algos import token_estimators as token
from jaxrl.ops import evidence

# What other libraries compute, to compare with them: at 8 samples ddof alone moves |A| by 7 %.
STYLES = {
    "verl": dict(ddof=1, eps=1e-6, eps_mode="add", singleton="raw", zero_std_rel_tol=0.0),
    "trl": dict(ddof=1, eps=1e-4, eps_mode="add", singleton="zero", zero_std_rel_tol=0.0),
    "tunix": dict(ddof=1, eps=1e-6, eps_mode="add", singleton="zero", zero_std_rel_tol=0.0),
    "openrlhf": dict(ddof=1, eps=1e-9, eps_mode="add", singleton="zero", zero_std_rel_tol=0.0),
}
KNOBS = ("ddof", "eps", "eps_mode", "singleton", "zero_std_rel_tol")
SCALED = (*KNOBS, "style")
CENTRED = ("singleton", "zero_std_rel_tol", "style")
WHITENED = ("ddof", "eps", "zero_std_rel_tol", "style")
OFF_POLICY = ("gamma", "rho_clip", "whiten", *WHITENED)


@dataclasses.dataclass(frozen=True)
class Estimator:
    """A line of the table."""

    fn: Callable  # (signals, c) -> advantages [B] or [B, R]
    takes: tuple[str, ...]  # the keys of EstimatorConfig that it reads
    needs: tuple[str, ...] = ()  # the optional fields of Signals that it reads
    compares: bool = True  # the samples of a prompt with each other: one alone teaches nothing
    in_loss: Callable | None = None  # (signals, c) -> bool [B, 1] or [B, R]; None = all chosen


ESTIMATORS = {
    "grpo": Estimator(group.grpo, SCALED),
    "dr_grpo": Estimator(group.dr_grpo, CENTRED),
    "rloo": Estimator(group.rloo, CENTRED),
    "batch_norm_grpo": Estimator(group.batch_norm_grpo, SCALED),
    "levels": Estimator(
        group.levels, ("mean_level", "std_level", "leave_one_out", *SCALED), compares=False
    ),
    "maxrl": Estimator(group.maxrl, ("eps", "zero_std_rel_tol", "style")),
    "grpo_passk": Estimator(group.grpo_passk, SCALED),
    "opo": Estimator(group.opo, CENTRED),
    "gpg": Estimator(group.gpg, ("gpg_counts", *CENTRED)),
    "gdpo": Estimator(group.gdpo, ("weights", "whiten_by", *SCALED), ("parts",)),
    "reinforce_plus_plus_baseline": Estimator(
        group.reinforce_plus_plus_baseline, ("whiten_by", "ddof", "eps", *CENTRED)
    ),
    "remax": Estimator(group.remax, (), ("greedy",), compares=False),
    "gfpo": Estimator(group.gfpo, ("keep", "keep_by", *SCALED)),
    "reinforce_plus_plus": Estimator(
        token.reinforce_plus_plus, ("gamma", *WHITENED), ("mask",), compares=False
    ),
    "gae": Estimator(
        token.gae, ("gamma", "lam", "whiten", *WHITENED), ("mask", "values"), compares=False
    ),
    "vtrace": Estimator(
        token.vtrace, ("c_clip", *OFF_POLICY), ("mask", "values", "log_ratio"), compares=False
    ),
    "upgo": Estimator(token.upgo, OFF_POLICY, ("mask", "values", "log_ratio"), compares=False),
    "optimal_token_baseline": Estimator(
        token.optimal_token_baseline,
        ("gamma", "zero_tail", "singleton", "style"),
        ("mask", "logp", "squares"),
    ),
    "tir_optimal_token_baseline": Estimator(
        token.tir_optimal_token_baseline,
        ("gamma", "zero_tail", "singleton", "style"),
        ("mask", "logp", "squares"),
    ),
    "gigpo": Estimator(
        agent.gigpo, ("step_weight", "std_level", *SCALED), ("state", "round", "returns")
    ),
    "erpo": Estimator(agent.erpo, SCALED, ("env",), in_loss=agent.erpo_in_loss),
    "efficiency_eapo": Estimator(
        agent.efficiency_eapo,
        ("round_gamma", "all_correct", "multiple", *SCALED),
        ("round", "rounds", "lot"),
        in_loss=agent.efficiency_in_loss,
    ),
    "evidence_eapo": Estimator(
        agent.evidence_eapo,
        ("evidence_mode", "evidence_weight", "outcome_weight", "format_weight", *SCALED),
        ("evidence", "formatted"),
    ),
    "arena": Estimator(agent.arena, SCALED, ("rank",)),
    "anchor_plan": Estimator(
        agent.anchor_plan, SCALED, ("plan", "turn"), in_loss=agent.first_step_in_loss
    ),
    "anchor_execution": Estimator(
        agent.anchor_execution,
        ("execution_tokens", *SCALED),
        ("turn",),
        in_loss=agent.execution_in_loss,
    ),
    "first_step_grpo": Estimator(
        agent.first_step_grpo, SCALED, ("turn",), in_loss=agent.first_step_in_loss
    ),
}


@dataclasses.dataclass(frozen=True)
class EstimatorConfig:
    """The `advantage` keys of a config; the docstring of an estimator says what each one does.

    A key that the estimator does not take must keep its default. singleton: "error" refuses, on the
    host, a batch in which a group has one scorable reward. style: "", or a key of STYLES that sets
    the five KNOBS.
    """

    name: str = "grpo"
    ddof: int = 1
    eps: float = 1e-6
    eps_mode: str = "add"
    singleton: str = "zero"
    zero_std_rel_tol: float = 1e-6
    style: str = ""
    mean_level: str = "group"
    std_level: str = "group"
    leave_one_out: bool = False
    weights: tuple[float, ...] = ()
    whiten_by: str = "tokens"
    gpg_counts: str = "groups"
    keep: int = 0
    keep_by: str = "length"
    gamma: float = 1.0
    lam: float = 1.0
    whiten: bool = False
    rho_clip: float = 1.0
    c_clip: float = 1.0
    zero_tail: bool = False
    step_weight: float = 1.0
    round_gamma: float = 0.995
    all_correct: str = "keep"
    multiple: int = 1
    evidence_mode: str = "abs"
    evidence_weight: float = 0.3
    outcome_weight: float = 0.7
    format_weight: float = 0.0
    execution_tokens: str = "later"

    def __post_init__(self):
        _check_options(self)
        if self.name == "evidence_eapo":
            _check_evidence(self, 2)

    @property
    def knobs(self):
        """The five kernel arguments; "error" has been dealt with on the host by now."""
        knobs = STYLES[self.style] if self.style else {k: getattr(self, k) for k in KNOBS}
        return knobs | {"singleton": "raw" if knobs["singleton"] == "raw" else "zero"}

    @property
    def edge(self):
        """The two of them that concern a group without spread."""
        return {k: self.knobs[k] for k in ("singleton", "zero_std_rel_tol")}


_DEFAULTS = {f.name: f.default for f in dataclasses.fields(EstimatorConfig) if f.name != "name"}


def estimate(signals, c):
    """Advantages of the whole batch by the estimator c.name, [B] or [B, R] f32.

    Under jit only shapes are checked: call `check_signals` on the host first.
    """
    check_signals(signals, c)
    return find(c.name).fn(signals, c)


def in_loss(signals, c):
    """Which of the chosen tokens the estimator's paper has in the loss, [B, 1] or [B, R]; or None.

    None: all of them.
    """
    estimator = find(c.name)
    return estimator.in_loss and estimator.in_loss(signals, c)


def check_signals(signals, c):
    """Refuses, before any compute, a missing field, a wrong shape or an id out of range."""
    signal_checks.check_fields(signals, find(c.name).needs, c.name)
    if signal_checks.traced(signals):
        return
    signal_checks.check_ids(signals)
    if c.singleton == "error":
        signal_checks.check_singletons(signals)
    if c.name == "evidence_eapo" and len(signals.group):
        _check_evidence(c, np.bincount(np.asarray(signals.group)).max())


def check(c, group_size):
    """Refuses, before any compute, a group size with which the estimator has nothing to compare."""
    by_group = c.name == "levels" and "group" in (c.mean_level, c.std_level)
    if (find(c.name).compares or by_group) and group_size < 2:
        raise ValueError(
            f"rollout.group={group_size}: {c.name} compares the samples of one prompt, "
            "and a single sample has advantage 0; set rollout.group to 2 or more"
        )
    if c.keep > group_size:
        raise ValueError(
            f"advantage.keep={c.keep}: rollout.group={group_size} has no more samples to choose "
            "from; give less, or raise rollout.group"
        )
    if c.name == "evidence_eapo":
        _check_evidence(c, group_size)


def dense_ids(ids):
    """Sparse host ids [B] of any integer or string type -> (int32 ids [B] in [0, n), n)."""
    values, dense = np.unique(np.asarray(ids), return_inverse=True)
    return dense.astype(np.int32).reshape(-1), len(values)


def find(name):
    """The line of ESTIMATORS, or an error that names what there is."""
    if name == "eapo":
        raise KeyError(
            "advantage.name='eapo' is what two papers call theirs: give evidence_eapo "
            "(arXiv:2601.10306) or efficiency_eapo (arXiv:2511.07327)"
        )
    if name not in ESTIMATORS:
        raise KeyError(f"advantage.name={name!r} is unknown: give one of {', '.join(ESTIMATORS)}")
    return ESTIMATORS[name]


def _check_options(c):
    estimator = find(c.name)
    changed = [k for k, v in _DEFAULTS.items() if getattr(c, k) != v]
    for key in changed:
        options.check(key, getattr(c, key))
    foreign = [k for k in changed if k not in estimator.takes]
    if foreign:
        raise ValueError(
            f"advantage.{foreign[0]}={getattr(c, foreign[0])!r}: {c.name} does not take it; "
            f"it takes {', '.join(estimator.takes) or 'no option'}"
        )
    twice = [k for k in changed if k in KNOBS]
    if c.style and twice:
        raise ValueError(
            f"advantage.style={c.style!r} sets {', '.join(twice)} too: drop one or the other"
        )
    if c.name == "gigpo" and c.std_level == "batch":
        raise ValueError("advantage.std_level='batch': gigpo has group or none")


def _check_evidence(c, group_size):
    """A right answer with the worst evidence must beat a wrong one with the best."""
    most = c.evidence_weight * evidence.evidence_range(c.evidence_mode, group_size)
    if most >= c.outcome_weight:
        raise ValueError(
            f"advantage.evidence_weight={c.evidence_weight}: with evidence_mode="
            f"{c.evidence_mode!r} evidence can be worth {most:.3g} in a group of {group_size}, "
            f"an outcome {c.outcome_weight}; lower it, or raise advantage.outcome_weight"
        )
