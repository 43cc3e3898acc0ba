"""What merging is judged by: rows held out from training, as arrays; a loss and a score of them.

probe = read("probe.jsonl", c, tokenizer)
total, weight = loss(params, probe, rows, weights, c)       # of some of its rows
score(params, probe, c)                                     # nDCG@10 over all its documents
"""

import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.algos import embedding_objectives
from jaxrl.data import embedding_rows, embedding_sequences, sequences
from jaxrl.models import embedder
from jaxrl.ops import ranking_metrics
from jaxrl.ops.contrastive_losses import Labels

CONTRASTIVE = embedding_objectives.ContrastiveConfig(name="info_nce")
PLACES = 10  # of the list that nDCG reads
TOGETHER = 32  # contents embedded at a time for a score


class Probe(NamedTuple):
    """Rows of queries with their documents, of which each stands once."""

    query: sequences.Sequences  # [N, T]
    document: sequences.Sequences  # [U, S]
    id_NK: np.ndarray  # int32: which document; the first of a row is its positive
    mask_NK: np.ndarray  # bool: there is one
    own_only_N: np.ndarray  # bool: a classification row
    grade_NU: np.ndarray  # int32: 1 for what answers the query, in whichever row it stands


def read(path, c, tokenizer):
    """The Probe of a file of data/embedding_rows.py. c: embedder.Config."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"probe={str(path)!r} is no file: give one of JSON lines")
    return build(embedding_rows.read(path).found, c, tokenizer)


def build(found, c, tokenizer):
    """The Probe of Examples: a row a query. Of several positives the loss sees the first."""
    number, firsts, answers = {}, {}, {}
    for example in found:
        for document in example.documents:
            number.setdefault(document, len(number))
        firsts.setdefault(example.query, example)
        answers.setdefault(example.query, set()).add(number[example.documents[0]])
    rows = list(firsts.values())
    shape = len(rows), max(len(example.documents) for example in rows)
    id_NK, mask_NK = np.zeros(shape, np.int32), np.zeros(shape, bool)
    grade_NU = np.zeros((len(rows), len(number)), np.int32)
    for n, example in enumerate(rows):
        ids = [number[document] for document in example.documents]
        id_NK[n, : len(ids)], mask_NK[n, : len(ids)] = ids, True
        grade_NU[n, list(answers[example.query])] = 1
    queries = [(example.query, example.instruction) for example in rows]
    sides = (_padded(x, c, tokenizer) for x in (queries, [(d, None) for d in number]))
    own_only_N = np.array([example.own_only for example in rows])
    return Probe(*sides, id_NK, mask_NK, own_only_N, grade_NU)


def _padded(contents, c, tokenizer):
    """(Content, instruction) pairs -> Sequences."""
    read = functools.partial(embedding_sequences.render, tokenizer, c.template, tower=c.tower)
    rows = [read([x], c.longest, instruction).rows[0] for x, instruction in contents]
    short = [x for (x, _), row in zip(contents, rows, strict=True) if not len(row)]
    if short:
        raise ValueError(f"{short[0]} of the probe has no token: leave it out")
    return sequences.pad(rows, pad_id=tokenizer.pad_id, tower=c.tower)


def loss(params, probe, row_n, weight_n, c):
    """(InfoNCE summed over rows of the probe, their weight), with each other's negatives.

    arXiv:2601.04720 as `algos.embedding_objectives` has it, at its default temperature. row_n:
    which rows; weight_n: 0 for a row that is padding.
    """
    take = lambda tree, i: jax.tree.map(lambda x: jnp.asarray(x)[i], tree)
    id_nK, mask_nK, own_only_n = take((probe.id_NK, probe.mask_NK, probe.own_only_N), row_n)
    document_XD = embedder.embed(params, take(probe.document, id_nK.reshape(-1)), c)
    e = {"query": embedder.embed(params, take(probe.query, row_n), c)}
    e["document"] = document_XD.reshape(*id_nK.shape, -1)
    labels = Labels(id_nK, mask_nK, weight_n, own_only_n)
    blank_nK = jnp.zeros(id_nK.shape)
    total, stats = embedding_objectives.evaluate({}, e, labels, blank_nK, CONTRASTIVE)
    return total, stats["weight"]


def score(params, probe, c):
    """Mean nDCG@10 of the probe's queries over all its documents, or over a classification row's.

    Of equal scores a wrong document comes first, so that a constant model gains nothing.
    """
    query_ND, document_UD = (_vectors(params, x, c) for x in (probe.query, probe.document))
    listed_NU = np.repeat(~probe.own_only_N[:, None], len(document_UD), axis=1)
    listed_NU[np.nonzero(probe.mask_NK)[0], probe.id_NK[probe.mask_NK]] = True
    score_NU = jnp.where(listed_NU, query_ND @ document_UD.T, -jnp.inf)
    judged_NU = np.where(listed_NU, probe.grade_NU, 0)
    grades_NU = ranking_metrics.ranked(score_NU, -judged_NU, judged_NU)
    return float(ranking_metrics.ndcg(grades_NU, judged_NU, k=PLACES).mean())


def _vectors(params, rows, c):
    """Vectors [rows, D], some rows at a time."""
    count, found = len(rows.tokens), []
    for start in range(0, count, TOGETHER):
        index = np.arange(start, start + TOGETHER) % count
        found.append(_embed(params, jax.tree.map(lambda x, i=index: x[i], rows), c))
    return jnp.concatenate(found)[:count]


_embed = jax.jit(embedder.embed, static_argnames="c")
