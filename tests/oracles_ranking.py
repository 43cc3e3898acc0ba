"""Ranking metrics query by query, from the definitions, in plain Python."""

import math


def order(run):
    """Ids of {id: score}, best first; equal scores by id, the larger first."""
    return sorted(run, key=lambda id: (run[id], id.encode()), reverse=True)


def ndcg(run, qrels, k, gain=lambda g: g):
    gains = [gain(max(qrels.get(id, 0), 0)) for id in order(run)[:k]]
    best = sorted((gain(max(g, 0)) for g in qrels.values()), reverse=True)[:k]
    dcg = lambda listed: sum(g / math.log2(i + 2) for i, g in enumerate(listed))
    return dcg(gains) / dcg(best) if any(best) else 0.0


def recall(run, qrels, k):
    relevant = {id for id, g in qrels.items() if g > 0}
    return len(relevant & set(order(run)[:k])) / len(relevant) if relevant else 0.0


def precision(run, qrels, k):
    return sum(qrels.get(id, 0) > 0 for id in order(run)[:k]) / k


def mrr(run, qrels, k):
    for i, id in enumerate(order(run)[:k], start=1):
        if qrels.get(id, 0) > 0:
            return 1 / i
    return 0.0


def map(run, qrels, k):
    relevant, found, total = sum(g > 0 for g in qrels.values()), 0, 0.0
    for i, id in enumerate(order(run)[:k], start=1):
        if qrels.get(id, 0) > 0:
            found += 1
            total += found / i
    return total / relevant if relevant else 0.0


def hit(run, qrels, k):
    return float(any(qrels.get(id, 0) > 0 for id in order(run)[:k]))


def ndcg_exp(run, qrels, k):
    return ndcg(run, qrels, k, gain=lambda g: 2**g - 1)
