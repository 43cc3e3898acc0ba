"""Policy objectives by name, all of one signature:

    (sum, stats) = OBJECTIVES[c.name](logp, entropy, rows, c)

The sum is to be minimised. stats are sums too, and stats["weight"] is the divisor of them all; sums
of micro-batches add up to those of the batch, and the train step divides once. GRPO, DAPO and
Dr.GRPO are settings of "ppo_clip":

    GRPO      aggregation="seq_mean_token_mean", kl_coef=0.04
    DAPO      aggregation="token_mean", eps_high=0.28
    Dr.GRPO   aggregation="seq_mean_token_sum_norm", max_length=the longest response allowed
"""

import dataclasses

import jax.numpy as jnp

from jaxrl.ops import policy_losses


@dataclasses.dataclass(frozen=True)
class ObjectiveConfig:
    """The `loss` keys of a config."""

    name: str = "ppo_clip"
    eps_low: float = 0.2
    eps_high: float = 0.2
    dual_clip: float = 0.0  # c of the dual clip; 0 = off
    ratio: str = "token"  # a key of RATIOS
    aggregation: str = "token_mean"  # a key of ops.policy_losses.AGGREGATIONS
    max_length: int = 0  # L_max of seq_mean_token_sum_norm
    kl_coef: float = 0.0  # weight of KL(π ‖ π_ref); 0 = no reference needed
    kl_form: str = "k3"  # a key of ops.policy_losses.KL_FORMS
    entropy_coef: float = 0.0

    def __post_init__(self):
        if self.name not in OBJECTIVES:
            raise KeyError(f"loss.name={self.name!r} is unknown: give one of {_names(OBJECTIVES)}")
        known = policy_losses.AGGREGATIONS
        needs_length = self.aggregation == "seq_mean_token_sum_norm"
        rules = {
            "eps_low": (0 < self.eps_low <= 1, "in (0, 1]"),
            "eps_high": (0 < self.eps_high < float("inf"), "above 0"),
            "dual_clip": (self.dual_clip == 0 or self.dual_clip > 1, "0 (off) or above 1"),
            "ratio": (self.ratio in RATIOS, _names(RATIOS)),
            "aggregation": (self.aggregation in known, _names(known)),
            "max_length": (self.max_length > 0 or not needs_length, "the longest response allowed"),
            "kl_coef": (0 <= self.kl_coef < float("inf"), "0 or more"),
            "kl_form": (self.kl_form in policy_losses.KL_FORMS, _names(policy_losses.KL_FORMS)),
            "entropy_coef": (0 <= self.entropy_coef < float("inf"), "0 or more"),
        }
        for key, (ok, fix) in rules.items():
            if not ok:
                raise ValueError(f"loss.{key}={getattr(self, key)!r}: give {fix}")
        if self.name == "gspo":
            _check_gspo(self)


def ppo_clip(logp, entropy, rows, c):
    """−Σ w_t min(ρ_t A_t, clip(ρ_t, 1−ε_low, 1+ε_high) A_t), w_t by c.aggregation.

    Schulman et al. 2017, arXiv:1707.06347, eq. 7; the variants are listed in the kernels
    `ops.policy_losses.clipped_surrogate`, the ratios and the aggregations.

    logp, entropy: [N, M] f32 of the present policy; junk is allowed where rows.mask is 0.
    """
    ratio = RATIOS[c.ratio](logp, rows.old_logp, rows.mask, rows.sample)
    adv = jnp.where(rows.mask > 0, rows.adv, 0)
    value, clipped = policy_losses.clipped_surrogate(
        ratio, adv, eps_low=c.eps_low, eps_high=c.eps_high, dual_clip=c.dual_clip
    )
    # The tokens were sampled from the old policy, so this is KL(old ‖ new).
    moved = policy_losses.kl(rows.old_logp, logp, rows.mask, "k3")
    extra = {"policy/clip_fraction": clipped, "policy/kl": moved}
    return _sums(-value, logp, entropy, rows, c, extra)


def gspo(logp, entropy, rows, c):
    """The clipped objective with one ratio a response, averaged over responses.

    Zheng et al. 2025, arXiv:2507.18071, eq. 5 (ratio "sequence") and eq. 13 ("sequence_token").
    Ratios of whole responses stay near 1: the paper clips at 3e-4 below and 4e-4 above.

    Arguments and result as in ppo_clip; the name only insists on the settings the paper has.
    """
    return ppo_clip(logp, entropy, rows, c)


def sft(logp, entropy, rows, c):
    """−Σ w_t log π(y_t): the negative log-likelihood; advantages and old log-probs are not read."""
    return _sums(-jnp.where(rows.mask > 0, logp, 0), logp, entropy, rows, c, {})


RATIOS = {
    "token": lambda logp, old_logp, mask, sample: policy_losses.token_ratio(logp, old_logp, mask),
    "sequence": policy_losses.sequence_ratio,
    "sequence_token": policy_losses.sequence_token_ratio,
}
OBJECTIVES = {"ppo_clip": ppo_clip, "gspo": gspo, "sft": sft}

# Statistics are averages: same divisor, but weights that sum to it (those of 1/L_max do not).
_AVERAGE = {
    "token_mean": "token_mean",
    "seq_mean_token_mean": "seq_mean_token_mean",
    "seq_mean_token_sum_norm": "seq_mean_token_mean",
}


def _sums(loss, logp, entropy, rows, c, extra):
    """Adds the KL and entropy terms, weighs and sums. extra: further statistics, [N, M] each."""
    entropy = jnp.where(rows.mask > 0, entropy, 0)
    means = {"policy/entropy": entropy} | extra
    if c.kl_coef:
        ref_kl = policy_losses.kl(logp, rows.ref_logp, rows.mask, c.kl_form)
        means["policy/ref_kl"] = ref_kl
        loss = loss + c.kl_coef * ref_kl
    if c.entropy_coef:
        loss = loss - c.entropy_coef * entropy
    weigh = lambda name: policy_losses.AGGREGATIONS[name](
        rows.mask, rows.sample, max_length=c.max_length
    )
    weight, total = weigh(c.aggregation)
    average, _ = weigh(_AVERAGE[c.aggregation])
    stats = {key: (average * x).sum() for key, x in means.items()}
    return (weight * loss).sum(), stats | {"weight": total}


def _check_gspo(c):
    if c.ratio not in ("sequence", "sequence_token") or c.aggregation != "seq_mean_token_mean":
        raise ValueError(
            f"loss.name='gspo' with loss.ratio={c.ratio!r} and loss.aggregation={c.aggregation!r}: "
            "give ratio sequence or sequence_token and aggregation seq_mean_token_mean, or use "
            "ppo_clip for other mixtures"
        )


def _names(names):
    return ", ".join(names)
