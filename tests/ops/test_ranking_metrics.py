"""Ranking metrics against loops from the definitions, and against trec_eval itself."""

import functools

import jax
import numpy as np
import oracles_ranking
import pytest

from jaxrl.ops import ranking_metrics

IDS = [f"d{i}" for i in range(30)]  # as bytes: d0 < d1 < d10 < d11 … < d2: not the order of numbers
PLACES = np.argsort(np.argsort([id.encode() for id in IDS]))
K = 12


def runs(seed, queries=25):
    """Random runs with many ties and graded judgements; some queries have nothing relevant."""
    rng = np.random.default_rng(seed)
    found = []
    for q in range(queries):
        listed = rng.permutation(len(IDS))[: rng.integers(1, K + 1)]
        run = {IDS[i]: float(rng.integers(-2, 3)) / 2 for i in listed}
        judged = rng.permutation(len(IDS))[: rng.integers(1, 16)]
        top = 1 if q % 9 == 0 else 4  # every ninth has no relevant document
        qrels = {IDS[i]: int(rng.integers(-1, top)) for i in judged}
        found.append((run, qrels))
    return found


def arrays(found):
    """The same as the kernels take it: rows in the order of the run, holes at the end."""
    scores = np.full((len(found), K), -np.inf, np.float32)
    places, grades = np.zeros((2, len(found), K), np.int32)
    judged = np.zeros((len(found), len(IDS)), np.int32)
    for q, (run, qrels) in enumerate(found):
        for i, (id, score) in enumerate(run.items()):
            scores[q, i], places[q, i] = score, PLACES[IDS.index(id)]
            grades[q, i] = qrels.get(id, 0)
        judged[q, : len(qrels)] = list(qrels.values())
    return ranking_metrics.ranked(scores, places, grades), judged


@pytest.mark.parametrize("name", ranking_metrics.METRICS)
def test_a_metric_equals_its_definition(name):
    """Pins ties left as listed, gains of negative grades, and IDCG of the listed alone."""
    found = runs(seed=1)
    for k in (1, 5, 20):
        metric = functools.partial(ranking_metrics.METRICS[name], k=k)
        got = jax.jit(metric)(*arrays(found))
        want = [getattr(oracles_ranking, name)(run, qrels, k) for run, qrels in found]
        np.testing.assert_allclose(got, want, atol=1e-6)


def test_what_is_not_listed_counts_against_recall_and_the_ideal():
    grades, judged = np.array([[1, 0]]), np.array([[1, 1, 3]])
    assert ranking_metrics.recall(grades, judged, k=2)[0] == pytest.approx(1 / 3)
    assert ranking_metrics.ndcg(grades, judged, k=1)[0] == pytest.approx(1 / 3)


MEASURES = {
    "ndcg": "nDCG@{}",
    "recall": "R@{}",
    "precision": "P@{}",
    "mrr": "RR",
    "map": "AP@{}",
    "hit": "Success@{}",
}


@pytest.mark.peers
@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_metric_equals_trec_evals(name, seed):
    """With ties, judged documents that are not listed, and queries without a relevant one."""
    ir_measures = pytest.importorskip("ir_measures")
    found = runs(seed, queries=40)
    run = {str(q): scores for q, (scores, _) in enumerate(found)}
    qrels = {str(q): judged for q, (_, judged) in enumerate(found)}
    for k in (1, 5, 20):
        measure = ir_measures.parse_measure(MEASURES[name].format(k))
        rows = ir_measures.pytrec_eval.iter_calc([measure], qrels, run)
        theirs = {int(row.query_id): row.value for row in rows}
        if name == "mrr":  # trec_eval's own has no cutoff
            theirs = {q: value if value * k >= 1 else 0 for q, value in theirs.items()}
        got = ranking_metrics.METRICS[name](*arrays(found), k=k)
        np.testing.assert_allclose(got, [theirs[q] for q in range(len(found))], atol=1e-6)


@pytest.mark.peers
def test_exponential_gains_equal_trec_eval_on_grades_that_are_gains():
    pytrec_eval = pytest.importorskip("pytrec_eval")
    found = runs(seed=3, queries=40)
    run = {str(q): scores for q, (scores, _) in enumerate(found)}
    gains = {
        str(q): {id: 2 ** max(g, 0) - 1 for id, g in judged.items()}
        for q, (_, judged) in enumerate(found)
    }
    theirs = pytrec_eval.RelevanceEvaluator(gains, {"ndcg_cut.5"}).evaluate(run)
    got = ranking_metrics.METRICS["ndcg_exp"](*arrays(found), k=5)
    want = [theirs[str(q)]["ndcg_cut_5"] for q in range(len(found))]
    np.testing.assert_allclose(got, want, atol=1e-6)
