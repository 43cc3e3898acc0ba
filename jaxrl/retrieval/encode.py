"""Contents to vectors on the host: tokenised in bulk, batched by length, one program a shape.

    c, tokenizer = embedder_files.open_embedder(path)
    params = checkpoints.load(path, c.model)
    documents = encode.encoder(params, c, tokenizer)
    queries = encode.encoder(params, c, tokenizer, instruction="Given a question, retrieve its ...")
    vectors_nD = documents(["a text", Content("a cat", images=("cat.png",))])

`encode` returns beside the vectors which contents were cut, empty, unreadable or not embeddable.
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

from jaxrl.data import embedding_sequences
from jaxrl.models import embedder
from jaxrl.parallel import hosts
from jaxrl.retrieval.batches import batches

BUDGET = 1024  # tokens of a batch: as fast on a CPU as more; an accelerator wants more
AT_ONCE = 16  # contents with pictures whose patches are held at once: at most some 700 MB


class Encoded(NamedTuple):
    """Vectors in the order of the contents, and the numbers of those with something to report."""

    vectors: np.ndarray  # [n, D] f32; NaN where the pictures cannot be read
    cut: list[int]  # longer than the limit: encoded without some of their last tokens
    empty: list[int]  # nothing but white space
    bad: list[int]  # whose vector has a NaN or an infinity, though the content was read
    unread: dict[int, str]  # number -> why its pictures cannot be read


def encode(
    params,
    contents,
    c,
    tokenizer,
    *,
    instruction=None,
    media=None,
    bad="refuse",
    budget=BUDGET,
    dtype=jnp.float32,
    progress=False,
):
    """Encoded of texts and Contents. c: embedder.Config; instruction: as its template takes it.

    media, bad: of pictures, as of embedding_sequences.render. budget: tokens of a batch, padding
    included. dtype: of activations and products. progress: a bar on standard error. A content
    without a single token is refused before anything is computed.
    """
    how = {"tower": c.tower, "media": media, "bad": bad}
    read = lambda some: embedding_sequences.render(
        tokenizer, c.template, some, c.longest, instruction, **how
    )
    compute = partial(_embed, params, c=c, dtype=dtype)
    over = {"longest": c.longest, "budget": budget, "tower": c.tower, "progress": progress}
    pictured = [embedding_sequences.sees(content) for content in contents]
    vectors_nD, cut, unread = over_contents(
        read, compute, contents, pictured, tokenizer.pad_id, (c.width,), **over
    )
    texts = [embedding_sequences.content(content).text for content in contents]
    empty = [i for i, text in enumerate(texts) if not text.strip() and not pictured[i]]
    wrong = np.flatnonzero(~np.isfinite(vectors_nD).all(1)).tolist()
    return Encoded(vectors_nD, cut, empty, [i for i in wrong if i not in unread], unread)


def encoder(params, c, tokenizer, **how) -> Callable[[list], np.ndarray]:
    """Contents -> vectors [n, D] f32. how: as of `encode`.

    Warns of contents that were cut or empty, or whose pictures were skipped, which have a row of
    NaN; stops at a vector that is not finite for another reason.
    """

    def run(contents):
        found = encode(params, contents, c, tokenizer, **how)
        if found.bad:
            first = found.bad[0]
            raise FloatingPointError(
                f"{len(found.bad)} of {len(contents)} vectors are not finite, the first of text "
                f"{first} ({contents[first]!r:.80}): look for NaN in the parameters, and "
                "use dtype=float32 if they have none"
            )
        if found.cut:
            counts = len(found.cut), len(contents), c.longest
            logging.warning("%d of %d texts are longer than limit=%d tokens: cut", *counts)
        if found.empty:
            logging.warning("%d of %d texts are empty", len(found.empty), len(contents))
        for why in found.unread.values():
            logging.warning("skipped: %s", why)
        return found.vectors

    return run


def over_contents(read, compute, contents, pictured, pad_id, shape, **how):
    """(compute's results [n, *shape] f32, numbers of the cut, {number: why it is unread}).

    AT_ONCE contents with pictures are read at a time, since patches are large; then all texts.
    read: some contents -> embedding_sequences.Read; pictured: which have pictures; how: as of
    `over_rows`. The result of what is unread is NaN.
    """
    plain = [i for i, seen in enumerate(pictured) if not seen]
    others = [i for i, seen in enumerate(pictured) if seen]
    parts = [*(others[i : i + AT_ONCE] for i in range(0, len(others), AT_ONCE)), plain]
    out, cut, unread = np.full((len(contents), *shape), np.nan, np.float32), [], {}
    for part in parts:
        found = read([contents[i] for i in part])
        here = [i for i, row in zip(part, found.rows, strict=True) if row is not None]
        rows = [row for row in found.rows if row is not None]
        if not all(rows):
            raise ValueError(
                f"text {here[rows.index([])]} has no token under its template: leave empty texts "
                "out, or use a template that ends every text with a token"
            )
        out[here] = over_rows(compute, rows, pad_id, shape, **how)
        cut += [part[n] for n in found.cut]
        unread |= {part[n]: why for n, why in found.bad.items()}
    return out, sorted(cut), unread


def over_rows(compute, rows, pad_id, shape, *, longest, budget, progress, tower=None):
    """compute(Sequences [B, W]) -> [B, *shape] over rows as sequences.pad takes them: f32.

    While the device computes a batch, the host pads the next. No row may be empty.
    """
    out, waiting = np.zeros((len(rows), *shape), np.float32), None
    with Progress(console=Console(stderr=True), transient=True, disable=not progress) as bar:
        task = bar.add_task("encoding", total=len(rows))
        for batch in batches(rows, pad_id, longest, budget, tower):
            done, waiting = waiting, (batch.index, compute(batch.sequences))
            _fetch(done, out)
            bar.advance(task, len(batch.index))
        _fetch(waiting, out)
    return out


def _fetch(done, out):
    if done is not None:
        index, result = done
        out[index] = hosts.everywhere(result)[: len(index)]


@partial(jax.jit, static_argnames=("c", "dtype"))
def _embed(params, sequences, *, c, dtype):
    return embedder.embed(params, sequences, c, dtype=dtype)
