"""Preference losses by name, all of the signature of `algos.objectives`:

    (sum, stats) = PREFERENCES[c.name](logp, entropy, rows, c)

A pair is a prompt with two responses: one rows.group, rows.adv 1 on the tokens of the preferred one
and −1 on the other's. KTO has a response alone, 1 or −1, and beside it, with rows.adv 0, another
example's response to the same prompt, from which its baseline is estimated. For bradley_terry, logp
is the reward and only a response's last token is scored. The divisor counts pairs, or responses.
"""

import dataclasses
import functools
import math

import jax.numpy as jnp

from jaxrl.algos import options
from jaxrl.ops import preference_losses
from jaxrl.ops.ratios import segment_sum


@dataclasses.dataclass(frozen=True)
class PreferenceConfig:
    """The `loss` keys of a preference config; None becomes the default in OPTIONS."""

    name: str = "dpo"
    beta: float | None = None
    gamma: float | None = None
    weight: float | None = None
    desirable: float | None = None
    undesirable: float | None = None

    def __post_init__(self):
        options.fill(self, OPTIONS, _CHECKS)


def bradley_terry(logp, entropy, rows, c):
    """A reward model from pairs: `ops.preference_losses.bradley_terry`, arXiv:2203.02155."""
    won, lost, found = _pairs(logp, rows)
    return _sums(preference_losses.bradley_terry(won, lost), found)


def dpo(logp, entropy, rows, c):
    """`ops.preference_losses.dpo`, arXiv:2305.18290."""
    won, lost, found = _pairs(logp, rows)
    ref_won, ref_lost, _ = _pairs(rows.ref_logp, rows)
    return _sums(preference_losses.dpo(won, lost, ref_won, ref_lost, beta=c.beta), found)


def ipo(logp, entropy, rows, c):
    """`ops.preference_losses.ipo`, arXiv:2310.12036; beta is τ."""
    won, lost, found = _pairs(logp, rows)
    ref_won, ref_lost, _ = _pairs(rows.ref_logp, rows)
    return _sums(preference_losses.ipo(won, lost, ref_won, ref_lost, beta=c.beta), found)


def kto(logp, entropy, rows, c):
    """`ops.preference_losses.kto`, arXiv:2402.01306; z₀ stands in rows.prepared.

    Accuracy counts responses on the right side of the baseline, the margin is their signed reward.
    """
    side = jnp.sign(_sum(rows.adv, rows, rows.mask > 0, rows.sample))
    of = lambda x: _sum(x, rows, rows.adv != 0, rows.sample)
    baseline = rows.prepared.max(axis=1, keepdims=True)
    knobs = {"beta": c.beta, "desirable": c.desirable, "undesirable": c.undesirable}
    loss, gain, zero = preference_losses.kto(
        of(logp), of(rows.ref_logp), side > 0, baseline, **knobs
    )
    return _sums(
        (loss, jnp.where(side > 0, gain, zero), jnp.where(side < 0, gain, zero)), side != 0
    )


def simpo(logp, entropy, rows, c):
    """`ops.preference_losses.simpo`, arXiv:2405.14734."""
    won, lost, found = _pairs(logp, rows)
    lengths = _lengths(rows)
    knobs = {"beta": c.beta, "gamma": c.gamma}
    return _sums(preference_losses.simpo(won, lost, *lengths, **knobs), found)


def orpo(logp, entropy, rows, c):
    """`ops.preference_losses.orpo`, arXiv:2403.07691."""
    won, lost, found = _pairs(logp, rows)
    return _sums(preference_losses.orpo(won, lost, *_lengths(rows), weight=c.weight), found)


def prepare(c):
    """As `objectives.prepare`: KTO's z₀ from the whole batch, None for the others."""
    return functools.partial(_baseline, c=c) if c.name == "kto" else None


def _baseline(logp, entropy, rows, c):
    """z₀ = max(0, mean of log π(y')/π_ref(y') over responses y' to other prompts), everywhere."""
    flat = lambda x: x.reshape(-1, x.shape[-1])
    other = jnp.where((rows.mask > 0) & (rows.adv == 0), logp - rows.ref_logp, 0)
    marked = flat((rows.mask > 0) & (rows.adv == 0)).astype(jnp.float32)
    count = (segment_sum(marked, flat(rows.sample)) > 0).sum()
    mean = other.sum() / jnp.maximum(count, 1)
    return jnp.full(rows.mask.shape, jnp.maximum(mean, 0), jnp.float32)


PREFERENCES = {
    "bradley_terry": bradley_terry,
    "dpo": dpo,
    "ipo": ipo,
    "kto": kto,
    "simpo": simpo,
    "orpo": orpo,
}
OPTIONS = {  # the keys each loss takes, with their defaults
    "bradley_terry": {},
    "dpo": {"beta": 0.1},
    "ipo": {"beta": 0.1},
    "kto": {"beta": 0.1, "desirable": 1.0, "undesirable": 1.0},
    "simpo": {"beta": 2.0, "gamma": 1.0},
    "orpo": {"weight": 0.1},
}
_ABOVE_0 = (lambda x: 0 < x < math.inf, "a number above 0")
_FROM_0 = (lambda x: 0 <= x < math.inf, "a number above 0")  # 0 takes a part of the loss away
_CHECKS = {
    "beta": _ABOVE_0,
    "gamma": _FROM_0,
    "weight": _FROM_0,
    "desirable": _ABOVE_0,
    "undesirable": _ABOVE_0,
}
NEED_A_REFERENCE = frozenset({"dpo", "ipo", "kto"})
UNPAIRED = frozenset({"kto"})  # learn from single responses
REWARD_MODELS = frozenset({"bradley_terry"})  # train a scalar head


def _sum(x, rows, among, ids):
    """Sums of x over the tokens `among` of each id in its row: [N, M] -> [N, M], second M = id."""
    return segment_sum(jnp.where((rows.mask > 0) & among, x, 0), ids)


def _pairs(x, rows):
    """Sums over the preferred and the other response of each pair, and which pairs there are."""
    won, lost = (_sum(x, rows, side, rows.group) for side in (rows.adv > 0, rows.adv < 0))
    return won, lost, _sum(jnp.ones_like(rows.adv), rows, rows.adv > 0, rows.group) > 0


def _lengths(rows):
    one = jnp.ones_like(rows.adv)
    sides = (rows.adv > 0, rows.adv < 0)
    return [jnp.maximum(_sum(one, rows, side, rows.group), 1) for side in sides]


def _sums(result, found):
    """Sums over the pairs there are; the other places hold zeros of no meaning."""
    loss, won, lost = result
    total = lambda x: jnp.where(found, x, 0).sum()
    stats = {
        "preference/accuracy": total((won > lost).astype(jnp.float32)),
        "preference/margin": total(won - lost),
        "preference/chosen": total(won),
        "preference/rejected": total(lost),
        "weight": found.sum().astype(jnp.float32),
    }
    return total(loss), stats
