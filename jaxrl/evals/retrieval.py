"""Evaluates a searcher, of embeddings or of words, on a task: metrics with intervals over queries.

task = judged.read_beir("scifact")
rows, counts = evaluate(task, lexical.searcher(task.documents))
print(text({"bm25": rows}))
"""

import functools

import jax
import numpy as np

from jaxrl.evals import tables
from jaxrl.ops import metrics, ranking_metrics
from jaxrl.retrieval import search

DEFAULT = ("ndcg@10", "mrr@10", "recall@100")
TOGETHER = 1024  # queries in a call of the searcher


def evaluate(task, find, names=DEFAULT):
    """(rows, counts) of a searcher on a judged.Task.

    find: (queries: list, k) -> retrieval.search.Hits; names: "metric@k" of ranking_metrics.METRICS.
    Rows: task, metric, n, value (mean over queries), low and high (its bootstrap 95 % interval).
    Queries without a relevant document are left out, and counted.
    """
    hits = run(task, find, max(parse(name)[1] for name in names))
    values = score(task, hits, names)
    counted = np.array([any(g > 0 for g in task.qrels[q].values()) for q in task.queries])
    if not counted.any():
        raise ValueError(
            f"{task.name}: no query has a relevant document: there is nothing to score"
        )
    rows = [_row(task.name, name, values[name], counted) for name in names]
    return rows, task.skipped | {"without_relevant": int((~counted).sum())}


def run(task, find, k):
    """The Hits of all queries of a task, excluded documents taken out: [Q, k]."""
    queries, ids = list(task.queries.values()), list(task.queries)
    most = max((len(task.excluded.get(q, ())) for q in ids), default=0)
    number = {id: n for n, id in enumerate(task.documents.ids)} if most else {}
    found = []
    for start in range(0, len(queries), TOGETHER):
        hits = find(queries[start : start + TOGETHER], k + most)
        scores = hits.scores.copy()
        for row, q in enumerate(ids[start : start + TOGETHER]):
            out = [number[id] for id in task.excluded.get(q, ()) if id in number]
            scores[row, np.isin(hits.numbers[row], out)] = -np.inf
        found.append(search.ordered(scores, hits.numbers, k))
    return search.Hits(*(np.concatenate(field) for field in zip(*found, strict=True)))


def score(task, hits, names=DEFAULT):
    """{name: [Q] f32} of Hits [Q, K], queries in the task's order; ties as trec_eval has them."""
    ids = task.documents.ids
    grades = np.zeros(hits.numbers.shape, np.int32)
    judged = np.zeros((len(grades), max(len(q) for q in task.qrels.values())), np.int32)
    for row, query in enumerate(task.queries):
        known = task.qrels[query]
        listed = hits.numbers[row]
        grades[row] = [known.get(ids[n], 0) if n != search.NONE else 0 for n in listed]
        judged[row, : len(known)] = list(known.values())
    places = _places(ids)[hits.numbers]  # of NONE the last one's: its grade is 0 and its score −inf
    return jax.device_get(_scored(hits.scores, places, grades, judged, tuple(names)))


def parse(name):
    """("ndcg", 10) -> the metric's function and k, of "ndcg@10"."""
    kind, at, k = name.partition("@")
    if kind not in ranking_metrics.METRICS or not at or not k.isdigit() or int(k) < 1:
        known = ", ".join(f"{kind}@k" for kind in ranking_metrics.METRICS)
        raise ValueError(f"metric {name!r} is unknown: give one of {known}, such as ndcg@10")
    return ranking_metrics.METRICS[kind], int(k)


def text(found):
    """A Markdown table in percent of {searcher: rows}, a column for each metric."""
    names = [row["metric"] for row in next(iter(found.values()))]
    lines = {who: [100 * row["value"] for row in rows] for who, rows in found.items()}
    return tables.markdown("searcher", names, lines)


def _row(task, name, values, counted):
    low, high = jax.jit(metrics.bootstrap_interval)(values, counted, jax.random.key(0))
    named = {"task": task, "metric": name, "n": int(counted.sum())}
    return named | {"value": float(values[counted].mean()), "low": float(low), "high": float(high)}


@functools.partial(jax.jit, static_argnames="names")
def _scored(scores, places, grades, judged, names):
    grades = ranking_metrics.ranked(scores, places, grades)
    return {name: metric(grades, judged, k=k) for name in names for metric, k in [parse(name)]}


def _places(ids):
    """[N] each document's place among the ids in the order of their bytes."""
    order = sorted(range(len(ids)), key=lambda n: ids[n].encode())
    places = np.empty(len(ids), np.int32)
    places[order] = np.arange(len(ids), dtype=np.int32)
    return places
