"""Pointwise rerankers: a language model asked for yes or no, and the odds of its answer.

    score = σ(h · (W[yes] − W[no])),   h: hidden state at the last token, W: output head

Qwen3-Reranker, Qwen3-VL-Reranker (arXiv:2601.04720). The softmax over the two answers alone is
that sigmoid, so two rows of the head are enough. The prompts are in data/reranking_prompts.py.
"""

import jax
import jax.numpy as jnp

from jaxrl.models import decoder, embedder, heads


def score(params, sequences, answers, c, *, dtype=jnp.float32):
    """Scores [B] f32 in (0, 1): the sigmoid of `logits`."""
    return jax.nn.sigmoid(logits(params, sequences, answers, c, dtype=dtype))


def logits(params, sequences, answers, c, *, dtype=jnp.float32):
    """log odds of yes over no [B] f32: what a score is the sigmoid of, and what is distilled.

    sequences: data.sequences.Sequences [B, T]; answers: reranking_prompts.Answers, the rows of the
    head; c: decoder.Config or qwen3_vl.Config, with a head of its own or tied. NaN for a row
    without a valid token.
    """
    head_VD, row_BD = decoder.head(params), last(params, sequences, c, dtype=dtype)
    row_D = head_VD[answers.yes].astype(jnp.float32) - head_VD[answers.no].astype(jnp.float32)
    return row_BD @ row_D


def last(params, sequences, c, **how):
    """Hidden states [B, D] f32 at the last token, where the answer is read."""
    hidden_BTD = embedder.HIDDEN[type(c)](params, sequences, c, **how)
    return heads.last(hidden_BTD.astype(jnp.float32), sequences.valid)


def words(params, sequences, c, **how):
    """Logits [B, V] f32 of the answer over the whole vocabulary, as training needs them."""
    head_VD = decoder.head(params)
    return jnp.einsum(
        "bd,vd->bv",
        last(params, sequences, c, **how).astype(head_VD.dtype),
        head_VD,
        preferred_element_type=jnp.float32,
    )
