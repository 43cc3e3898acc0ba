"""Pairs of query and document to scores, by a pointwise reranker, batched as encode.py batches.

c, tokenizer = checkpoints.config(path), checkpoints.tokenizer(path)
score = pair_scores.scorer(checkpoints.load(path), c, tokenizer, "qwen3")
score([("a query", "a document"), ("a query", "another")])      [2] f32 in (0, 1)
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from jaxrl.data import embedding_sequences, reranking_prompts
from jaxrl.models import embedder, reranker
from jaxrl.retrieval import encode

LIMIT = 10_240  # tokens of a pair, as Qwen3-VL-Reranker's code sets it


def scorer(
    params,
    c,
    tokenizer,
    template,
    *,
    instruction=None,
    limit=LIMIT,
    media=None,
    budget=encode.BUDGET,
    dtype=jnp.float32,
    logits=False,
    progress=False,
) -> Callable[[list[tuple]], np.ndarray]:
    """pairs (query, document) -> scores [n] f32. Warns of pairs that were cut.

    A query or a document is a text or a Content. c: decoder.Config or qwen3_vl.Config; template: a
    key of reranking_prompts.TEMPLATES; logits: log odds of yes over no, not their sigmoid. The rest
    as of encode.encode; a picture that cannot be read is a MediaError.
    """
    embedder.check_length(c, limit)
    if template not in reranking_prompts.TEMPLATES:
        known = sorted(reranking_prompts.TEMPLATES)
        raise ValueError(f"template={template!r}: give one of {known}")
    answers = reranking_prompts.answers(tokenizer)
    compute = partial(_logit, params, answers=answers, c=c, dtype=dtype)

    tower, sees = embedder.tower(c), embedding_sequences.sees
    read = lambda pairs: embedding_sequences.render_pairs(
        tokenizer, template, pairs, limit, instruction, tower=tower, media=media
    )

    def run(pairs):
        how = {"longest": limit, "budget": budget, "progress": progress, "tower": tower}
        pictured = [any(map(sees, pair)) for pair in pairs]
        scores, cut, _ = encode.over_contents(
            read, compute, pairs, pictured, tokenizer.pad_id, (), **how
        )
        if cut:
            logging.warning(
                "%d of %d pairs are longer than limit=%d tokens: cut", len(cut), len(pairs), limit
            )
        return scores if logits else np.asarray(jax.nn.sigmoid(scores))

    return run


@partial(jax.jit, static_argnames=("answers", "c", "dtype"))
def _logit(params, sequences, *, answers, c, dtype):
    return reranker.logits(params, sequences, answers, c, dtype=dtype)
