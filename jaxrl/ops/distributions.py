"""The law that tokens are sampled from: temperature, then top-k, then top-p, and its log-probs.

No sort of the vocabulary anywhere: a cut is a threshold on the logits, found by bisection. Equal
logits stand or fall together, so a cut may keep more than k tokens (our choice; the order of the
vocabulary must not matter).
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

BLOCK = 128  # neighbouring tokens that the draw sums first; the lane count of a TPU
NEAR = 64  # blocks that a cut searches before the whole vocabulary


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


class Laws(NamedTuple):
    """A law a row: [B] each, with the meanings of `Law`."""

    temperature: jax.Array  # f32
    top_k: jax.Array  # int32
    top_p: jax.Array  # f32


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
    x_BV = logits_BV.astype(jnp.float32) / law.temperature
    if law.top_k or law.top_p < 1:
        x_BV = jnp.where(x_BV >= _threshold(x_BV, _by_block(jnp.max, x_BV), law), x_BV, -jnp.inf)
    return jax.nn.log_softmax(x_BV, axis=1)


def draw(logits_BV, u_B, law):
    """One token a row by inverting the cumulative sum in two levels: of blocks, then inside one.

    Never a token of probability 0, whatever u in [0, 1] and however the sums round. Probabilities
    hold to about 1e-7, the spacing of u itself.

    logits_BV: any float.  u_B: f32.  returns: token_B int32; logp_B f32 under the law (greedy: 0);
    full_logp_B f32 under softmax(logits / temperature), nothing cut off (greedy: temperature 1).
    """
    x_BV = logits_BV.astype(jnp.float32) / (law.temperature or 1.0)
    peak_BN = _by_block(jnp.max, x_BV)
    top_B1 = peak_BN.max(axis=1, keepdims=True)
    mass_BN = _by_block(jnp.sum, jnp.exp(x_BV - top_B1))
    log_full_B = jnp.log(mass_BN.sum(axis=1))
    if law.temperature == 0:
        block_B = peak_BN.argmax(axis=1).astype(jnp.int32)
        inner_B = _open(x_BV, block_B[:, None]).argmax(axis=1).astype(jnp.int32)
        return block_B * BLOCK + inner_B, jnp.zeros_like(log_full_B), -log_full_B
    weigh = lambda x: jnp.exp(x - top_B1)
    if law.top_k or law.top_p < 1:
        floor_B1 = _threshold(x_BV, peak_BN, law)
        weigh = lambda x: jnp.where(x >= floor_B1, jnp.exp(x - top_B1), 0.0)
        mass_BN = _by_block(jnp.sum, weigh(x_BV))
    token_B, x_B = _draw(x_BV, weigh, mass_BN, u_B)
    x_B = x_B - top_B1[:, 0]
    return token_B, x_B - jnp.log(mass_BN.sum(axis=1)), x_B - log_full_B


def draw_each(logits_BV, u_B, laws, allowed_BV=None):
    """`draw` with a law of its own for each row; same arguments and results otherwise.

    Cuts are looked for only while some row asks for one. allowed_BV: bool; the law is that of the
    allowed tokens alone, one a row at least, while full_logp counts all.
    """
    greedy_B = laws.temperature == 0
    x_BV = logits_BV.astype(jnp.float32) / jnp.where(greedy_B, 1, laws.temperature)[:, None]
    peak_BN = _by_block(jnp.max, x_BV)
    top_B1 = peak_BN.max(axis=1, keepdims=True)
    log_full_B = jnp.log(_by_block(jnp.sum, jnp.exp(x_BV - top_B1)).sum(axis=1))
    if allowed_BV is not None:
        x_BV = jnp.where(allowed_BV, x_BV, -jnp.inf)
        peak_BN, before_B1 = _by_block(jnp.max, x_BV), top_B1
        top_B1 = peak_BN.max(axis=1, keepdims=True)
        log_full_B += (before_B1 - top_B1)[:, 0]  # as what follows, relative to the top
    cut_B = ~greedy_B & ((laws.top_k > 0) | (laws.top_p < 1))
    none_B1 = jnp.full_like(top_B1, -jnp.inf)
    cuts = lambda: jnp.where(cut_B[:, None], _threshold_each(x_BV, peak_BN, laws), none_B1)
    floor_B1 = jnp.where(
        greedy_B[:, None], top_B1, jax.lax.cond(cut_B.any(), cuts, lambda: none_B1)
    )
    weigh = lambda x: jnp.where(x >= floor_B1, jnp.exp(x - top_B1), 0.0)
    mass_BN = _by_block(jnp.sum, weigh(x_BV))
    # Greedy: the first of the largest, whatever u is.
    token_B, x_B = _draw(x_BV, weigh, mass_BN, jnp.where(greedy_B, 0, u_B))
    x_B = x_B - top_B1[:, 0]
    logp_B = jnp.where(greedy_B, 0, x_B - jnp.log(mass_BN.sum(axis=1)))
    return token_B, logp_B, x_B - log_full_B


def _draw(x_BV, weigh, mass_BN, u_B):
    """A token a row and its x, by the mass of blocks, then of the tokens of one."""
    block_B, rest_B = _invert(mass_BN, u_B * mass_BN.sum(axis=1))
    x_BK = _open(x_BV, block_B[:, None])
    inner_B, _ = _invert(weigh(x_BK), rest_B)
    return block_B * BLOCK + inner_B, _pick(x_BK, inner_B)


def collision(logits_BV, law):
    """Σ_v π_v², the chance that two draws agree, of softmax(logits / temperature), nothing cut off.

    logits_BV: any float.  returns: [B] f32. Greedy: at temperature 1, as the log-probs of `draw`.
    """
    logp_BV = jax.nn.log_softmax(logits_BV.astype(jnp.float32) / (law.temperature or 1.0), axis=1)
    return jnp.exp(2 * logp_BV).sum(axis=1)


def uniforms(key, row_B, step):
    """One uniform in [0, 1) a row, from (key, row id, step) alone.  row_B: int32.  [B] f32."""
    key = jax.random.fold_in(key, step)
    return jax.vmap(lambda row: jax.random.uniform(jax.random.fold_in(key, row)))(row_B)


def uniforms_each(key, row_B, step_B):
    """`uniforms` with a step of its own for each row."""
    one = lambda row, step: jax.random.fold_in(jax.random.fold_in(key, step), row)
    return jax.vmap(lambda row, step: jax.random.uniform(one(row, step)))(row_B, step_B)


def _threshold_each(x_BV, peak_BN, laws):
    """`_threshold` with a law of its own for each row."""
    top_B1 = peak_BN.max(axis=1, keepdims=True)
    k_B = jnp.where(laws.top_k > 0, laws.top_k, x_BV.shape[1])
    floor_B1 = _cut(x_BV, peak_BN, jnp.ones_like, k_B[:, None].astype(jnp.float32))
    weigh = lambda x: jnp.where(x >= floor_B1, jnp.exp(x - top_B1), 0.0)
    need_B1 = laws.top_p[:, None] * weigh(x_BV).sum(axis=1, keepdims=True)
    return jnp.maximum(floor_B1, _cut(x_BV, peak_BN, weigh, need_B1))


def _threshold(x_BV, peak_BN, law):
    """The least x that top-k and then top-p keep.  peak_BN: the largest x of a block.  [B, 1]."""
    top_B1 = peak_BN.max(axis=1, keepdims=True)
    floor_B1 = jnp.full_like(top_B1, -jnp.inf)
    if law.top_k:
        k = jnp.full_like(top_B1, min(law.top_k, x_BV.shape[1]))
        floor_B1 = _cut(x_BV, peak_BN, jnp.ones_like, k)
    if law.top_p < 1:
        weigh = lambda x: jnp.where(x >= floor_B1, jnp.exp(x - top_B1), 0.0)
        need_B1 = law.top_p * weigh(x_BV).sum(axis=1, keepdims=True)
        return jnp.maximum(floor_B1, _cut(x_BV, peak_BN, weigh, need_B1))
    return floor_B1


def _cut(x_BV, peak_BN, weigh, need_B1):
    """The largest θ with Σ_{x ≥ θ} weigh(x) ≥ need, exactly.  [B, 1].

    Looks first into the blocks of largest peak. Whatever lies outside them is at most the next
    peak, so a θ above that peak is final. Rows without one search the whole vocabulary; the others
    keep theirs even then, so that no row depends on its neighbours by a rounding.
    """
    least_B1 = x_BV.min(axis=1, keepdims=True)
    if peak_BN.shape[1] <= NEAR:
        return _bisect(x_BV, weigh(x_BV), need_B1, least_B1)
    peak_BM, block_BM = jax.lax.top_k(peak_BN, NEAR + 1)
    x_BC, bound_B1 = _open(x_BV, block_BM[:, :NEAR]), peak_BM[:, NEAR:]
    near_B1 = _bisect(x_BC, weigh(x_BC), need_B1, bound_B1)
    sure_B1 = near_B1 > bound_B1
    far_B1 = lambda: _bisect(x_BV, weigh(x_BV), need_B1, least_B1)
    pick = lambda: jnp.where(sure_B1, near_B1, far_B1())
    return jax.lax.cond(sure_B1.all(), lambda: near_B1, pick)


def _bisect(x_BV, weight_BV, need_B1, low_B1):
    """The largest θ > low with Σ_{x ≥ θ} weight ≥ need; low if there is none.  [B, 1] f32.

    Halves the range of floats, not of reals: 32 steps leave a single one.
    """

    def halve(_, bounds):
        low_B1, high_B1 = bounds
        mid_B1 = (low_B1 & high_B1) + ((low_B1 ^ high_B1) >> 1)  # the mean, without overflow
        above_BV = jnp.where(x_BV >= _float(mid_B1), weight_BV, 0.0)
        enough_B1 = above_BV.sum(axis=1, keepdims=True) >= need_B1
        return jnp.where(enough_B1, mid_B1, low_B1), jnp.where(enough_B1, high_B1, mid_B1)

    high_B1 = _ordinal(x_BV.max(axis=1, keepdims=True)) + 1
    return _float(jax.lax.fori_loop(0, 32, halve, (_ordinal(low_B1), high_B1))[0])


def _ordinal(x):
    """f32 -> int32 in the same order: negative floats have their bits flipped below the sign."""
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def _float(ordinal):
    bits = ordinal ^ ((ordinal >> 31) & 0x7FFFFFFF)
    return jax.lax.bitcast_convert_type(bits, jnp.float32)


def _by_block(reduce, x_BV):
    """Reduces each block of the vocabulary, of which the last may be short.  [B, N]."""
    B, V = x_BV.shape
    whole = V - V % BLOCK  # padding the logits instead would copy them
    parts = [reduce(x_BV[:, :whole].reshape(B, -1, BLOCK), axis=2)]
    if whole < V:
        parts.append(reduce(x_BV[:, whole:], axis=1, keepdims=True))
    return jnp.concatenate(parts, axis=1)


def _open(x_BV, block_BM):
    """The tokens of the given blocks, −∞ past the end of the vocabulary.  [B, M · BLOCK]."""
    column_BMK = block_BM[:, :, None] * BLOCK + jnp.arange(BLOCK)
    column_BC = column_BMK.reshape(len(block_BM), -1)
    return jnp.take_along_axis(x_BV, column_BC, axis=1, mode="fill", fill_value=-jnp.inf)


def _invert(mass_BN, aim_B):
    """The item at which the cumulative mass passes the aim, and how far into it the aim lies.

    Only an item of positive mass: a parallel cumulative sum is not monotone in floating point, so
    it may seem to pass the aim at an empty one. The heaviest item if rounding leaves none.
    """
    sums_BN = jnp.cumsum(mass_BN, axis=1)
    hit_BN = (sums_BN > aim_B[:, None]) & (mass_BN > 0)
    item_B = jnp.where(hit_BN.any(axis=1), hit_BN.argmax(axis=1), mass_BN.argmax(axis=1))
    return item_B.astype(jnp.int32), aim_B - _pick(sums_BN - mass_BN, item_B)


def _pick(x_BN, item_B):
    return jnp.take_along_axis(x_BN, item_B[:, None], axis=1)[:, 0]
