"""Embeddings of few bits: seen by the loss in training, packed and scored in an index.

What training sees is what the index scores: a cosine of int8 codes does not depend on their step,
and one of signs is 1 − 2h/D, with h the Hamming distance.
"""

import jax
import jax.numpy as jnp

from jaxrl.ops import embeddings as vectors

LOW, HIGH = -128, 127  # −Q_N and Q_P of eight bits with a sign


def initial_step(v):
    """LSQ's first step, from a batch of embeddings [.., D]: 2 · mean |v| / √Q_P, [] f32.

    Esser et al. 2020, arXiv:1902.08153, section 2.1.
    """
    return 2 * jnp.abs(v.astype(jnp.float32)).mean() / HIGH**0.5


@jax.custom_vjp
def lsq(v, step):
    """Rounds to 256 levels a learned step apart.

        v̂ = s · round(clip(v/s, −Q_N, Q_P))
        ∂v̂/∂v = 1 inside, 0 outside        inside: −Q_N < v/s < Q_P
        ∂v̂/∂s = g · (round(v/s) − v/s inside, −Q_N below, Q_P above),   g = 1/√(D Q_P)

    Esser et al. 2020, arXiv:1902.08153, eq. 1-5. D stands for the features of a layer, as there for
    activations: the rows of a batch do not count, so micro-batches add up. A step below 1e-8 is
    read as 1e-8 (our choice).

    v: [.., D]; step: [], s.  returns: [.., D] f32.
    """
    return _positive(step) * _codes(v, step)


def _lsq_forward(v, step):
    return lsq(v, step), (v, step)


def _lsq_backward(saved, cotangent):
    v, step = saved
    ratio = v.astype(jnp.float32) / _positive(step)
    inside = (LOW < ratio) & (ratio < HIGH)
    slope = jnp.where(inside, jnp.round(ratio) - ratio, jnp.clip(ratio, LOW, HIGH))
    scale = 1 / (v.shape[-1] * HIGH) ** 0.5
    d_step = scale * (cotangent * slope).sum()
    return jnp.where(inside, cotangent, 0).astype(v.dtype), d_step.astype(jnp.result_type(step))


lsq.defvjp(_lsq_forward, _lsq_backward)


def binary(v):
    """sign(v) ∈ {−1, 1}, 1 at 0, with the gradient of v itself (straight-through).

    The estimator is not given in arXiv:2601.04720; our choice: Bengio et al. 2013, arXiv:1308.3432.
    No clip at |v| ≤ 1: numbers of a unit vector are inside.

    v: [.., D], any float.  returns: [.., D] f32.
    """
    v = v.astype(jnp.float32)
    return jnp.where(v < 0, -1.0, 1.0) + (v - jax.lax.stop_gradient(v))  # exact: adds 0


FORMATS = {"int8": lsq, "binary": lambda v, step: binary(v)}


def quantization_aware(loss, embeddings, step, *, formats=("int8", "binary"), weight=1.0):
    """A loss on the embeddings and on what is left of them in few bits.

        L(e) + λ Σ_b L(Q_b(e) / ‖Q_b(e)‖)

    Qwen3-VL-Embedding, arXiv:2601.04720: LSQ with a learned step, straight-through, on full and on
    quantised vectors; λ is not given, nor the length after rounding; our choice is 1 and cosines.

    embeddings: a tree of unit vectors; step: [] for all of them (a prefix of other width has larger
    numbers: give it a step of its own); formats: keys of FORMATS; weight: λ.
    returns: (sum, stats), the stats those of the full vectors, and each L as "loss_full", "loss_b".
    """
    full, stats = loss(embeddings)
    found = {}
    for name in formats:
        rounded = lambda v, name=name: vectors.normalize(FORMATS[name](v, step))
        found[f"loss_{name}"] = loss(jax.tree.map(rounded, embeddings))[0]
    return full + weight * sum(found.values()), stats | {"loss_full": full} | found


def to_int8(v, step):
    """The codes of `lsq` for storage: [.., D] float -> [.., D] int8."""
    return _codes(v, step).astype(jnp.int8)


def int8_cosines(query_QD, document_CD):
    """Cosines of all pairs of int8 codes, the sums in int32: exact up to the last division.

    query_QD, document_CD: int8.  returns: [Q, C] f32; 0 with a vector of zeros.
    """
    dot = lambda axes, a, b: jnp.einsum(axes, a, b, preferred_element_type=jnp.int32)
    length = lambda v: jnp.sqrt(dot("nd,nd->n", v, v).astype(jnp.float32))
    both = length(query_QD)[:, None] * length(document_CD)
    return dot("qd,cd->qc", query_QD, document_CD) / jnp.maximum(both, 1)


def to_bits(v):
    """The signs for storage, eight a byte, the first in the highest bit, 1 where v ≥ 0.

    v: [.., D].  returns: [.., ⌈D/8⌉] uint8, the last byte filled up with zeros.
    """
    return jnp.packbits(v >= 0, axis=-1)


def hamming(query_QB, document_CB):
    """How many bits of each pair differ: [Q, B], [C, B] uint8 -> [Q, C] int32."""
    differing = jax.lax.population_count(query_QB[:, None] ^ document_CB[None])
    return differing.astype(jnp.int32).sum(-1)


def binary_cosines(query_QB, document_CB, dims):
    """Cosines of all pairs of sign vectors of `dims` numbers, packed by `to_bits`: 1 − 2h/D."""
    return 1 - 2 * hamming(query_QB, document_CB) / dims


def _positive(step):
    return jnp.maximum(jnp.asarray(step, jnp.float32), 1e-8)


def _codes(v, step):
    return jnp.round(jnp.clip(v.astype(jnp.float32) / _positive(step), LOW, HIGH))
