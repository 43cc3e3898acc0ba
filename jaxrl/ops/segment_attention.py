"""Attention inside segments, in both directions: the frames of images and clips in packed rows."""

import jax
import jax.numpy as jnp

CHUNK = 512  # queries whose scores are held at once; beyond, chunk after chunk, recomputed backward
NEG = -1e30


def segments(q_NWHd, k_NWHd, v_NWHd, segment_NW, *, chunk=CHUNK):
    """softmax(q·kᵀ / √d)·v over the keys of the query's own segment; scores and softmax in f32.

        y_i = Σ_{j: s_j = s_i} softmax_j(q_i·k_j / √d) v_j

    Vaswani et al. 2017, arXiv:1706.03762, eq. 1, block diagonal. Padding is a segment of its own
    (any number that no frame has), so every query sees a key. A frame never spans two rows.

    q, k, v: [N, W, H, d]; segment: [N, W] int32.  returns: q's shape and dtype.
    """
    W, d = q_NWHd.shape[1], q_NWHd.shape[-1]
    q_NWHd = q_NWHd * d**-0.5

    def attend(queries):
        q, segment = queries
        mask = segment[:, None, :, None] == segment_NW[:, None, None, :]
        s = jnp.einsum("nqhd,nkhd->nhqk", q, k_NWHd).astype(jnp.float32)
        w = jax.nn.softmax(jnp.where(mask, s, NEG)).astype(v_NWHd.dtype)
        return jnp.einsum("nhqk,nkhd->nqhd", w, v_NWHd)

    if W <= chunk:
        return attend((q_NWHd, segment_NW))
    pad = -W % chunk
    cut = lambda x: jnp.pad(x, ((0, 0), (0, pad)) + ((0, 0),) * (x.ndim - 2)).reshape(
        x.shape[0], -1, chunk, *x.shape[2:]
    )
    queries = cut(q_NWHd).swapaxes(0, 1), cut(segment_NW).swapaxes(0, 1)
    y = jax.lax.map(jax.checkpoint(attend), queries).swapaxes(0, 1)
    return y.reshape(y.shape[0], -1, *y.shape[3:])[:, :W]
