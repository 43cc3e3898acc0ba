"""Policy objectives by name, all of one signature:

    (sum, stats) = OBJECTIVES[c.name](logp, entropy, rows, c)

The sum is to be minimised. stats are sums too, and stats["weight"] is the divisor of them all; sums
of micro-batches add up to those of the batch, and the train step divides once. What an objective
needs of the whole batch (`prepare`) stands in rows.prepared by then. An objective is a kernel in
`ops/`, a function in `policy_objectives.py`, and a line here in OBJECTIVES and in OPTIONS.
"""

import dataclasses
import functools
import math

from jaxrl.algos import options, policy_objectives
from jaxrl.ops.aggregations import AGGREGATIONS
from jaxrl.ops.corrections import CORRECTIONS
from jaxrl.ops.kl import KL_FORMS

OBJECTIVES = {
    "ppo_clip": policy_objectives.ppo_clip,
    "dapo": policy_objectives.ppo_clip,
    "dr_grpo": policy_objectives.ppo_clip,
    "bnpo": policy_objectives.ppo_clip,
    "gspo": policy_objectives.gspo,
    "two_sided_clip": policy_objectives.two_sided_clip,
    "decoupled_ppo": policy_objectives.decoupled_ppo,
    "cispo": policy_objectives.cispo,
    "gpg": policy_objectives.gpg,
    "sapo": policy_objectives.sapo,
    "gmpo": policy_objectives.gmpo,
    "clip_cov": policy_objectives.clip_cov,
    "kl_cov": policy_objectives.kl_cov,
    "dppo_tv": policy_objectives.dppo_tv,
    "dppo_kl": policy_objectives.dppo_kl,
    "dro": policy_objectives.dro,
    "sft": policy_objectives.sft,
}

_AVERAGED = {"aggregation": "token_mean", "max_length": 0}
_PENALISED = {"kl_coef": 0.0, "kl_form": "k3", "kl_limit": 20.0, "entropy_coef": 0.0}
_POLICY = _AVERAGED | _PENALISED | {"correction": "none"}
_ANY = _POLICY | {"top_entropy": 1.0}
_CLIP = {"eps_low": 0.2, "eps_high": 0.2}
_PPO = _ANY | _CLIP | {"dual_clip": 0.0, "ratio": "token"}
_BY_RESPONSE = {"aggregation": "seq_mean_token_mean"}
_COV = _POLICY | {"cov_share": 2e-4}

OPTIONS = {  # the keys each objective takes, with the default of its paper (0.2 and so on)
    "ppo_clip": _PPO,
    "dapo": _PPO | {"eps_high": 0.28},
    "dr_grpo": _PPO | {"aggregation": "seq_mean_token_sum_norm"},
    "bnpo": _PPO,
    "gspo": _PPO | _BY_RESPONSE | {"eps_low": 3e-4, "eps_high": 4e-4, "ratio": "sequence"},
    "two_sided_clip": _ANY | _CLIP | {"delta": 4.0, "ratio": "token"},
    "decoupled_ppo": {k: v for k, v in _PPO.items() if k != "correction"},
    "cispo": _ANY | {"eps_low": 1.0, "eps_high": 4.0},
    "gpg": _ANY,
    "sapo": _ANY | _BY_RESPONSE | {"tau_pos": 1.0, "tau_neg": 1.05},
    "gmpo": _ANY | _BY_RESPONSE | {"eps_low": 0.4, "eps_high": 0.4},
    "clip_cov": _COV | _CLIP | {"cov_low": 1.0, "cov_high": 5.0},
    "kl_cov": _COV | {"cov_coef": 1.0},
    "dppo_tv": _ANY | {"eps_low": 0.15, "eps_high": 0.15, "max_ratio": 20.0},
    "dppo_kl": _ANY | {"eps_low": 0.05, "eps_high": 0.05, "max_ratio": 20.0},
    "dro": _ANY | {"beta": 0.1},
    "sft": _AVERAGED,
}
BOUNDS = {  # the bounds each correction takes; where no paper has them (δ, sequences), our choice
    "none": {},
    "tis_token": {"correction_high": 2.0},
    "tis_sequence": {"correction_high": 2.0},
    "icepop": {"correction_low": 0.5, "correction_high": 5.0},
    "mask_sequence": {"correction_low": 0.5, "correction_high": 2.0},
    "off_policy_mask": {"correction_high": 0.5},
}


@dataclasses.dataclass(frozen=True)
class ObjectiveConfig:
    """The `loss` keys of a config. What is left None becomes the default in OPTIONS or BOUNDS.

    A key that the objective does not take is refused, and stays None. configs/base.py says what
    each key means.
    """

    name: str = "ppo_clip"
    eps_low: float | None = None
    eps_high: float | None = None
    dual_clip: float | None = None
    delta: float | None = None
    ratio: str | None = None
    max_ratio: float | None = None
    tau_pos: float | None = None
    tau_neg: float | None = None
    beta: float | None = None
    cov_share: float | None = None
    cov_low: float | None = None
    cov_high: float | None = None
    cov_coef: float | None = None
    aggregation: str | None = None
    max_length: int | None = None
    kl_coef: float | None = None
    kl_form: str | None = None
    kl_limit: float | None = None
    entropy_coef: float | None = None
    top_entropy: float | None = None
    correction: str | None = None
    correction_low: float | None = None
    correction_high: float | None = None

    def __post_init__(self):
        options.fill(self, OPTIONS, _RULES, further=("correction", BOUNDS))
        options.require(
            self.max_length or self.aggregation != "seq_mean_token_sum_norm",
            "max_length",
            self.max_length,
            "the longest response allowed",
        )
        if self.name == "gspo":
            _check_gspo(self)
        if self.delta is not None:
            fix = f"more than 1 + loss.eps_high = {1 + self.eps_high}"
            options.require(1 + self.eps_high < self.delta < math.inf, "delta", self.delta, fix)


def prepare(c):
    """f(logp, entropy, rows) -> rows.prepared, from the whole batch at once, or None if not needed.

    The arrays may have any leading axes, those of micro-batches for one.
    """
    if c.name in PREPARE:
        return functools.partial(PREPARE[c.name], c=c)
    if c.top_entropy is not None and c.top_entropy < 1:
        return functools.partial(policy_objectives.select_entropy, c=c)
    return None


def check(c, old_logp):
    """Refuses what compares the learner with the sampler where old_logp says not to compute it."""
    needs = "loss.name='decoupled_ppo'" if c.name == "decoupled_ppo" else None
    if c.correction not in (None, "none", "off_policy_mask"):
        needs = f"loss.correction={c.correction!r}"
    if needs and old_logp != "learner":
        raise ValueError(
            f"learner.old_logp={old_logp!r}: {needs} weighs the learner's log-probs before the "
            "update against the sampler's; give learner"
        )


PREPARE = {
    "clip_cov": policy_objectives.select_clip_cov,
    "kl_cov": policy_objectives.select_kl_cov,
}

_POSITIVE = (lambda x: 0 < x < math.inf, "above 0")
_WEIGHT = (lambda x: 0 <= x < math.inf, "0 or more")
_SHARE = (lambda x: 0 < x <= 1, "in (0, 1]")


def _names(names):
    return ", ".join(names)


def _one_of(table):
    return (lambda x: x in table, f"one of {_names(table)}")


_RULES = {  # of keys that are set
    "eps_low": _SHARE,
    "eps_high": _POSITIVE,
    "dual_clip": (lambda x: x == 0 or 1 < x < math.inf, "0 (off) or above 1"),
    "ratio": _one_of(policy_objectives.RATIOS),
    "max_ratio": (lambda x: 1 <= x < math.inf, "1 or more"),
    "tau_pos": _POSITIVE,
    "tau_neg": _POSITIVE,
    "beta": _WEIGHT,
    "cov_share": _SHARE,
    "cov_low": (math.isfinite, "a number"),
    "cov_high": (math.isfinite, "a number"),
    "cov_coef": _WEIGHT,
    "aggregation": _one_of(AGGREGATIONS),
    "max_length": (lambda x: x >= 0, "0 or more"),
    "kl_coef": _WEIGHT,
    "kl_form": _one_of(KL_FORMS),
    "kl_limit": _POSITIVE,
    "entropy_coef": _WEIGHT,
    "top_entropy": _SHARE,
    "correction": _one_of(CORRECTIONS),
    "correction_low": _WEIGHT,
    "correction_high": _WEIGHT,
}


def _check_gspo(c):
    if c.ratio not in ("sequence", "sequence_token") or c.aggregation != "seq_mean_token_mean":
        raise ValueError(
            f"loss.name='gspo' with loss.ratio={c.ratio!r} and loss.aggregation={c.aggregation!r}: "
            "give ratio sequence or sequence_token and aggregation seq_mean_token_mean, or use "
            "ppo_clip for other mixtures"
        )
