"""Losses of embedders and rerankers on batches of queries and documents; (sum, stats of sums) out.

N rows, each a query and K documents of its own, the first of which is its positive and the others
its hard negatives. Embeddings are unit vectors, so that products are cosines. stats["weight"] is
what a sum is to be divided by, over the whole batch. Left out on purpose: losses on the order of a
list alone, which are in `ranking_losses`, and how a batch is spread over devices (`global_batch`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl.ops import ranking_losses
from jaxrl.ops.embeddings import cosines, own_cosines

NEVER = -1e30  # a logit that is out of the sum


class Labels(NamedTuple):
    """What is known of a batch beside its embeddings."""

    id_NK: jax.Array  # int32: equal numbers, equal documents, in all rows
    mask_NK: jax.Array  # bool: there is a document (always the first, in a row that counts); the
    # others may hold anything
    weight_N: jax.Array  # f32: of the row; 0 = padding, which is nobody's negative
    own_only_N: jax.Array  # bool: a classification row, whose negatives are its own labels alone


def plain_labels(N, K):
    """Labels of N rows of K different documents, all there and all of weight 1."""
    ids_NK = jnp.arange(N * K, dtype=jnp.int32).reshape(N, K)
    return Labels(ids_NK, jnp.ones((N, K), bool), jnp.ones(N), jnp.zeros(N, bool))


def info_nce(
    query_ND,
    document_NKD,
    labels,
    *,
    temperature,
    margin=0.1,
    query_query=False,
    document_document=False,
    others_negatives=True,
    whole=None,
    start=0,
):
    """The contrastive loss of Qwen3-VL-Embedding, without false negatives.

        −log( exp(s(q_i,d_i)/τ) / Z_i )
        Z_i = exp(s(q_i,d_i)/τ) + Σ_k m_ik exp(s(q_i,d⁻_ik)/τ) + Σ_{j≠i} m_ij exp(s(q_i,d_j)/τ)
              [+ Σ_{j≠i} m_ij exp(s(q_i,q_j)/τ)] [+ Σ_{j≠i} m_ij exp(s(d_i,d_j)/τ)]
        m_ij = 0 if sg s_ij > sg s(q_i,d_i) + margin or d_j = d_i, else 1

    arXiv:2601.04720: stage 1 has both brackets, stage 2 none. The margin, in cosines, holds for
    scores of a query; of d-d pairs the report names no bound, and its port in ms-swift has none.
    d_j are all documents of row j, as in the port, or with others_negatives=False its positive; a
    query q_j has the d_j of its row. The port counts a row's own negatives in d-d, too; with j ≠ i,
    as printed, they are not. Classification rows have the first two terms; that they are in
    nobody's sum, either, is not given in the paper; our choice. E2Rank's loss, arXiv:2510.22733,
    has margin=inf.

    query_ND, document_NKD: unit vectors, any float. whole, start: embeddings and labels of the
    whole batch, of which these rows begin at `start` (see `global_batch`); None = these are all.
    returns: (sum over rows, stats); accuracy: the positive is above each negative document;
    positive: its cosine; false_negatives: documents and queries that m left out.
    """
    others = (query_ND, document_NKD, labels) if whole is None else whole
    query_ND, document_NKD = _cleared(query_ND, document_NKD, labels)
    query_MD, document_MKD = _cleared(*others)
    others = others[2]
    if not others_negatives:
        document_MKD, others = document_MKD[:, :1], _first(others)
    other_NM = _in_batch(labels, others, start)
    there_NMK = other_NM[:, :, None] & others.mask_NK[None]
    own_NK, first_N1 = own_cosines(query_ND, document_NKD), labels.id_NK[:, :1]
    same_NMK = others.id_NK[None] == first_N1[:, :, None]
    bound_N1 = jax.lax.stop_gradient(own_NK[:, :1]) + margin

    qd_NMK = cosines("nd,mkd->nmk", query_ND, document_MKD)
    documents = [
        _term(own_NK[:, 1:], labels.mask_NK[:, 1:], labels.id_NK[:, 1:] == first_N1, bound_N1),
        _term(qd_NMK, there_NMK, same_NMK, bound_N1),
    ]
    extra = []
    if query_query:
        qq_NM = cosines("nd,md->nm", query_ND, query_MD)
        extra.append(_term(qq_NM, other_NM, same_NMK[:, :, 0], bound_N1))
    if document_document:
        dd_NMK = cosines("nd,mkd->nmk", document_NKD[:, 0], document_MKD)
        extra.append(_term(dd_NMK, there_NMK, same_NMK, jnp.inf))
    return _sums(own_NK[:, 0], documents, extra, labels.weight_N, temperature)


def symmetric_info_nce(
    query_ND,
    document_NKD,
    labels,
    *,
    temperature,
    margin=jnp.inf,
    others_negatives=False,
    whole=None,
    start=0,
):
    """The mean of a query's choice among documents and a document's choice among queries.

        (L_i^{q→d} + L_i^{d→q}) / 2,   L_i^{d→q}: s(q_i,d_i) against s(q_j,d_i), j ≠ i

    GVE, arXiv:2510.27571: own hard negatives and the others' positives on the one side, the
    others' queries on the other; no margin. A query whose positive is the same document is no
    negative of it (not given in the paper; our choice).

    returns: as `info_nce`, stats of q→d.
    """
    turned = lambda q, d, known: (d[:, 0], q[:, None], _first(known))
    rows, back = (query_ND, document_NKD, labels), None if whole is None else turned(*whole)
    knobs = {"temperature": temperature, "margin": margin, "start": start}
    forth, stats = info_nce(*rows, others_negatives=others_negatives, whole=whole, **knobs)
    return (forth + info_nce(*turned(*rows), whole=back, **knobs)[0]) / 2, stats


def cosent(cosine_N, gold_N, mask_N, *, temperature):
    """Orders all pairs of texts of a batch by their gold similarity, in one number a batch.

        log(1 + Σ_{y_a > y_b} exp((cos_b − cos_a)/τ))

    Su 2022 (kexue.fm/archives/8847); Huang et al. 2024, doi 10.1109/TASLP.2024.3402087. The loss of
    Qwen3-VL-Embedding on similarity data.

    cosine_N: of the two texts of each row; gold_N: higher = more alike; mask_N: bool.
    returns: (loss, stats); weight 1, or 0 without two different gold scores.
    """
    cosine_N, gold_N = (jnp.where(mask_N, x.astype(jnp.float32), 0) for x in (cosine_N, gold_N))
    pair_NN = (gold_N[:, None] > gold_N[None]) & mask_N[:, None] & mask_N[None]
    wrong_NN = (cosine_N[None] - cosine_N[:, None]) / temperature
    terms = jnp.where(pair_NN, wrong_NN, NEVER).reshape(-1)
    loss = jax.nn.logsumexp(jnp.concatenate([jnp.zeros(1), terms]))
    return loss, {"weight": pair_NN.any().astype(jnp.float32)}


def distillation(
    query_ND, document_NKD, teacher_NK, mask_NK, *, temperature, teacher_temperature=1.0
):
    """A row's cosines against a reranker's logits: `ranking_losses.list_net` between the two.

        −Σ_i softmax(z)_i log softmax(cos(q,d_i)/τ)_i

    Stage 3 of Qwen3-VL-Embedding, arXiv:2601.04720. z = logit(yes) − logit(no) and the teacher's
    temperature 1 are our reading; τ is not given.

    returns: (sum over rows, stats).
    """
    query_ND = jnp.where(mask_NK.any(1)[:, None], query_ND, 0)
    document_NKD = jnp.where(mask_NK[:, :, None], document_NKD, 0)
    cosine_NK = own_cosines(query_ND, document_NKD)
    knobs = {"temperature": temperature, "target_temperature": teacher_temperature}
    return ranking_losses.list_net(cosine_NK, teacher_NK, mask_NK, **knobs)


def yes_no_nll(logits_NV, relevant_N, weight_N, *, yes, no):
    """A reranker's loss: the word it should say, over the whole vocabulary.

        −log p(l | I, q, d),   l = "yes" if relevant, else "no"

    Qwen3-VL-Reranker, arXiv:2601.04720.

    logits_NV: where the answer is read, any float; relevant_N: bool; weight_N f32, 0 = padding;
    yes, no: token ids.  returns: (sum over rows, stats); accuracy: of the two words the right one.
    """
    logits_NV = jnp.where(weight_N[:, None] > 0, logits_NV.astype(jnp.float32), 0)
    word_N = jnp.where(relevant_N, yes, no)
    logp_NV = jax.nn.log_softmax(logits_NV)
    logp_N = jnp.take_along_axis(logp_NV, word_N[:, None], 1)[:, 0]
    right_N = (yes_no_score(logits_NV, yes=yes, no=no) > 0) == relevant_N
    return -(weight_N * logp_N).sum(), {
        "weight": weight_N.sum(),
        "accuracy": (weight_N * right_N).sum(),
    }


def yes_no_score(logits_NV, *, yes, no):
    """A reranker's logit, logit(yes) − logit(no), [N] f32; σ of it is its score."""
    return (logits_NV[:, yes] - logits_NV[:, no]).astype(jnp.float32)


def _cleared(query_ND, document_NKD, labels):
    """f32 with zeros under the masks: NaN there would come back as a gradient."""
    row_N = labels.weight_N > 0
    there_NK = labels.mask_NK & row_N[:, None]
    clear = lambda x, keep: jnp.where(keep[..., None], x.astype(jnp.float32), 0)
    return clear(query_ND, row_N), clear(document_NKD, there_NK)


def _first(labels):
    """Labels of the first document of each row alone."""
    return labels._replace(id_NK=labels.id_NK[:, :1], mask_NK=labels.mask_NK[:, :1])


def _in_batch(labels, others, start):
    """Whether row m of the batch is a negative of row n, [N, M]."""
    takes_N, gives_M = (~x.own_only_N & (x.weight_N > 0) for x in (labels, others))
    row_N = start + jnp.arange(len(takes_N))
    different_NM = row_N[:, None] != jnp.arange(len(gives_M))[None]
    return different_NM & takes_N[:, None] & gives_M[None]


def _term(score, there, same, bound_N1):
    """Scores [N, X], which of them count, and which would if they were no false negatives."""
    score, there, same = (x.reshape(len(x), -1) for x in (score, there, same))
    return score, there & ~same & (jax.lax.stop_gradient(score) <= bound_N1), there


def _sums(positive_N, documents, extra, weight_N, temperature):
    score_NX, keep_NX, there_NX = (
        jnp.concatenate(x, 1) for x in zip(*documents, *extra, strict=True)
    )
    logit_NX = jnp.where(keep_NX, score_NX / temperature, NEVER)
    first_N = positive_N / temperature
    loss_N = jax.nn.logsumexp(jnp.concatenate([first_N[:, None], logit_NX], 1), axis=1) - first_N
    X = sum(score.shape[1] for score, _, _ in documents)
    best_N = (logit_NX[:, :X] < first_N[:, None]).all(1)
    stats = {
        "weight": weight_N,
        "accuracy": weight_N * best_N,
        "positive": weight_N * positive_N,
        "false_negatives": weight_N * (there_NX & ~keep_NX).sum(1),
    }
    return (weight_N * loss_N).sum(), {name: x.sum() for name, x in stats.items()}
