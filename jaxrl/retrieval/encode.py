"""Texts to vectors on the host: tokenised in bulk, batched by length, one program a shape.

    c, tokenizer = embedder_files.open_embedder(path)
    params = checkpoints.load(path, c.model)
    documents = encode.encoder(params, c, tokenizer)
    queries = encode.encoder(params, c, tokenizer, instruction="Given a question, retrieve its ...")
    vectors_nD = documents(["a text", "another"])

`encode` returns beside the vectors which texts were cut, empty, or not embeddable.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from rich.console import Console
from rich.progress import Progress

from jaxrl.data import embedding_prompts
from jaxrl.models import embedder
from jaxrl.retrieval.batches import batches

BUDGET = 1024  # tokens of a batch: as fast on a CPU as more; an accelerator wants more


class Encoded(NamedTuple):
    """Vectors in the order of the texts, and the numbers of the texts with something to report."""

    vectors: np.ndarray  # [n, D] f32
    cut: list[int]  # longer than the limit: encoded without some of their last tokens
    empty: list[int]  # nothing but white space
    bad: list[int]  # whose vector has a NaN or an infinity


def encode(
    params,
    texts,
    c,
    tokenizer,
    *,
    instruction=None,
    budget=BUDGET,
    dtype=jnp.float32,
    progress=False,
):
    """Encoded of texts. c: embedder.Config; instruction: as its template takes it.

    budget: tokens of a batch, padding included. dtype: of activations and products. progress: a
    bar on standard error. A text without a single token is refused before anything is computed.
    """
    rows, cut = embedding_prompts.encode(tokenizer, c.template, texts, c.longest, instruction)
    if not all(rows):
        raise ValueError(
            f"text {rows.index([])} has no token under template={c.template!r}: leave empty texts "
            "out, or use a template that ends every text with a token"
        )
    compute = partial(_embed, params, c=c, dtype=dtype)
    how = {"longest": c.longest, "budget": budget, "progress": progress}
    vectors_nD = over_rows(compute, rows, tokenizer.pad_id, (c.width,), **how)
    empty = [i for i, text in enumerate(texts) if not text.strip()]
    bad = np.flatnonzero(~np.isfinite(vectors_nD).all(1)).tolist()
    return Encoded(vectors_nD, cut, empty, bad)


def encoder(params, c, tokenizer, **how) -> Callable[[list[str]], np.ndarray]:
    """texts -> vectors [n, D] f32. how: as of `encode`.

    Warns of texts that were cut or empty; stops at a vector that is not finite.
    """

    def run(texts):
        found = encode(params, texts, c, tokenizer, **how)
        if found.bad:
            first = found.bad[0]
            raise FloatingPointError(
                f"{len(found.bad)} of {len(texts)} vectors are not finite, the first of text "
                f"{first} ({texts[first][:80]!r}): look for NaN in the parameters, and use "
                "dtype=float32 if they have none"
            )
        if found.cut:
            counts = len(found.cut), len(texts), c.longest
            logging.warning("%d of %d texts are longer than limit=%d tokens: cut", *counts)
        if found.empty:
            logging.warning("%d of %d texts are empty", len(found.empty), len(texts))
        return found.vectors

    return run


def over_rows(compute, rows, pad_id, shape, *, longest, budget, progress):
    """compute(Sequences [B, W]) -> [B, *shape] over rows of ids, in their order: f32.

    While the device computes a batch, the host pads the next. No row may be empty.
    """
    out, waiting = np.zeros((len(rows), *shape), np.float32), None
    with Progress(console=Console(stderr=True), transient=True, disable=not progress) as bar:
        task = bar.add_task("encoding", total=len(rows))
        for batch in batches(rows, pad_id, longest, budget):
            done, waiting = waiting, (batch.index, compute(batch.sequences))
            _fetch(done, out)
            bar.advance(task, len(batch.index))
        _fetch(waiting, out)
    return out


def _fetch(done, out):
    if done is not None:
        index, result = done
        out[index] = np.asarray(result)[: len(index)]


@partial(jax.jit, static_argnames=("c", "dtype"))
def _embed(params, sequences, *, c, dtype):
    return embedder.embed(params, sequences, c, dtype=dtype)
