"""Attention over forests: rows that list one or several token trees depth first.

Each token carries the interval [lo, hi) of its node, nested as the tree is. Key k is visible to
query q iff k ≤ q and lo_k ≤ lo_q < hi_k, that is, k lies on q's path to the root. A plain sequence
is the one-node case; padding has an empty interval.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl.ops import attention_kernels as kernels

NEG = -1e30
DENSE = 2048  # columns up to which a row's scores are kept whole; beyond, they are recomputed
CHUNK = 64


class Forest(NamedTuple):
    """lo, hi: [N, W] int32."""

    lo: jax.Array
    hi: jax.Array


def visible(forest, q, k):
    """The mask [N, q, k] between two slices of columns; the one place that states the rule."""
    columns = jnp.arange(forest.lo.shape[1])
    causal = columns[k][None, :] <= columns[q][:, None]
    lo_q = forest.lo[:, q, None]
    return causal & (forest.lo[:, None, k] <= lo_q) & (lo_q < forest.hi[:, None, k])


def forest(q_NWHd, k_NWKd, v_NWKd, tree, *, split=None):
    """softmax(q·kᵀ / √d + mask)·v with grouped heads (arXiv:2305.13245); scores and softmax in f32.

    q: [N, W, H, d]; k, v: [N, W, K, d], H a multiple of K; tree: Forest of [N, W]; split: the mesh
    axes of rows and of heads, without which a mesh is left to the xla path.
    Returns q's shape. Queries that see nothing (padding) return finite junk.
    """
    where = {"capability": kernels.capability(), "ways": kernels.ways(split)}
    path = kernels.choose(jax.default_backend(), q_NWHd, k_NWKd, **where)
    if path == "xla":
        return _xla(q_NWHd, k_NWKd, v_NWKd, tree)
    attend = lambda q, k, v, lo, hi: kernels.KERNELS[path](q, k, v, whole_mask(Forest(lo, hi)))
    return kernels.on_each_device(attend, split)(q_NWHd, k_NWKd, v_NWKd, *tree)


def whole_mask(tree):
    """`visible` of whole rows [N, W, W]; padding sees itself, as a kernel's softmax needs a key."""
    W = tree.lo.shape[1]
    return visible(tree, slice(0, W), slice(0, W)) | jnp.eye(W, dtype=bool)


def _xla(q_NWHd, k_NWKd, v_NWKd, tree):
    N, W, H, d = q_NWHd.shape
    K = k_NWKd.shape[2]
    q = (q_NWHd * d**-0.5).reshape(N, W, K, H // K, d).transpose(0, 2, 3, 1, 4)
    k, v = k_NWKd.transpose(0, 2, 1, 3), v_NWKd.transpose(0, 2, 1, 3)
    attend = _dense if W <= DENSE else _chunked
    y_NKGWd = attend(q, k, v, tree)
    return y_NKGWd.transpose(0, 3, 1, 2, 4).reshape(q_NWHd.shape)


def _dense(q, k, v, tree):
    """Keys after a query chunk's last column are never multiplied: about half of the work."""
    W = q.shape[3]
    parts = []
    for start in range(0, W, CHUNK):
        stop = min(start + CHUNK, W)
        mask = visible(tree, slice(start, stop), slice(0, stop))[:, None, None]
        s = jnp.einsum("nkgqd,nksd->nkgqs", q[..., start:stop, :], k[..., :stop, :])
        w = jax.nn.softmax(jnp.where(mask, s.astype(jnp.float32), NEG)).astype(v.dtype)
        parts.append(jnp.einsum("nkgqs,nksd->nkgqd", w, v[..., :stop, :]))
    return jnp.concatenate(parts, 3)


def _chunked(q, k, v, tree):
    """Memory linear in W: an online softmax over key chunks (arXiv:2205.14135), recomputed."""
    W, size = q.shape[3], 8 * CHUNK
    pad = -W % size
    grow = lambda x: jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, pad), (0, 0)])
    q, k, v = grow(q), grow(k), grow(v)
    tree = jax.tree.map(lambda x: jnp.pad(x, ((0, 0), (0, pad))), tree)
    take = lambda x, i, axis: jax.lax.dynamic_slice_in_dim(x, i * size, size, axis)

    @jax.checkpoint
    def query_chunk(i):
        q_i, lo_q = take(q, i, 3), take(tree.lo, i, 1)

        def key_chunk(carry, j):
            return jax.lax.cond(j <= i, lambda c: fold(c, j), lambda c: c, carry), None

        def fold(carry, j):
            y, top, total = carry
            part = Forest(take(tree.lo, j, 1), take(tree.hi, j, 1))
            s = jnp.einsum("nkgqd,nksd->nkgqs", q_i, take(k, j, 2)).astype(jnp.float32)
            s = jnp.where(_chunk_mask(part, lo_q, i - j)[:, None, None], s, NEG)
            new = jnp.maximum(top, s.max(-1))
            w, shrink = jnp.exp(s - new[..., None]), jnp.exp(top - new)
            y_j = jnp.einsum("nkgqs,nksd->nkgqd", w.astype(v.dtype), take(v, j, 2))
            return y * shrink[..., None] + y_j, new, total * shrink + w.sum(-1)

        zero = jnp.zeros(q_i.shape, jnp.float32)
        start = zero, jnp.full(q_i.shape[:-1], NEG), zero[..., 0]
        (y, _, total), _ = jax.lax.scan(key_chunk, start, jnp.arange(k.shape[2] // size))
        return (y / total[..., None]).astype(q.dtype)

    y_cNKGqd = jax.lax.map(query_chunk, jnp.arange(q.shape[3] // size))
    y = jnp.moveaxis(y_cNKGqd, 0, 3).reshape(*q.shape)
    return y[..., :W, :]


def _chunk_mask(keys, lo_q, ahead):
    """`visible` for two equal chunks, the queries' `ahead` chunks after the keys'."""
    size = lo_q.shape[1]
    column = jnp.arange(size)
    causal = column[None, :] <= column[:, None] + ahead * size
    lo_q = lo_q[:, :, None]
    return causal & (keys.lo[:, None] <= lo_q) & (lo_q < keys.hi[:, None])
