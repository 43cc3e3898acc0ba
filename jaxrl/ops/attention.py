"""Attention over forests, rows that list token trees depth first, and in both directions.

Each token carries the interval [lo, hi) of its node, nested as the tree is. Key k is visible to
query q iff k ≤ q and lo_k ≤ lo_q < hi_k, that is, k lies on q's path to the root. A plain sequence
is the one-node case; padding has an empty interval.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl.ops import attention_kernels as kernels
from jaxrl.ops import blockwise_attention as blockwise
from jaxrl.ops.blockwise_attention import NEG

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
    axes of rows, of heads and of columns, without which a mesh is left to the xla path.
    Returns q's shape. Queries that see nothing (padding) return finite junk.
    """
    if split and kernels.ways(split)[2] > 1:
        return blockwise.ring(q_NWHd, k_NWKd, v_NWKd, tree, split=split)
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


def bidirectional(q_NWHd, k_NWHd, v_NWHd, valid_NW, *, split=None):
    """softmax(q·kᵀ / √d)·v over all valid keys of the row; scores and softmax in f32.

    Vaswani et al. 2017, arXiv:1706.03762, eq. 1. Queries of padding return finite junk.

    q, k, v: [N, W, H, d]; valid: [N, W] bool; split: as of `forest`.  returns: q's shape.
    """
    ways = kernels.ways(split)
    path = kernels.choose(
        jax.default_backend(), q_NWHd, k_NWHd, capability=kernels.capability(), ways=ways
    )
    if path == "xla" or ways[2] > 1:  # a kernel needs whole rows
        return _all_keys(q_NWHd, k_NWHd, v_NWHd, valid_NW)
    own = jnp.eye(valid_NW.shape[1], dtype=bool)  # as a kernel's softmax needs a key
    attend = lambda q, k, v, valid, _: kernels.KERNELS[path](q, k, v, valid[:, None, :] | own)
    return kernels.on_each_device(attend, split)(q_NWHd, k_NWHd, v_NWHd, valid_NW, valid_NW)


def _all_keys(q_NWHd, k_NWHd, v_NWHd, valid_NW):
    """Long rows, a chunk of queries after the other; the backward pass recomputes each."""
    q_NHWd, k_NHWd, v_NHWd = (x.transpose(0, 2, 1, 3) for x in (q_NWHd, k_NWHd, v_NWHd))
    q_NHWd = q_NHWd * q_NWHd.shape[-1] ** -0.5

    def attend(q_NHqd):
        s = jnp.einsum("nhqd,nhkd->nhqk", q_NHqd, k_NHWd).astype(jnp.float32)
        w = jax.nn.softmax(jnp.where(valid_NW[:, None, None], s, NEG)).astype(v_NHWd.dtype)
        return jnp.einsum("nhqk,nhkd->nhqd", w, v_NHWd)

    N, H, W, d = q_NHWd.shape
    if W <= DENSE:
        return attend(q_NHWd).transpose(0, 2, 1, 3)
    q = jnp.pad(q_NHWd, ((0, 0), (0, 0), (0, -W % blockwise.CHUNK), (0, 0)))
    chunks = q.reshape(N, H, -1, blockwise.CHUNK, d).transpose(2, 0, 1, 3, 4)
    y = jax.lax.map(jax.checkpoint(attend), chunks).transpose(1, 0, 3, 2, 4)
    return y.reshape(N, -1, H, d)[:, :W]


def _xla(q_NWHd, k_NWKd, v_NWKd, tree):
    N, W, H, d = q_NWHd.shape
    if W > DENSE:
        return blockwise.forest(q_NWHd, k_NWKd, v_NWKd, tree)
    K = k_NWKd.shape[2]
    q = (q_NWHd * d**-0.5).reshape(N, W, K, H // K, d).transpose(0, 2, 3, 1, 4)
    y_NKGWd = _dense(q, k_NWKd.transpose(0, 2, 1, 3), v_NWKd.transpose(0, 2, 1, 3), tree)
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
