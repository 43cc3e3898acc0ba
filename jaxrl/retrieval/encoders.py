"""What retrieval asks of a model, and the table of models by name.

An encoder turns contents, texts or whatever else its model takes, into unit rows. Nothing in this
folder knows how: an index is tied to its encoder by the fingerprint alone.
"""

import dataclasses
import hashlib
import importlib
from collections.abc import Callable, Sequence

import jax
import numpy as np

from jaxrl.ops import fingerprint as words


@dataclasses.dataclass(frozen=True)
class Encoder:
    """One model, for both sides of a search."""

    documents: Callable[[Sequence], np.ndarray]  # contents -> [n, D] f32, rows of length 1
    queries: Callable[[Sequence], np.ndarray]  # the same, with the instruction of queries
    dim: int  # D
    fingerprint: str  # of the model, the dimension and the instruction of documents


ENCODERS: dict[str, Callable[[str], Encoder]] = {}  # "kind" of "kind:rest" -> rest -> Encoder


def open_encoder(name):
    """The Encoder of "kind:…", a kind of ENCODERS, or of one's own "module:function"."""
    kind, colon, rest = name.partition(":")
    if not colon or not rest:
        raise ValueError(f"model = {name!r} names no encoder: {_known()}")
    if kind in ENCODERS:
        return ENCODERS[kind](rest)
    try:
        function = getattr(importlib.import_module(kind), rest)
    except (ImportError, AttributeError) as e:
        raise ValueError(f"model = {name!r} cannot be opened ({e}): {_known()}") from None
    encoder = function()
    if not isinstance(encoder, Encoder):
        raise TypeError(f"model = {name!r} gave a {type(encoder).__name__}, not an Encoder")
    return encoder


def fingerprint(params, **settings):
    """A fingerprint of a tree of parameters and of all else that changes a document's row.

    settings: plain values, such as dim, pooling, instruction. The parameters' sharding is not seen.
    """
    leaves = jax.tree.leaves_with_path(params)
    parts = [(jax.tree_util.keystr(at), x.shape, int(words.fingerprint(x))) for at, x in leaves]
    return hashlib.sha256(repr((parts, sorted(settings.items()))).encode()).hexdigest()[:16]


def encode(function, contents, dim, ids):
    """The rows of contents, checked: [n, dim] f32, of length 1 or not finite.

    ids: a name for each content, for the error. What is not finite is the caller's to judge.
    """
    rows = np.asarray(function(contents), np.float32)
    if rows.shape != (len(contents), dim):
        raise ValueError(
            f"the encoder gave {list(rows.shape)} for {len(contents)} contents of dim = {dim}: "
            f"it must give [{len(contents)}, {dim}]"
        )
    length = np.linalg.norm(rows.astype(np.float64), axis=1)  # as float32, 1e30 has length inf
    wrong = np.flatnonzero(np.isfinite(length) & (np.abs(length - 1) > 1e-2))  # bfloat16: 4e-3
    if len(wrong):
        raise ValueError(
            f"the row of {ids[wrong[0]]!r} has length {length[wrong[0]]:.3f}: an encoder divides "
            "its rows by their length"
        )
    return rows


def _known():
    kinds = ", ".join(f"{kind}:…" for kind in ENCODERS)
    own = '"module:function" that returns a retrieval.encoders.Encoder'
    return f"give {kinds}, or {own}" if kinds else f"give {own}"
