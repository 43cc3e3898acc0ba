import functools

import jax
import numpy as np
import oracles_embedding as oracles
import pytest

from jaxrl.ops import contrastive_losses
from jaxrl.ops.contrastive_losses import Labels

N, K, D = 6, 3, 8
STAGES = [  # margin, query_query, document_document, others_negatives
    (0.1, True, True, True),
    (0.1, False, False, True),
    (0.1, True, False, False),
    (np.inf, False, True, True),
]


def batch(junk=np.nan, own_only=(4,)):
    """Related texts, ragged negatives, repeated documents, a padding row, junk under the masks."""
    rng = np.random.default_rng(0)
    topic = rng.normal(size=(3, D))[np.arange(N) % 3]  # rows of one topic are false negatives
    q = oracles.unit(topic + 0.8 * rng.normal(size=(N, D)))
    d = oracles.unit(topic[:, None] + 0.8 * rng.normal(size=(N, K, D)))
    ids = np.arange(N * K).reshape(N, K)
    ids[3, 0], ids[1, 2], ids[2, 1] = ids[0, 0], ids[0, 0], ids[2, 0]
    there = rng.random((N, K)) < 0.8
    there[:, 0] = True
    weight = np.ones(N, np.float32)
    weight[5] = 0
    keep = there & (weight[:, None] > 0)
    q = np.where(weight[:, None] > 0, q, junk).astype(np.float32)
    d = np.where(keep[..., None], d, junk).astype(np.float32)
    alone = np.isin(np.arange(N), own_only)
    return q, d, Labels(ids.astype(np.int32), there, weight, alone)


@functools.partial(jax.jit, static_argnames=("margin", "stage", "name"))
def value_and_grad(q, d, labels, *, margin, stage, name="info_nce"):
    knobs = dict(zip(("query_query", "document_document", "others_negatives"), stage, strict=False))
    loss = functools.partial(getattr(contrastive_losses, name), temperature=0.1, margin=margin)
    return jax.value_and_grad(lambda e: loss(*e, labels, **knobs), has_aux=True)((q, d))


@pytest.mark.parametrize("margin, qq, dd, others_negatives", STAGES)
def test_info_nce_is_its_five_terms(margin, qq, dd, others_negatives):
    """Which documents m_ij and j ≠ i leave out decides a loss; each term is counted apart here."""
    q, d, labels = batch()
    stage = (qq, dd, others_negatives)
    (total, stats), grads = value_and_grad(q, d, labels, margin=margin, stage=stage)
    known = labels.id_NK, labels.mask_NK, labels.weight_N > 0, labels.own_only_N
    want, left_out, right = oracles.info_nce(q, d, *known, 0.1, margin, *stage)
    np.testing.assert_allclose(total, sum(want.values()), rtol=1e-5)
    assert stats["weight"] == len(want) == 5
    assert stats["false_negatives"] == sum(left_out.values()) > 0
    assert stats["accuracy"] == sum(right.values())
    positives = sum(oracles.s(q[i], d[i, 0]) for i in want)
    np.testing.assert_allclose(stats["positive"], positives, rtol=1e-5)
    there = labels.mask_NK & (labels.weight_N > 0)[:, None]
    assert all(np.isfinite(g).all() for g in grads)
    assert not grads[0][5].any() and not grads[1][~there].any()


def test_what_lies_under_the_masks_changes_nothing():
    """A NaN in a padded document came back through 0 · NaN in the gradient of a product."""
    runs = [
        value_and_grad(*batch(junk), margin=0.1, stage=STAGES[0][1:])
        for junk in (np.nan, np.inf, 7.0)
    ]
    for other in runs[1:]:
        jax.tree.map(np.testing.assert_array_equal, runs[0], other)


def test_a_classification_row_and_the_others_do_not_see_each_other():
    """Labels are few: another row's label is as often the right one as not."""
    q, d, labels = batch(junk=0, own_only=(4,))
    run = lambda weight: value_and_grad(
        q, d, labels._replace(weight_N=weight), margin=0.1, stage=STAGES[0][1:]
    )
    one = (np.arange(N) == 4).astype(np.float32)
    (together, _), grads = run(labels.weight_N)
    (alone, stats), own = run(one)
    (others, _), _ = run(labels.weight_N - one)
    np.testing.assert_allclose(together, alone + others, rtol=1e-5)
    for got, want in zip(grads, own, strict=True):
        np.testing.assert_allclose(got[4], want[4], atol=1e-6)
    assert stats["weight"] == 1 and alone > 0


def test_a_mask_is_no_path_for_gradients():
    """m_ij is made of the similarities it weighs: it must count as a constant."""
    q, d, labels = batch(junk=0)
    _, grads = value_and_grad(q, d, labels, margin=0.1, stage=STAGES[0][1:])
    rng = np.random.default_rng(1)
    move = [1e-3 * rng.normal(size=x.shape).astype(np.float32) for x in (q, d)]
    total = lambda sign: value_and_grad(
        q + sign * move[0], d + sign * move[1], labels, margin=0.1, stage=STAGES[0][1:]
    )[0][0]
    slope = sum((g * m).sum() for g, m in zip(grads, move, strict=True))
    np.testing.assert_allclose((total(1) - total(-1)) / 2, slope, rtol=1e-2, atol=1e-4)


def test_symmetric_info_nce_is_the_mean_of_both_directions():
    q, d, labels = batch(own_only=())
    run = functools.partial(value_and_grad, margin=np.inf, stage=(), name="symmetric_info_nce")
    (total, stats), grads = run(q, d, labels)
    want = oracles.symmetric(q, d, labels.id_NK, labels.mask_NK, labels.weight_N > 0, 0.1)
    np.testing.assert_allclose(total, sum(want.values()), rtol=1e-5)
    assert stats["weight"] == len(want)
    assert all(np.isfinite(g).all() for g in grads)


def test_plain_labels_are_every_document_once():
    q, d, _ = batch(junk=0)
    labels = contrastive_losses.plain_labels(N, K)
    stage = STAGES[3][1:]
    (total, stats), _ = value_and_grad(q, d, labels, margin=np.inf, stage=stage)
    every = np.ones((N, K), bool), np.ones(N, bool), np.zeros(N, bool)
    ids = np.arange(N * K).reshape(N, K)
    want, _, _ = oracles.info_nce(q, d, ids, *every, 0.1, np.inf, *stage)
    np.testing.assert_allclose(total, sum(want.values()), rtol=1e-5)
    assert stats["false_negatives"] == 0


def test_cosent_matches_the_pairs_of_pairs():
    rng = np.random.default_rng(0)
    cos, gold = rng.uniform(-1, 1, 9), rng.integers(0, 4, 9) / 3  # with ties
    there = rng.random(9) < 0.8
    cos, gold = np.where(there, cos, np.nan), np.where(there, gold, np.inf)
    run = jax.jit(
        jax.value_and_grad(
            lambda x, y, m: contrastive_losses.cosent(x, y, m, temperature=0.05), has_aux=True
        )
    )
    (loss, stats), grad = run(cos, gold, there)
    want, pairs = oracles.cosent(cos, gold, there, 0.05)
    np.testing.assert_allclose(loss, want, rtol=1e-5)
    assert pairs > 0 and stats["weight"] == 1
    assert np.isfinite(grad).all() and not grad[~there].any()
    (loss, stats), grad = run(cos, np.ones(9), there)  # all alike: nothing to learn
    assert loss == 0 and stats["weight"] == 0 and not grad.any()


def test_distillation_follows_the_teacher_and_leaves_it_alone():
    q, d, labels = batch()
    rng = np.random.default_rng(1)
    there = labels.mask_NK & (labels.weight_N > 0)[:, None]
    teacher = np.where(there, 3 * rng.normal(size=(N, K)), np.nan).astype(np.float32)
    knobs = {"temperature": 0.1, "teacher_temperature": 2.0}
    run = jax.value_and_grad(
        lambda *e: contrastive_losses.distillation(*e, there, **knobs), (0, 1, 2), has_aux=True
    )
    (total, stats), grads = jax.jit(run)(q, d, teacher)
    cosine = [[oracles.s(q[i], d[i, k]) for k in range(K)] for i in range(N)]
    want = oracles.list_net(cosine, teacher, there, 0.1, 2.0)
    np.testing.assert_allclose(total, want, rtol=1e-5)
    assert stats["weight"] == 5
    assert all(np.isfinite(g).all() for g in grads) and not grads[2].any()


def test_yes_no_nll_is_over_the_whole_vocabulary():
    """Over the two words alone the loss would not teach the reranker to answer at all."""
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(4, 11)).astype(np.float32)
    relevant, weight = np.array([True, False, True, True]), np.float32([1, 1, 1, 0])
    logits[3] = np.nan
    run = jax.value_and_grad(
        lambda x: contrastive_losses.yes_no_nll(x, relevant, weight, yes=7, no=2), has_aux=True
    )
    (total, stats), grad = jax.jit(run)(logits)
    p = [oracles.softmax(list(row)) for row in logits[:3].astype(float)]
    np.testing.assert_allclose(total, -np.log(p[0][7] * p[1][2] * p[2][7]), rtol=1e-5)
    np.testing.assert_allclose(grad[0], np.array(p[0]) - np.eye(11)[7], atol=1e-6)
    assert stats["weight"] == 3 and not grad[3].any()
    score = contrastive_losses.yes_no_score(logits, yes=7, no=2)
    np.testing.assert_allclose(score[:3], logits[:3, 7] - logits[:3, 2])
    assert stats["accuracy"] == ((score > 0) == relevant)[:3].sum()
