"""What retrieval asks of a model, and how one is opened by its name.

    open_encoder("runs/minilm")             a checkpoint, as its files describe it
    open_encoder("runs/mine#dim=256,pooling=mean")
    open_encoder("my.module:function")      whatever the function returns

An encoder turns contents, texts or whatever else its model takes, into unit rows. An index is tied
to its encoder by the fingerprint alone.
"""

import dataclasses
import functools
import hashlib
import importlib
import re
from collections.abc import Callable, Sequence

import jax
import numpy as np

from jaxrl.models import checkpoints, embedder_files
from jaxrl.ops import fingerprint as words
from jaxrl.retrieval import encode as encode_texts


@dataclasses.dataclass(frozen=True)
class Encoder:
    """One model, for both sides of a search."""

    documents: Callable[[Sequence], np.ndarray]  # contents -> [n, D] f32, rows of length 1
    queries: Callable[[Sequence], np.ndarray]  # the same, with the instruction of queries
    dim: int  # D
    fingerprint: str  # of the model, the dimension and the instruction of documents


OWN = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)")  # module:function
SETTINGS = {"pooling": str, "template": str, "dim": int, "limit": int}  # of embedder.Config


def open_encoder(name, instruction=None, *, bad="refuse"):
    """The Encoder of a checkpoint, with settings behind a #, or of one's own "module:function".

    instruction: of queries, as the model's template takes it. Documents have none. bad: documents
    whose pictures cannot be read get a warning and a row of NaN under "skip", and under "refuse"
    they stop it; one's own function does as it likes.
    """
    own = OWN.fullmatch(name)
    if own is None or name.startswith("package:"):
        return _embedder(name, instruction, bad)
    if instruction is not None:
        raise ValueError(f"instruction = {instruction!r}: {name!r} has its own; leave it out")
    try:
        function = getattr(importlib.import_module(own[1]), own[2])
    except (ImportError, AttributeError) as e:
        raise ValueError(
            f"model = {name!r} cannot be opened ({e}): give a directory, a .gguf file, or "
            '"module:function" that returns a retrieval.encoders.Encoder'
        ) from None
    encoder = function()
    if not isinstance(encoder, Encoder):
        raise TypeError(f"model = {name!r} gave a {type(encoder).__name__}, not an Encoder")
    return encoder


def _embedder(name, instruction, bad):
    path, _, settings = name.partition("#")
    path = checkpoints.source(path)
    c, tokenizer = embedder_files.open_embedder(path, **_settings(name, settings))
    if not c.normalize:
        c = dataclasses.replace(c, normalize=True)  # search is by cosine
    params = checkpoints.load(path, c.model)
    side = functools.partial(encode_texts.encoder, params, c, tokenizer)
    how = {key: getattr(c, key) for key in ("pooling", "template", "limit")}
    print_ = fingerprint(params, dim=c.width, **how)
    return Encoder(side(bad=bad), side(instruction=instruction), c.width, print_)


def _settings(name, text):
    """ "pooling=mean,dim=256" -> {"pooling": "mean", "dim": 256}."""
    found = dict(part.partition("=")[::2] for part in text.split(",") if part)
    try:
        return {key: SETTINGS[key](value) for key, value in found.items()}
    except (KeyError, ValueError) as e:
        raise ValueError(
            f"model = {name!r} has settings that cannot be ({e}): give {', '.join(SETTINGS)} as "
            "KEY=VALUE behind #, with commas between"
        ) from None


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
