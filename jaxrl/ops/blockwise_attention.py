"""Attention over forests in memory linear in the columns, on one device or on a ring of them.

Keys fold into an online softmax block by block, and the backward pass recomputes each block's
scores (arXiv:2205.14135). Where a mesh axis splits the columns, each device keeps its queries and
sees every other device's keys once, as they go round a ring (arXiv:2310.01889); in the backward
pass their gradients go with them. So a device holds W / n columns and never all keys. Columns lie
in order, hence the first device has the least to do and waits for the last.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

NEG = -1e30
CHUNK = 512  # columns of a block of scores


class Keys(NamedTuple):
    """What travels. k, v: [N, K, w, d]; lo, hi: [N, w] int32; column: [w], of all rows alike."""

    k: jax.Array
    v: jax.Array
    lo: jax.Array
    hi: jax.Array
    column: jax.Array


class Queries(NamedTuple):
    """What stays. q: [N, K, G, w, d], scaled; lo: [N, w] int32; column: [w]."""

    q: jax.Array
    lo: jax.Array
    column: jax.Array


def forest(q_NWHd, k_NWKd, v_NWKd, tree):
    """`attention.forest` on one device; same shapes, same result."""
    return _local(q_NWHd, k_NWKd, v_NWKd, *tree, axis=None)


def ring(q_NWHd, k_NWKd, v_NWKd, tree, *, split):
    """The same under a mesh; split: its axes of rows, of heads and, one of them, of columns."""
    rows, heads, axis = split
    four, two = PartitionSpec(rows, axis, heads, None), PartitionSpec(rows, axis)
    places = {"in_specs": (four, four, four, two, two), "out_specs": four}
    return jax.shard_map(partial(_local, axis=axis), check_vma=False, **places)(
        q_NWHd, k_NWKd, v_NWKd, *tree
    )


def late(q_NqHd, k_NWKd, v_NWKd, tree, start):
    """What the queries of the columns from `start` on see of all keys; no gradient."""
    size = q_NqHd.shape[1]
    lo = jax.lax.dynamic_slice_in_dim(tree.lo, start, size, 1)
    q, k, v = _heads_first(q_NqHd, k_NWKd, v_NWKd)
    q, k, v, lo_q, lo, hi = _padded(q, k, v, lo, *tree)
    queries = Queries(q, lo_q, start + jnp.arange(q.shape[3]))
    keys = Keys(k, v, lo, hi, jnp.arange(k.shape[2]))
    y, _, total = _fold(_nothing(q), queries, keys)
    return _back(_over(y, total)[..., :size, :].astype(q.dtype))


def _local(q_NwHd, k_NwKd, v_NwKd, lo, hi, *, axis):
    """One device's columns."""
    w = q_NwHd.shape[1]
    q, k, v = _heads_first(q_NwHd, k_NwKd, v_NwKd)
    y_NKGwd = _ring(*_padded(q, k, v, lo, hi), axis)
    return _back(y_NKGwd[..., :w, :])


def _heads_first(q_NwHd, k_NwKd, v_NwKd):
    """[N, K, G, w, d], scaled, and [N, K, w, d] twice."""
    N, w, H, d = q_NwHd.shape
    K = k_NwKd.shape[2]
    q = (q_NwHd * d**-0.5).reshape(N, w, K, H // K, d).transpose(0, 2, 3, 1, 4)
    return q, k_NwKd.transpose(0, 2, 1, 3), v_NwKd.transpose(0, 2, 1, 3)


def _back(y_NKGwd):
    N, K, G, w, d = y_NKGwd.shape
    return y_NKGwd.transpose(0, 3, 1, 2, 4).reshape(N, w, K * G, d)


def _padded(q, k, v, *sides):
    """Whole blocks of columns: zeros are nodes without a column, which nobody sees."""

    def grow(x, axis):
        w = x.shape[axis]
        pad = [(0, 0)] * x.ndim
        pad[axis] = (0, -w % CHUNK if w > CHUNK else 0)
        return jnp.pad(x, pad)

    return grow(q, 3), grow(k, 2), grow(v, 2), *(grow(x, 1) for x in sides)


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def _ring(q, k, v, lo, hi, axis):
    return _forward(q, k, v, lo, hi, axis)[0]


def _forward(q, k, v, lo, hi, axis):
    queries, keys = _sides(q, k, v, lo, hi, axis)

    def meet(carry, keys):
        return _fold(carry, queries, keys), keys

    (y, top, total), _ = _round(axis, meet, _nothing(q), keys)
    y = _over(y, total).astype(q.dtype)
    return y, (q, k, v, lo, hi, y, top + jnp.log(jnp.maximum(total, 1)))


def _backward(axis, saved, dy):
    q, k, v, lo, hi, y, lse = saved
    queries, keys = _sides(q, k, v, lo, hi, axis)
    dy = dy.astype(jnp.float32)
    delta = (dy * y).sum(-1)

    def meet(dq, moving):
        keys, dk, dv = moving
        dq, more_k, more_v = _unfold(dq, queries, keys, dy, lse, delta)
        return dq, (keys, dk + more_k, dv + more_v)

    zero = lambda x: jnp.zeros(x.shape, jnp.float32)
    dq, (_, dk, dv) = _round(axis, meet, zero(q), (keys, zero(k), zero(v)))
    return dq.astype(q.dtype), dk.astype(k.dtype), dv.astype(v.dtype), None, None


_ring.defvjp(_forward, _backward)


def _nothing(q):
    """The carry of `_fold` before any key."""
    zero = jnp.zeros(q.shape, jnp.float32)
    return zero, jnp.full(q.shape[:-1], NEG), zero[..., 0]


def _over(y, total):
    """The mean. The largest weight is 1: a smaller total is that of padding, which sees no key."""
    return y / jnp.maximum(total, 1)[..., None]


def _sides(q, k, v, lo, hi, axis):
    w = q.shape[3]
    first = 0 if axis is None else jax.lax.axis_index(axis) * w
    column = first + jnp.arange(w)
    # What no layer changes, the gradient of a scan over layers computes before the first of them,
    # for all blocks, and keeps: masks, in memory quadratic in the columns. So they hang on q here.
    q, lo, hi, column = jax.lax.optimization_barrier((q, lo, hi, column))
    return Queries(q, lo, column), Keys(k, v, lo, hi, column)


def _round(axis, meet, carry, moving):
    """meet(carry, moving) -> (carry, moving) once for each device's `moving`, which comes home."""
    if axis is None:
        return meet(carry, moving)
    n = jax.lax.axis_size(axis)
    onward = [(i, (i + 1) % n) for i in range(n)]
    send = partial(jax.lax.ppermute, axis_name=axis, perm=onward)

    def turn(state, _):
        carry, moving = meet(*state)
        return (carry, jax.tree.map(send, moving)), None

    return jax.lax.scan(turn, (carry, moving), length=n)[0]


def _fold(carry, queries, keys):
    """The online softmax (y, largest score, sum of weights) over some more keys."""

    def block(carry, queries, keys):
        y, top, total = carry
        s = _scores(queries, keys)
        new = jnp.maximum(top, s.max(-1))
        p, shrink = _weights(s, new), jnp.exp(top - new)
        y_new = jnp.einsum("nkgqs,nksd->nkgqd", p.astype(keys.v.dtype), keys.v)
        return y * shrink[..., None] + y_new, new, total * shrink + p.sum(-1)

    def over_keys(carry_queries):
        carry, queries = carry_queries
        step = lambda carry, keys: (_if_any(block, carry, queries, keys), None)
        return jax.lax.scan(step, carry, _split_keys(keys))[0]

    return _joined(jax.lax.map(over_keys, (_split(carry), _split_queries(queries))))


def _unfold(dq, queries, keys, dy, lse, delta):
    """dq with these keys' share; dk and dv of these keys."""

    def block(grads, side, keys):
        dq, dk, dv = grads
        queries, dy, lse, delta = side
        p = _weights(_scores(queries, keys), lse)
        dp = jnp.einsum("nkgqd,nksd->nkgqs", dy, keys.v)
        ds = p * (dp - delta[..., None])
        dq += jnp.einsum("nkgqs,nksd->nkgqd", ds, keys.k)
        dk += jnp.einsum("nkgqs,nkgqd->nksd", ds, queries.q)
        dv += jnp.einsum("nkgqs,nkgqd->nksd", p, dy)
        return dq, dk, dv

    sides = _split_queries(queries), *map(_split, (dy, lse, delta))

    def over_keys(dq_c, keys):
        def over_queries(grads, one):
            dq, *side = one
            dq, *grads = _if_any(block, (dq, *grads), tuple(side), keys)
            return tuple(grads), dq

        zeros = jnp.zeros(keys.k.shape, jnp.float32), jnp.zeros(keys.v.shape, jnp.float32)
        grads, dq_c = jax.lax.scan(over_queries, zeros, (dq_c, *sides))
        return dq_c, grads

    dq_c, (dk_c, dv_c) = jax.lax.scan(over_keys, _split(dq), _split_keys(keys))
    return _joined(dq_c), _joined(dk_c, 2), _joined(dv_c, 2)


def _if_any(block, carry, side, keys):
    """block(carry, side, keys), or the carry where all keys come after all queries."""
    queries = side if isinstance(side, Queries) else side[0]
    meet = keys.column.min() <= queries.column.max()
    return jax.lax.cond(meet, lambda: block(carry, side, keys), lambda: carry)


def _scores(queries, keys):
    """[N, K, G, q, s] f32, NEG where the key is not on the query's path to the root.

    Sums and products, as `where` spreads its constant over the block (see `_sides`).
    """
    s = jnp.einsum("nkgqd,nksd->nkgqs", queries.q, keys.k).astype(jnp.float32)
    lo_q, on = queries.lo[:, :, None], keys.column <= queries.column[:, None]
    on = on & (keys.lo[:, None] <= lo_q) & (lo_q < keys.hi[:, None])
    return s + (1 - on.astype(jnp.float32))[:, None, None] * NEG


def _weights(s, top):
    """exp(s − top), 0 where masked, also where all is."""
    return jnp.exp(s - top[..., None]) * (s > NEG)


def _split(tree):
    """[N, K, G, w, ..] -> [chunks, N, K, G, size, ..] in every leaf."""
    return jax.tree.map(lambda x: _chunks(x, 3), tree)


def _split_queries(queries):
    return Queries(_chunks(queries.q, 3), _chunks(queries.lo, 1), _chunks(queries.column, 0))


def _split_keys(keys):
    rows = _chunks(keys.lo, 1), _chunks(keys.hi, 1), _chunks(keys.column, 0)
    return Keys(_chunks(keys.k, 2), _chunks(keys.v, 2), *rows)


def _chunks(x, axis):
    w = x.shape[axis]
    size = min(CHUNK, w)
    return jnp.moveaxis(x.reshape(*x.shape[:axis], w // size, size, *x.shape[axis + 1 :]), axis, 0)


def _joined(tree, axis=3):
    """The inverse of `_chunks`."""

    def join(x):
        x = jnp.moveaxis(x, 0, axis)
        return x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])

    return jax.tree.map(join, tree)
