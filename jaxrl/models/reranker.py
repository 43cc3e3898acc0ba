"""Pointwise rerankers: a language model asked for yes or no, and the odds of its answer.

    score = σ(h · (W[yes] − W[no])),   h: hidden state at the last token, W: output head

Qwen3-Reranker, Qwen3-VL-Reranker (arXiv:2601.04720). The softmax over the two answers alone is
that sigmoid, so two rows of the head are enough. The prompts are in data/reranking_prompts.py.
"""

import jax
import jax.numpy as jnp

from jaxrl.models import decoder, embedder, heads


def score(params, sequences, answers, c, *, dtype=jnp.float32):
    """Scores [B] f32 in (0, 1): data.sequences.Sequences [B, T], answers as of `logit`.

    c: decoder.Config or qwen3_vl.Config, with a head of its own or tied. NaN for a row without a
    valid token.
    """
    hidden_BTD = embedder.HIDDEN[type(c)](params, sequences, c, dtype=dtype)
    return jax.nn.sigmoid(logit(decoder.head(params), hidden_BTD, sequences.valid, answers))


def logit(head_VD, hidden_BTD, valid_BT, answers):
    """log odds of yes over no [B] f32: what a score is the sigmoid of, and what is distilled.

    answers: reranking_prompts.Answers, the rows of the head.
    """
    row_D = head_VD[answers.yes].astype(jnp.float32) - head_VD[answers.no].astype(jnp.float32)
    return heads.last(hidden_BTD.astype(jnp.float32), valid_BT) @ row_D
