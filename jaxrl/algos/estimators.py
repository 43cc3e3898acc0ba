"""Advantage estimators by name. An estimator is a kernel, an oracle and a line in ESTIMATORS.

    adv = estimate(signals, EstimatorConfig(name="grpo"))     # [B], over the global batch

Advantages are computed before any split into rows or micro-batches, and stay [B] until the loss.
"""

import dataclasses

import numpy as np

from jaxrl.ops import advantages

# What other libraries compute, to compare with them: at 8 samples ddof alone moves |A| by 7 %.
STYLES = {
    "verl": dict(ddof=1, eps=1e-6, eps_mode="add", singleton="raw", zero_std_rel_tol=0.0),
    "trl": dict(ddof=1, eps=1e-4, eps_mode="add", singleton="zero", zero_std_rel_tol=0.0),
    "tunix": dict(ddof=1, eps=1e-6, eps_mode="add", singleton="zero", zero_std_rel_tol=0.0),
    "openrlhf": dict(ddof=1, eps=1e-9, eps_mode="add", singleton="zero", zero_std_rel_tol=0.0),
}


@dataclasses.dataclass(frozen=True)
class EstimatorConfig:
    """The `advantage` keys of a config; `ops.advantages.normalise` says what each one does.

    singleton: "error" refuses, on the host, a batch in which a group has one scorable reward.
    style: "", or a key of STYLES that sets the five keys above it.
    """

    name: str = "grpo"
    ddof: int = 1
    eps: float = 1e-6
    eps_mode: str = "add"
    singleton: str = "zero"
    zero_std_rel_tol: float = 1e-6
    style: str = ""

    def __post_init__(self):
        _find(self.name)
        changed = [k for k, v in _KNOB_DEFAULTS.items() if getattr(self, k) != v]
        rules = {
            "ddof": (self.ddof in (0, 1), "0 (population) or 1 (sample)"),
            "eps": (0 <= self.eps < 1, "in [0, 1)"),
            "eps_mode": (self.eps_mode in ("add", "floor"), "add or floor"),
            "singleton": (self.singleton in ("zero", "raw", "error"), "zero, raw or error"),
            "zero_std_rel_tol": (0 <= self.zero_std_rel_tol < 1, "in [0, 1)"),
            "style": (not self.style or self.style in STYLES, f"empty or {_names(STYLES)}"),
        }
        for key, (ok, fix) in rules.items():
            if not ok:
                raise ValueError(f"advantage.{key}={getattr(self, key)!r}: give {fix}")
        if self.style and changed:
            raise ValueError(
                f"advantage.style={self.style!r} sets {_names(changed)} too: drop one or the other"
            )


_KNOB_DEFAULTS = {
    f.name: f.default
    for f in dataclasses.fields(EstimatorConfig)
    if f.name not in ("name", "style")
}


def estimate(signals, c):
    """Advantages [B] f32 of the whole batch, by the estimator c.name; unscorable rewards get 0."""
    if c.singleton == "error":
        _refuse_singletons(signals)
    return _find(c.name)(signals, c)


def check(c, group_size):
    """Refuses, before any compute, a group size with which the estimator has nothing to compare."""
    if c.name in NEED_A_GROUP and group_size < 2:
        raise ValueError(
            f"rollout.group={group_size}: {c.name} compares the samples of one prompt, "
            "and a single sample has advantage 0; set rollout.group to 2 or more"
        )


def dense_ids(ids):
    """Sparse host ids [B] of any integer or string type -> (int32 ids [B] in [0, n), n)."""
    values, dense = np.unique(np.asarray(ids), return_inverse=True)
    return dense.astype(np.int32).reshape(-1), len(values)


def grpo(signals, c):
    """A_i = (r_i − μ) / (σ + ε) over the samples of a prompt.

    Shao et al. 2024, arXiv:2402.03300, §4.1.2. Unscorable: 0, and outside of μ and σ. Equal
    rewards: exactly 0. One scorable reward: 0, or r / (1 + ε) with singleton "raw".
    """
    n = signals.num_groups
    ids = signals.group
    return advantages.normalise(
        signals.rewards, ids, ids, num_groups=n, num_std_groups=n, **_knobs(c)
    )


def dr_grpo(signals, c):
    """A_i = r_i − μ over the samples of a prompt; pair it with `seq_mean_token_sum_norm`.

    Liu et al. 2025, arXiv:2503.20783. Edge cases as in grpo, with "raw" giving r; ddof and ε idle.
    """
    return advantages.normalise(
        signals.rewards, signals.group, None, num_groups=signals.num_groups, **_knobs(c)
    )


def rloo(signals, c):
    """A_i = r_i − mean_{j≠i} r_j = n/(n−1) (r_i − μ) over the n scorable samples of a prompt.

    Ahmadian et al. 2024, arXiv:2402.14740. Edge cases as in dr_grpo.
    """
    return advantages.normalise(
        signals.rewards,
        signals.group,
        None,
        num_groups=signals.num_groups,
        leave_one_out=True,
        **_knobs(c),
    )


ESTIMATORS = {"grpo": grpo, "dr_grpo": dr_grpo, "rloo": rloo}
NEED_A_GROUP = frozenset({"grpo", "dr_grpo", "rloo"})


def _find(name):
    if name == "eapo":
        raise KeyError(
            "advantage.name='eapo' is what two papers call theirs: give evidence_eapo "
            "(arXiv:2601.10306) or efficiency_eapo (arXiv:2511.07327)"
        )
    if name not in ESTIMATORS:
        raise KeyError(f"advantage.name={name!r} is unknown: give one of {_names(ESTIMATORS)}")
    return ESTIMATORS[name]


def _knobs(c):
    """The kernel arguments of a config; "error" has been dealt with on the host by now."""
    knobs = STYLES[c.style] if c.style else {k: getattr(c, k) for k in _KNOB_DEFAULTS}
    return knobs | {"singleton": "raw" if knobs["singleton"] == "raw" else "zero"}


def _refuse_singletons(signals):
    scorable = np.isfinite(np.asarray(signals.rewards))
    counts = np.bincount(np.asarray(signals.group)[scorable], minlength=signals.num_groups)
    if (counts == 1).any():
        raise ValueError(
            f"advantage.singleton='error': groups {np.flatnonzero(counts == 1).tolist()} have one "
            "scorable reward; sample more, or set advantage.singleton to zero or raw"
        )


def _names(names):
    return ", ".join(names)
