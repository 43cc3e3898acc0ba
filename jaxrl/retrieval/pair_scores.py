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

from jaxrl.data import reranking_prompts
from jaxrl.models import reranker, rotary
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
    budget=encode.BUDGET,
    dtype=jnp.float32,
    logits=False,
    progress=False,
) -> Callable[[list[tuple[str, str]]], np.ndarray]:
    """pairs (query, document) -> scores [n] f32. Warns of pairs that were cut.

    c: decoder.Config; template: a key of reranking_prompts.TEMPLATES; logits: log odds of yes over
    no, not their sigmoid. The rest as of encode.encode.
    """
    rotary.check_length(c, limit, f"limit={limit}", "lower limit")
    if template not in reranking_prompts.TEMPLATES:
        known = sorted(reranking_prompts.TEMPLATES)
        raise ValueError(f"template={template!r}: give one of {known}")
    answers = reranking_prompts.answers(tokenizer)
    compute = partial(_logit, params, answers=answers, c=c, dtype=dtype)

    def run(pairs):
        rows, cut = reranking_prompts.encode(tokenizer, template, pairs, limit, instruction)
        if cut:
            logging.warning(
                "%d of %d pairs are longer than limit=%d tokens: cut", len(cut), len(pairs), limit
            )
        how = {"longest": limit, "budget": budget, "progress": progress}
        found = encode.over_rows(compute, rows, tokenizer.pad_id, (), **how)
        return found if logits else np.asarray(jax.nn.sigmoid(found))

    return run


@partial(jax.jit, static_argnames=("answers", "c", "dtype"))
def _logit(params, sequences, *, answers, c, dtype):
    return reranker.logits(params, sequences, answers, c, dtype=dtype)
