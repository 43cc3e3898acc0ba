"""Metrics of ranked lists as trec_eval defines them, over all queries at once.

    grades = ranked(scores, places, grades)          # best first, ties as trec_eval breaks them
    METRICS["ndcg"](grades, judged, k=10)            # [Q]

grades: [Q, K] the grade of each listed document, best first; 0 or less: not relevant, not judged,
or nothing listed there. judged: [Q, R] the grades of all judged documents of the query, in any
order, padded with 0: a relevant document that is not listed counts against the list. Every metric
is [Q] f32, and 0 where nothing relevant is judged, as in trec_eval: whoever averages may leave
those out.
"""

import functools

import jax.numpy as jnp


def ranked(scores, places, grades):
    """The grades by falling score; of equal scores the larger id first, as trec_eval has it.

    scores: [Q, K] f32, −inf where nothing is listed; places: [Q, K] int, the document's place among
    all ids in the order of their bytes; grades: [Q, K].  returns: [Q, K], the dtype of grades.
    """
    order = jnp.lexsort((-places, -scores), axis=-1)
    return jnp.take_along_axis(grades, order, axis=-1)


def linear(grades):
    """The gain of a grade is the grade: trec_eval, BEIR, MMEB."""
    return jnp.maximum(grades, 0).astype(jnp.float32)


def exponential(grades):
    """The gain 2^grade − 1 of Burges et al. 2005 (ICML, RankNet): what is best weighs far more."""
    return jnp.exp2(linear(grades)) - 1


def ndcg(grades, judged, *, k, gain=linear):
    """Discounted gain of the first k, in units of the best possible.

        nDCG@k = DCG@k / IDCG@k,   DCG@k = Σ_{i≤k} g_i / log₂(i + 1)

    Järvelin and Kekäläinen 2002, ACM TOIS 20; IDCG takes the judged documents in the best order.
    """
    best = _dcg(-jnp.sort(-gain(judged), axis=-1)[:, :k])
    return _share(_dcg(gain(grades)[:, :k]), best)


def recall(grades, judged, *, k):
    """Share of the relevant documents that stand among the first k."""
    return _share(_relevant(grades)[:, :k].sum(-1), _relevant(judged).sum(-1))


def precision(grades, judged, *, k):
    """Share of relevant documents among the first k; a list shorter than k is not forgiven."""
    return _relevant(grades)[:, :k].sum(-1) / k


def reciprocal_rank(grades, judged, *, k):
    """1 / rank of the first relevant document of the first k, else 0; its mean is MRR@k."""
    found = _relevant(grades)[:, :k]
    return (found / _ranks(found)).max(-1, initial=0)


def average_precision(grades, judged, *, k):
    """Precision at each relevant document of the first k, over all relevant; its mean is MAP@k.

    AP@k = (1 / R) Σ_{i≤k} rel_i · P@i,   R = all relevant documents, listed or not
    """
    found = _relevant(grades)[:, :k]
    at = jnp.cumsum(found, axis=-1) / _ranks(found)
    return _share((found * at).sum(-1), _relevant(judged).sum(-1))


def hit(grades, judged, *, k):
    """1 if a relevant document stands among the first k, else 0: success@k, and MMEB's hit@1."""
    return _relevant(grades)[:, :k].max(-1, initial=0)


METRICS = {
    "ndcg": ndcg,
    "ndcg_exp": functools.partial(ndcg, gain=exponential),
    "recall": recall,
    "precision": precision,
    "mrr": reciprocal_rank,
    "map": average_precision,
    "hit": hit,
}


def _relevant(grades):
    return (grades > 0).astype(jnp.float32)


def _ranks(listed):
    return jnp.arange(1, listed.shape[-1] + 1, dtype=jnp.float32)


def _dcg(gains):
    return (gains / jnp.log2(_ranks(gains) + 1)).sum(-1)


def _share(part, whole):
    return jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1), 0.0)
