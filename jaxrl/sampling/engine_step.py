"""The engine's two device programs: some steps of all slots, and pieces of some prompts.

Keys and values lie in pages (pages.py). A program gathers the pages of its sequences once, works on
that copy as the single-turn sampler does on its trunks and branches, and writes what is new back.
So the copy is paid once in `steps` tokens, and the arithmetic is that of sampling/decode.py.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl.models import decoder
from jaxrl.models.layers import rms_norm
from jaxrl.ops import attention, blockwise_attention, distributions
from jaxrl.sampling import cache as caches


class Pool(NamedTuple):
    """Of one layer: n pages of p tokens, laid out as caches.Cache is."""

    k: jax.Array  # [n, K, d, p]
    v: jax.Array  # [n, K, p, d]


@struct.dataclass
class Slots:
    """What a step needs of each of S slots. A slot that does not live writes and draws nothing."""

    table: jax.Array  # [S, M] int32: its pages; n where it has none
    length: jax.Array  # [S] int32: tokens whose keys and values are written
    token: jax.Array  # [S] int32: the one after them
    live: jax.Array  # [S] bool
    left: jax.Array  # [S] int32: tokens it may still draw
    drawn: jax.Array  # [S] int32: tokens drawn so far
    seed: jax.Array  # [S] int32: its draws depend on (key, seed, number drawn) alone
    laws: distributions.Laws  # of [S] each
    ends: jax.Array  # [S, E] int32: ids that end it; −1 = none


@struct.dataclass
class Drawn:
    """[S, steps] each; mask False after a slot's end."""

    tokens: jax.Array
    mask: jax.Array
    logp: jax.Array  # of the law
    full_logp: jax.Array  # of softmax(logits / temperature)


def pools(c, n, size, dtype):
    """Empty pages of all layers."""
    shape = n, c.K
    return [
        Pool(jnp.zeros((*shape, c.N, size), dtype), jnp.zeros((*shape, size, c.N), dtype))
        for _ in range(c.L)
    ]


def decode(params, turned, pool, slots, key, allowed_SV=None, *, model, steps):
    """`steps` tokens of every live slot.  returns: Drawn, Slots, the pools.

    params, turned: of the sampler's dtype, and `decoder.columns` of them. allowed_SV: bool, the
    tokens that may be drawn, of all steps alike.
    """
    S, M = slots.table.shape
    size = pool[0].v.shape[2]
    start_S = slots.length
    valid_ST = jnp.arange(M * size) < start_S[:, None]
    layers = [_opened(layer, slots.table, steps) for layer in pool]
    blank = jnp.zeros((S, steps))
    out = Drawn(blank.astype(jnp.int32), blank.astype(bool), blank, blank)

    def step(carry, t):
        slots, layers, out = carry
        attend = partial(caches.attend, valid_PT=valid_ST, slot=t)
        hidden_SD, layers = decoder.step(turned, slots.token, start_S + t, attend, layers, model)
        slots, drawn = _drawn(params, hidden_SD, slots, key, allowed_SV, model)
        put = lambda x, new: jax.lax.dynamic_update_slice_in_dim(x, new[:, None], t, 1)
        return (slots, layers, jax.tree.map(put, out, drawn)), None

    (slots, layers, out), _ = jax.lax.scan(step, (slots, layers, out), jnp.arange(steps))
    column_SR = jnp.where(out.mask, start_S[:, None] + jnp.arange(steps), M * size)
    closed = partial(_closed, table_SM=slots.table, column_SR=column_SR)
    return out, slots, list(map(closed, pool, layers))


def prefill(params, pool, table_PM, tokens_PQ, start_P, count_P, *, model):
    """Keys and values of the next `count` tokens of P sequences, each from its `start`; the pools.

    tokens_PQ: the tokens, padded on the right. What is new stands behind all pages of a sequence,
    wherever those end, so that all sequences have one shape.
    """
    (P, Q), M = tokens_PQ.shape, table_PM.shape[1]
    size = pool[0].v.shape[2]
    before = M * size
    column_PQ = start_P[:, None] + jnp.arange(Q)
    written = jnp.arange(before) < start_P[:, None]
    there = jnp.concatenate([written, jnp.ones((P, Q), bool)], 1).astype(jnp.int32)
    forest = attention.Forest(jnp.zeros_like(there), there)
    past = jax.tree.map(lambda *x: jnp.stack(x), *[_rows(layer, table_PM) for layer in pool])

    def attend(q, k, v, layer):
        keys, values = (jnp.concatenate(x, 1) for x in zip(layer, (k, v), strict=True))
        return blockwise_attention.late(q, keys, values, forest, before), (k, v)

    how = tokens_PQ, column_PQ, attend, past, model
    _, (k_LPQKd, v_LPQKd), _ = decoder.blocks(params, *how, dtype=pool[0].v.dtype)
    column_PQ = jnp.where(jnp.arange(Q) < count_P[:, None], column_PQ, before)
    page_PQ, at_PQ = _place(table_PM, column_PQ, size, len(pool[0].v))
    put = lambda layer, k, v: Pool(
        layer.k.at[page_PQ, :, :, at_PQ].set(k, mode="drop"),
        layer.v.at[page_PQ, :, at_PQ].set(v, mode="drop"),
    )
    return [put(layer, k_LPQKd[i], v_LPQKd[i]) for i, layer in enumerate(pool)]


def _drawn(params, hidden_SD, slots, key, allowed_SV, model):
    """The next token of each slot, and the slots after it."""
    hidden_SD = rms_norm(hidden_SD, params["norm"], model.norm_eps)
    head_VD = decoder.head(params)
    logits_SV = jnp.einsum("sd,vd->sv", hidden_SD, head_VD, preferred_element_type=jnp.float32)
    u_S = distributions.uniforms_each(key, slots.seed, slots.drawn)
    token_S, logp_S, full_S = distributions.draw_each(logits_SV, u_S, slots.laws, allowed_SV)
    live_S = slots.live
    token_S = jnp.where(live_S, token_S, slots.token)
    ended_S = (token_S[:, None] == slots.ends).any(1) | (slots.left <= 1)
    number = live_S.astype(jnp.int32)
    after = slots.replace(
        token=token_S,
        live=live_S & ~ended_S,
        length=slots.length + number,
        left=slots.left - number,
        drawn=slots.drawn + number,
    )
    return after, Drawn(token_S * number, live_S, logp_S * number, full_S * number)


def _opened(layer, table_SM, steps):
    """The pages of each slot as its trunk, and an empty branch for what comes."""
    k_SMKdp, v_SMKpd = (x.at[table_SM].get(mode="fill", fill_value=0) for x in layer)
    S, M, K, d, p = k_SMKdp.shape
    return caches.Cache(
        k_SMKdp.transpose(0, 2, 3, 1, 4).reshape(S, K, d, M * p),
        v_SMKpd.swapaxes(1, 2).reshape(S, K, M * p, d),
        jnp.zeros((S, K, d, steps), k_SMKdp.dtype),
        jnp.zeros((S, K, steps, d), v_SMKpd.dtype),
    )


def _closed(layer, cache, *, table_SM, column_SR):
    """The pages with the branches written to them."""
    page_SR, at_SR = _place(table_SM, column_SR, layer.v.shape[2], len(layer.v))
    k_SRKd, v_SRKd = cache.branch_k.transpose(0, 3, 1, 2), cache.branch_v.swapaxes(1, 2)
    return Pool(
        layer.k.at[page_SR, :, :, at_SR].set(k_SRKd, mode="drop"),
        layer.v.at[page_SR, :, at_SR].set(v_SRKd, mode="drop"),
    )


def _place(table_SM, column_SR, size, n):
    """Page and place in it of each column; page n, which is none, past the table's end."""
    page_SR = jnp.take_along_axis(table_SM, column_SR // size, axis=1, mode="fill", fill_value=n)
    return page_SR, column_SR % size


def _rows(layer, table_PM):
    """Keys and values of all pages of each sequence, [P, M·p, K, d] each."""
    k_PMKdp, v_PMKpd = (x.at[table_PM].get(mode="fill", fill_value=0) for x in layer)
    k_PMpKd, v_PMpKd = k_PMKdp.transpose(0, 1, 4, 2, 3), v_PMKpd.swapaxes(2, 3)
    flat = lambda x: x.reshape(len(x), -1, *x.shape[3:])
    return flat(k_PMpKd), flat(v_PMpKd)
