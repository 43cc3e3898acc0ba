"""The single-turn sampler: prompts in, groups of samples out, one compiled program a bucket.

A prompt is prefilled once and its keys and values are shared by its group. Continuous batching and
many turns belong to the slot engine, not here.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl.models import decoder
from jaxrl.models.layers import rms_norm
from jaxrl.ops import attention, blockwise_attention, distributions
from jaxrl.sampling import cache as caches
from jaxrl.sampling import stops


@dataclasses.dataclass(frozen=True)
class SampleConfig:
    """What one compiled sampler fixes."""

    group: int = 1  # G: samples a prompt
    max_new: int = 64  # R: response slots
    law: distributions.Law = dataclasses.field(default_factory=distributions.Law)
    dtype: Any = jnp.float32  # of weights, activations and caches while sampling
    prefill: int = 0  # columns of a prompt that are computed at a time; 0 = all
    squares: bool = False  # also Σ_v π_v² of every draw: one more sum over the logits

    def __post_init__(self):
        for key, least in (("group", 1), ("max_new", 1), ("prefill", 0)):
            if getattr(self, key) < least:
                raise ValueError(f"rollout.{key}={getattr(self, key)}: give at least {least}")


@struct.dataclass
class Samples:
    """B = P·G rows, sample s of prompt p at p·G + s; the stop token counts, zero after it."""

    tokens: jax.Array  # [B, R] int32
    mask: jax.Array  # [B, R] bool
    logp: jax.Array  # [B, R] f32, of the law sampled from
    full_logp: jax.Array  # [B, R] f32, of softmax(logits / temperature)
    stopped: jax.Array  # [B] bool: by a stop token or string
    squares: jax.Array | None = None  # [B, R] f32: Σ_v π_v², π = softmax(logits / temperature)


def sample(params, tokens_PT, valid_PT, wanted_P, key, stop_SV, *, model, c):
    """Left-padded prompts -> Samples.

    tokens_PT int32, valid_PT bool; wanted_P: False for rows that only fill the bucket; stop_SV: see
    sampling/stops.py. A row's draws depend on (key, its number, its own past) and on no neighbour.
    """
    P, R, G = tokens_PT.shape[0], c.max_new, c.group
    params = jax.tree.map(lambda x: x.astype(c.dtype), params)  # once, not a step
    hidden_PD, cache = _prefill(params, tokens_PT, valid_PT, model, c)
    length_B = jnp.repeat(valid_PT.sum(1), G)
    row_B = jnp.arange(P * G)
    empty = jnp.zeros((P * G, R))
    blank = Samples(empty.astype(jnp.int32), empty.astype(bool), empty, empty, empty[:, 0] > 0)
    blank = blank.replace(squares=empty if c.squares else None)
    turned = decoder.columns(params, model, P * G)

    def emit(t, logits_BV, live_B, state_B, out):
        u_B = distributions.uniforms(key, row_B, t)
        token_B, logp_B, full_B = distributions.draw(logits_BV, u_B, c.law)
        squares_B = distributions.collision(logits_BV, c.law) if c.squares else None
        token_B = jnp.where(live_B, token_B, 0)
        state_B = jnp.where(live_B, stop_SV[state_B, token_B], state_B)
        put = lambda x_BR, x_B: jax.lax.dynamic_update_slice_in_dim(x_BR, x_B[:, None], t, 1)
        out = Samples(
            tokens=put(out.tokens, token_B),
            mask=put(out.mask, live_B),
            logp=put(out.logp, live_B * logp_B),
            full_logp=put(out.full_logp, live_B * full_B),
            stopped=live_B & (state_B == len(stop_SV) - 1) | out.stopped,
            squares=put(out.squares, live_B * squares_B) if c.squares else None,
        )
        return t + 1, token_B, live_B & ~out.stopped, state_B, out

    attend = lambda slot: partial(caches.attend, valid_PT=valid_PT, slot=slot)

    def step(carry):
        (t, token_B, live_B, state_B, out), cache = carry
        position_B = length_B + t - 1
        hidden_BD, cache = decoder.step(turned, token_B, position_B, attend(t - 1), cache, model)
        logits_BV = _logits(params, hidden_BD, model)
        return emit(t, logits_BV, live_B, state_B, out), cache

    logits_BV = jnp.repeat(_logits(params, hidden_PD, model), G, axis=0)
    start = jnp.full(P * G, stops.START)
    first = emit(jnp.int32(0), logits_BV, jnp.repeat(wanted_P, G), start, blank)
    alive = lambda carry: (carry[0][0] < R) & carry[0][2].any()
    return jax.lax.while_loop(alive, step, (first, cache))[0][-1]


def _prefill(params, tokens_PT, valid_PT, model, c):
    """Last hidden state of each prompt [P, D], and the layers' caches, branches still empty."""
    position = jnp.maximum(jnp.cumsum(valid_PT, 1) - 1, 0)
    forest = attention.Forest(jnp.zeros_like(position), valid_PT.astype(jnp.int32))
    way = _in_parts if 0 < c.prefill < tokens_PT.shape[1] else _at_once
    last_PD, (k, v) = way(params, tokens_PT, position, forest, model, c)
    grow = lambda i: caches.with_branches((k[i], v[i]), c.group, c.max_new)
    return last_PD, [grow(i) for i in range(model.L)]


def _at_once(params, tokens_PT, position, forest, model, c):
    """Last hidden states [P, D], and the keys and values of all layers [L, P, T, K, d]."""
    split, dtype = decoder.SPLIT, c.dtype
    attend = lambda q, k, v, _: (attention.forest(q, k, v, forest, split=split), (k, v))
    x_PTD, kept, _ = decoder.blocks(params, tokens_PT, position, attend, None, model, dtype=dtype)
    return x_PTD[:, -1], kept


def _in_parts(params, tokens_PT, position, forest, model, c):
    """The same, some columns after the others: the activations are those of a part."""
    P, T = tokens_PT.shape
    empty = jnp.zeros((model.L, P, T, model.K, model.N), c.dtype)
    write = jax.lax.dynamic_update_slice_in_dim

    def part(kept, start):
        cut = lambda x: jax.lax.dynamic_slice_in_dim(x, start, c.prefill, 1)

        def attend(q, k, v, layer):
            k, v = write(layer[0], k, start, 1), write(layer[1], v, start, 1)
            return blockwise_attention.late(q, k, v, forest, start), (k, v)

        rows = cut(tokens_PT), cut(position)
        x, kept, _ = decoder.blocks(params, *rows, attend, kept, model, dtype=c.dtype)
        return kept, x[:, -1]

    kept, last_CPD = jax.lax.scan(part, (empty, empty), jnp.arange(0, T, c.prefill))
    return last_CPD[-1], kept


def _logits(params, hidden_BD, model):
    """[B, V] f32."""
    hidden_BD = rms_norm(hidden_BD, params["norm"], model.norm_eps)
    head_VD = decoder.head(params)
    return jnp.einsum("bd,vd->bv", hidden_BD, head_VD, preferred_element_type=jnp.float32)
