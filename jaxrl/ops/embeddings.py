"""Embeddings before and after a loss: length, cosines, prefixes. All in f32.

`matryoshka` and `embedding_quantization.quantization_aware` take a loss as a function of a tree of
embeddings [.., D] that returns (sum, stats of sums), and return the same: they can be nested.
"""

import jax
import jax.numpy as jnp


def normalize(v):
    """Each vector over its length; a zero vector stays zero and has no gradient (our choice).

        v / ‖v‖₂

    v: [.., D], any float.  returns: [.., D] f32.
    """
    v = v.astype(jnp.float32)
    square = jnp.square(v).sum(-1, keepdims=True)
    found = square > 0
    return jnp.where(found, v * jax.lax.rsqrt(jnp.where(found, square, 1)), 0)


def own_cosines(query_ND, document_NKD):
    """Cosines of each query with the documents of its own row; unit vectors in, [N, K] f32 out."""
    return cosines("nd,nkd->nk", query_ND, document_NKD)


def cosines(axes, a, b):
    """An einsum of unit vectors in f32 proper: a TPU's default would round both to bfloat16."""
    a, b = a.astype(jnp.float32), b.astype(jnp.float32)
    return jnp.einsum(axes, a, b, precision=jax.lax.Precision.HIGHEST)


def truncate(v, dims):
    """The first `dims` numbers of each vector, as a unit vector: [.., D] -> [.., dims] f32.

    Kusupati et al. 2022, arXiv:2205.13147, with cosines as scores, hence the new length.
    """
    if not 0 < dims <= v.shape[-1]:
        raise ValueError(f"dims={dims!r}: give a number from 1 to {v.shape[-1]}, the full width")
    return normalize(v[..., :dims])


def matryoshka(loss, embeddings, *, dims, weights=None):
    """A loss over prefixes of the embeddings, so that a prefix alone is an embedding, too.

        Σ_m w_m L(e[:m] / ‖e[:m]‖)

    Kusupati et al. 2022, arXiv:2205.13147, eq. 1 (all w_m = 1, as here by default).
    Qwen3-VL-Embedding, arXiv:2601.04720, publishes neither the dims nor the weights.

    loss: tree of [.., m] -> (sum, stats); dims: the m, distinct; weights: the w_m.
    returns: (sum, stats), the stats those of the widest prefix and each L as "loss_m".
    """
    weights = [1.0] * len(dims) if weights is None else weights
    if not dims or len(set(dims)) < len(dims):
        raise ValueError(f"dims={dims!r}: give at least one width, each once")
    if len(weights) != len(dims):
        raise ValueError(f"weights={weights!r}: give one for each of {dims=}")
    found = {m: loss(jax.tree.map(lambda v: truncate(v, m), embeddings)) for m in dims}
    total = sum(w * found[m][0] for m, w in zip(dims, weights, strict=True))
    return total, found[max(dims)][1] | {f"loss_{m}": found[m][0] for m in dims}
