"""The five topologies one group at a time in plain Python: the peer of the tournaments bench.

Written as one would write them for speed without arrays: lists, and matches played in line. Rules
as in `jaxrl.ops.tournaments`; the same scores, as nested lists, go in.
"""

import functools
import random

RNG = random.Random(0)


def anchor(scores):
    """Ranks of one group, `scores` being a list of lists of floats."""
    return _shared(_seeding(scores))


def round_robin(scores):
    n = len(scores)
    points = [0] * n
    for i in range(n):
        mine = scores[i]
        for j in range(i + 1, n):
            a, b = mine[j], scores[j][i]
            if a > b:
                points[i] += 2
            elif b > a:
                points[j] += 2
            else:
                points[i] += 1
                points[j] += 1
    return _shared(points)


def swiss(scores):
    n = len(scores)
    points = [0] * n
    met = [set() for _ in range(n)]
    for _ in range(min((n - 1).bit_length(), n - 1)):
        order = list(range(n))
        RNG.shuffle(order)
        order.sort(key=points.__getitem__, reverse=True)
        bye = order.pop() if n % 2 else None
        matches = []
        while order:
            i = order.pop(0)
            known = met[i]
            new = next((k for k, j in enumerate(order) if j not in known), 0)
            matches.append((i, order.pop(new)))
        for i, j in matches:
            a, b = scores[i][j], scores[j][i]
            points[i] += 2 if a > b else a == b
            points[j] += 2 if b > a else a == b
            met[i].add(j)
            met[j].add(i)
        if bye is not None:
            points[bye] += 2
    return _shared([points[i] * 4096 + sum(points[j] for j in met[i]) for i in range(n)])


def double_elimination(scores):
    n = len(scores)
    total, count = [0.0] * n, [0] * n

    def play(players):
        RNG.shuffle(players)
        through, out = [players.pop()] if len(players) % 2 else [], []
        for i, j in zip(players[::2], players[1::2], strict=True):
            better, worse = _match(scores, total, count, i, j)
            through.append(better)
            out.append(worse)
        return through, out

    winners, drops, tiers = list(range(n)), [], []
    while len(winners) > 1:
        winners, out = play(winners)
        drops.append(out)
    active = []
    for dropped in drops:
        active = active + dropped
        if len(active) > 1:
            active, out = play(active)
            tiers.append(out)
    while len(active) > 1:
        active, out = play(active)
        tiers.append(out)
    last = _match(scores, total, count, winners[0], active[0]) if active else winners
    return _by_tiers([[p] for p in reversed(last)], tiers, total, count)


def single_elimination(scores):
    n = len(scores)
    total, count = _seeding(scores), [1] * n
    seeds = sorted(range(n), key=total.__getitem__, reverse=True)
    alive, tiers = [seeds[s] for s in _bracket(n)], []
    while len(alive) > 1:
        through, out = [alive.pop()] if len(alive) % 2 else [], []
        for i, j in zip(alive[::2], alive[1::2], strict=True):
            better, worse = _match(scores, total, count, i, j)
            through.append(better)
            out.append(worse)
        tiers.append(out)
        alive = through
    return _by_tiers([alive], tiers, total, count)


TOPOLOGIES = {
    "anchor": anchor,
    "round_robin": round_robin,
    "swiss": swiss,
    "double_elimination": double_elimination,
    "single_elimination": single_elimination,
}


def _seeding(scores):
    n = len(scores)
    if n == 1:
        return [0.0]
    return [sum(scores[0][1:]) / (n - 1)] + [scores[i][0] for i in range(1, n)]


def _match(scores, total, count, i, j):
    a, b = scores[i][j], scores[j][i]
    total[i] += a
    total[j] += b
    count[i] += 1
    count[j] += 1
    return (i, j) if a >= b else (j, i)


def _shared(keys):
    order = sorted(range(len(keys)), key=keys.__getitem__, reverse=True)
    ranks, best = [0] * len(keys), 0
    for place, i in enumerate(order):
        if keys[i] != keys[order[best]]:
            best = place
        ranks[i] = best
    return ranks


def _by_tiers(top, tiers, total, count):
    """top: lists of the last players, in playing order; then the losers of each round."""
    ranks, place = [0] * len(total), 0
    for tier in reversed(tiers + top):
        for i in sorted(tier, key=lambda i: total[i] / count[i], reverse=True):
            ranks[i] = place
            place += 1
    return ranks


@functools.cache
def _bracket(n):
    rows = [0]
    while len(rows) < n:
        rows = [s for seed in rows for s in (seed, 2 * len(rows) - 1 - seed)]
    return [s for s in rows if s < n]
