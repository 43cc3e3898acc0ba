"""How an index stores a unit row, and how a query is scored against it.

    float32   the row; the score is the cosine
    int8      round(v / s) with a step s = max |v| / 127 for each row; the query stays float
    binary    the signs, a bit each; the score is the cosine of the two rows' signs

Qwen3-VL-Embedding (arXiv:2601.04720) trains for int8 and binary, with a learned step that it does
not publish. A step for each row needs no calibration, and so can be stored shard by shard; the
float query is not given in the paper either; both are our choice.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Code(NamedTuple):
    """A form of rows. A packed row is a record of numpy, its fields are the arrays of a block."""

    dtype: Callable[[int], np.dtype]  # dim -> of a packed row
    pack: Callable[[np.ndarray], np.ndarray]  # [n, D] f32 -> [n] packed
    unpack: Callable[[np.ndarray, int], np.ndarray]  # [n] packed, dim -> [n, D] f32
    score: Callable[[jax.Array, dict], jax.Array]  # [Q, D] f32, fields of a block -> [Q, n] f32


def _float_pack(rows):
    return _record(FLOAT32, rows.shape[1], row=rows)


def _float_score(q_QD, block):
    return _matmul(q_QD, block["row"])


def _int8_pack(rows):
    step = np.maximum(np.abs(rows).max(axis=1), np.finfo(np.float32).tiny) / 127
    return _record(INT8, rows.shape[1], row=np.rint(rows / step[:, None]), step=step)


def _int8_score(q_QD, block):
    return _matmul(q_QD, block["row"].astype(jnp.float32)) * block["step"]


def _binary_pack(rows):
    return _record(BINARY, rows.shape[1], row=np.packbits(rows > 0, axis=1))


def _binary_unpack(packed, dim):
    signs = np.unpackbits(packed["row"], axis=1, count=dim).astype(np.float32) * 2 - 1
    return signs / np.float32(dim**0.5)


def _binary_score(q_QD, block):
    """cos(sign q, sign d) = 1 − 2 h / D, with h the Hamming distance; a product of ±1 is exact."""
    bits = jnp.unpackbits(block["row"], axis=-1, count=q_QD.shape[1])
    signs = bits.astype(jnp.float32) * 2 - 1
    return _matmul(jnp.where(q_QD > 0, 1.0, -1.0), signs) / q_QD.shape[1]


def _matmul(q_QD, d_ND):
    """In full float32: the default of accelerators, bfloat16 products, reorders neighbours."""
    return jnp.matmul(q_QD, d_ND.T, precision=jax.lax.Precision.HIGHEST)


def _record(dtype, dim, **fields):
    packed = np.empty(len(fields["row"]), dtype(dim))
    for name, value in fields.items():
        packed[name] = value
    return packed


FLOAT32 = lambda dim: np.dtype([("row", "<f4", (dim,))])
INT8 = lambda dim: np.dtype([("row", "i1", (dim,)), ("step", "<f4")])
BINARY = lambda dim: np.dtype([("row", "u1", (-(-dim // 8),))])

CODES = {
    "float32": Code(FLOAT32, _float_pack, lambda packed, dim: packed["row"].copy(), _float_score),
    "int8": Code(
        INT8,
        _int8_pack,
        lambda packed, dim: packed["row"].astype(np.float32) * packed["step"][:, None],
        _int8_score,
    ),
    "binary": Code(BINARY, _binary_pack, _binary_unpack, _binary_score),
}
