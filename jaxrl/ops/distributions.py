"""The law that tokens are sampled from: temperature, then top-k, then top-p, and its log-probs.

No sort of the vocabulary anywhere: a cut is a threshold on the logits, found by bisection. Equal
logits stand or fall together, so a cut may keep more than k tokens (our choice; the order of the
vocabulary must not matter).
"""

import dataclasses

import jax
import jax.numpy as jnp

BLOCK = 128  # tokens in a block of the two-level draw


@dataclasses.dataclass(frozen=True)
class Law:
    """temperature 0 is greedy; top_k 0 and top_p 1 cut nothing."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self):
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature={self.temperature}: give a number ≥ 0 (0 = greedy)")
        if self.top_k < 0 or self.top_k != int(self.top_k):
            raise ValueError(f"top_k={self.top_k}: give a whole number ≥ 0 (0 = keep all tokens)")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p}: give a number in (0, 1] (1 = keep all tokens)")


def law_logp(logits_BV, law):
    """Log-probs of the law actually sampled.

        x = z / τ;   K = {v: x_v ≥ k-th largest};   P = the smallest {v ∈ K: x_v ≥ θ} with
        Σ_P softmax_K(x) ≥ top_p;   logp_v = x_v − log Σ_{w ∈ P} exp x_w  on P, −∞ elsewhere

    Holtzman et al. 2020, arXiv:1904.09751, eq. 2 for top-p; K before P and ties kept: our choice.

    logits_BV: any float.  returns: [B, V] f32. Greedy: 0 at the first largest logit.
    """
    if law.temperature == 0:
        hit_BV = jnp.arange(logits_BV.shape[1]) == jnp.argmax(logits_BV, axis=1)[:, None]
        return jnp.where(hit_BV, 0.0, -jnp.inf)
    x_BV = _centred(logits_BV, law.temperature)
    return jax.nn.log_softmax(jnp.where(_kept(x_BV, law), x_BV, -jnp.inf), axis=1)


def draw(logits_BV, u_B, law):
    """One token a row by inverting the cumulative sum in two levels: of blocks, then inside one.

    Never a token of probability 0, whatever u in [0, 1] and however the sums round.

    logits_BV: any float.  u_B: f32.  returns: token_B int32; logp_B f32 under the law (greedy: 0);
    full_logp_B f32 under softmax(logits / temperature), nothing cut off (greedy: temperature 1).
    """
    x_BV = _centred(logits_BV, law.temperature or 1.0)
    total_B = jnp.exp(x_BV).sum(axis=1)
    if law.temperature == 0:
        token_B = jnp.argmax(logits_BV, axis=1).astype(jnp.int32)
        return token_B, jnp.zeros_like(total_B), -jnp.log(total_B)
    if law.top_k or law.top_p < 1:
        x_BV = jnp.where(_kept(x_BV, law), x_BV, -jnp.inf)
    x_BNK = _blocks(x_BV)
    sum_BN = jnp.exp(x_BNK).sum(axis=2)
    block_B, rest_B, kept_B = _invert(sum_BN, u_B)
    x_BK = jnp.take_along_axis(x_BNK, block_B[:, None, None], axis=1)[:, 0]
    inner_B = _locate(jnp.exp(x_BK), rest_B)
    x_B = jnp.take_along_axis(x_BK, inner_B[:, None], axis=1)[:, 0]
    return block_B * BLOCK + inner_B, x_B - jnp.log(kept_B), x_B - jnp.log(total_B)


def uniforms(key, row_B, step):
    """One uniform in [0, 1) a row, from (key, row id, step) alone.  row_B: int32.  [B] f32."""
    key = jax.random.fold_in(key, step)
    return jax.vmap(lambda row: jax.random.uniform(jax.random.fold_in(key, row)))(row_B)


def _centred(logits_BV, temperature):
    x_BV = logits_BV.astype(jnp.float32) / temperature
    return x_BV - x_BV.max(axis=1, keepdims=True)


def _kept(x_BV, law):
    """The set the law keeps.  x_BV: centred.  [B, V] bool."""
    kept_BV = jnp.ones(x_BV.shape, bool)
    if law.top_k:
        k = min(law.top_k, x_BV.shape[1])
        kept_BV = x_BV >= _threshold(x_BV, kept_BV.astype(jnp.float32), jnp.float32(k))
    if law.top_p < 1:
        mass_BV = jnp.where(kept_BV, jnp.exp(x_BV), 0.0)
        kept_BV &= x_BV >= _threshold(x_BV, mass_BV, law.top_p * mass_BV.sum(axis=1))
    return kept_BV


def _threshold(x_BV, weight_BV, need_B):
    """The largest θ with Σ_{x ≥ θ} weight ≥ need, exactly.  x_BV ≤ 0.  [B, 1] f32.

    −x ≥ 0, so its bits read as an integer keep its order: 31 halvings of that integer's range.
    """
    depth_BV = jax.lax.bitcast_convert_type(jnp.abs(x_BV), jnp.int32)

    def halve(_, bounds):
        low_B, high_B = bounds  # weight within low < need ≤ weight within high
        mid_B = low_B + (high_B - low_B) // 2
        within_B = jnp.sum(jnp.where(depth_BV <= mid_B[:, None], weight_BV, 0.0), axis=1)
        enough_B = within_B >= need_B
        return jnp.where(enough_B, low_B, mid_B), jnp.where(enough_B, mid_B, high_B)

    low_B = jnp.full(x_BV.shape[0], -1)
    depth_B = jax.lax.fori_loop(0, 31, halve, (low_B, depth_BV.max(axis=1)))[1]
    return -jax.lax.bitcast_convert_type(depth_B, jnp.float32)[:, None]


def _blocks(x_BV):
    pad = -x_BV.shape[1] % BLOCK
    x_BV = jnp.pad(x_BV, ((0, 0), (0, pad)), constant_values=-jnp.inf)
    return x_BV.reshape(x_BV.shape[0], -1, BLOCK)


def _invert(mass_BN, u_B):
    """The item whose share of the cumulative mass holds u, what u leaves inside it, the total."""
    sums_BN = jnp.cumsum(mass_BN, axis=1)
    aim_B = u_B * sums_BN[:, -1]
    item_B = _first_beyond(sums_BN, mass_BN, aim_B)
    take_B = lambda x_BN: jnp.take_along_axis(x_BN, item_B[:, None], axis=1)[:, 0]
    return item_B, aim_B - (take_B(sums_BN) - take_B(mass_BN)), sums_BN[:, -1]


def _locate(mass_BK, aim_B):
    return _first_beyond(jnp.cumsum(mass_BK, axis=1), mass_BK, aim_B)


def _first_beyond(sums_BN, mass_BN, aim_B):
    """First item of positive mass whose sum passes the aim; the largest if rounding leaves none.

    A parallel cumulative sum is not monotone in floating point, hence the test on the mass itself.
    """
    hit_BN = (sums_BN > aim_B[:, None]) & (mass_BN > 0)
    item_B = jnp.where(hit_BN.any(axis=1), hit_BN.argmax(axis=1), mass_BN.argmax(axis=1))
    return item_B.astype(jnp.int32)
