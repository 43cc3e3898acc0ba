"""Held-out retrieval as the report shows it: figures before and after, and what was found.

A row of eval.jsonl: {"step", "name", "n", "ndcg@10", "recall@100", "mrr@10", "examples": [{"query",
"found": [{"id", "text", "score", "relevant"}, …best first]}]}
"""

from jaxrl.report.excerpts import excerpt, visible

METRICS = {"ndcg@10": "nDCG@10", "mrr@10": "MRR@10", "recall@100": "recall@100"}
QUERIES = 6  # of a set
FOUND = 5  # documents of a ranking
CHARS = 240  # of a document
LEGEND = 24  # characters of a set's name


def measured(row):
    """Whether a row of eval.jsonl is of retrieval, and of some query."""
    return any(row.get(key) is not None for key in METRICS)


def shown(rows):
    """One held-out set, its evaluations oldest first: the figures and rankings a template prints.

    Rankings are of the first and the last evaluation; of the queries of both, those whose first
    relevant document moved most, up or down.
    """
    before, after = rows[0], rows[-1] if len(rows) > 1 else None
    figures = [
        {"title": title, "before": before[key], "after": after and after.get(key)}
        for key, title in METRICS.items()
        if before.get(key) is not None
    ]
    kept = lambda row: row.get("examples", ())
    pairs = _pairs(kept(before), kept(after) if after else None)
    return {
        "name": visible(before["name"]),
        "n": before["n"],
        "steps": [row["step"] for row in (before, after) if row],
        "figures": figures,
        "compared": len(pairs),
        "rankings": [_ranking(*pair) for pair in pairs[:QUERIES]],
    }


def short(name):
    """The name of a set as a legend has room for it."""
    return visible(name if len(name) <= LEGEND else f"{name[:LEGEND]}…")


def _pairs(before, after):
    """[(example, the same query's later one, or None)]."""
    if after is None:
        return [(example, None) for example in before]
    later = {example["query"]: example for example in after}
    both = [(old, later[old["query"]]) for old in before if old["query"] in later]
    return sorted(both, key=lambda pair: -abs(_reciprocal(pair[1]) - _reciprocal(pair[0])))


def _reciprocal(example):
    """1 / the place of the first relevant document, 0 where none was found."""
    places = (n for n, one in enumerate(example["found"], start=1) if one["relevant"])
    return 1 / next(places, float("inf"))


def _ranking(before, after):
    sides = {"Before": before, "After": after} if after else {"Found": before}
    return {
        "query": excerpt(before["query"], 2 * CHARS),
        "sides": {title: _documents(example["found"]) for title, example in sides.items()},
    }


def _documents(found):
    return [
        one | {"id": excerpt(str(one["id"]), 40), "text": excerpt(one["text"], CHARS)}
        for one in found[:FOUND]
    ]
