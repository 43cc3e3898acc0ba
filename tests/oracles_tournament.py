"""ArenaRL's five topologies (arXiv:2601.06487), one group at a time, in plain Python.

`meet(i, j)` plays a match and gives (what i got, what j got). `shuffle(list)` is the caller's.
They share no code with the library. Means are exact fractions, so that equal ones are equal.
"""

import math
from fractions import Fraction


def competition(keys):
    """1224 ranking from 0, larger keys first."""
    return [sum(other > key for other in keys) for key in keys]


def seeding(n, meet):
    """Scores against the anchor; its own is the mean of what it got."""
    mine, anchors = {}, []
    for i in range(1, n):
        score, anchor = meet(i, 0)
        mine[i] = Fraction(score)
        anchors.append(Fraction(anchor))
    return [sum(anchors) / len(anchors)] + [mine[i] for i in range(1, n)] if n > 1 else [0]


def anchor(n, meet, shuffle=None):
    return competition(seeding(n, meet))


def round_robin(n, meet, shuffle=None, tie=Fraction(1, 2)):
    rate = [Fraction(0)] * n
    for i in range(n):
        for j in range(i + 1, n):
            a, b = meet(i, j)
            rate[i] += 1 if a > b else tie if a == b else 0
            rate[j] += 1 if b > a else tie if a == b else 0
    return competition([r / max(n - 1, 1) for r in rate])


def swiss(n, meet, shuffle):
    points = [Fraction(0)] * n
    opponents = [set() for _ in range(n)]
    rounds = min(math.ceil(math.log2(n)), n - 1)
    for _ in range(rounds):
        waiting = sorted(shuffle(list(range(n))), key=lambda p: -points[p])
        byes = [waiting.pop()] if n % 2 else []
        results = []
        while waiting:
            first = waiting.pop(0)
            second = next((p for p in waiting if p not in opponents[first]), waiting[0])
            waiting.remove(second)
            results.append((first, second, *meet(first, second)))
        for first, second, a, b in results:
            points[first] += 1 if a > b else Fraction(1, 2) if a == b else 0
            points[second] += 1 if b > a else Fraction(1, 2) if a == b else 0
            opponents[first].add(second)
            opponents[second].add(first)
        for p in byes:
            points[p] += 1
    buchholz = [sum(points[o] for o in opponents[p]) for p in range(n)]
    return competition(list(zip(points, buchholz, strict=True)))


def double_elimination(n, meet, shuffle):
    scores = [[] for _ in range(n)]
    mean = lambda p: sum(scores[p]) / len(scores[p])

    def play_round(players):
        players = shuffle(players)
        byes = [players.pop()] if len(players) % 2 else []
        winners, losers = [], []
        for a, b in zip(players[0::2], players[1::2], strict=True):
            better, worse = match(a, b)
            winners.append(better)
            losers.append(worse)
        return byes + winners, losers

    def match(a, b):
        x, y = meet(a, b)
        scores[a].append(Fraction(x))
        scores[b].append(Fraction(y))
        return (a, b) if x >= y else (b, a)

    winners, drops, out = list(range(n)), [], []
    while len(winners) > 1:
        winners, losers = play_round(winners)
        drops.append(losers)
    if n == 1:
        return [0]
    active = []
    for dropped in drops:
        active = active + dropped
        if len(active) >= 2:
            active, losers = play_round(active)
            out.append(losers)
    while len(active) > 1:
        active, losers = play_round(active)
        out.append(losers)
    order = list(match(winners[0], active[0]))
    for losers in reversed(out):
        order += sorted(losers, key=lambda p: -mean(p))
    return [order.index(p) for p in range(n)]


STANDARD = {
    2: [1, 2],
    4: [1, 4, 2, 3],
    8: [1, 8, 4, 5, 2, 7, 3, 6],
    16: [1, 16, 8, 9, 4, 13, 5, 12, 2, 15, 7, 10, 3, 14, 6, 11],
}


def standard_order(n):
    """The usual bracket: best against last, and the best two meet in the final alone."""
    rows = [1]
    while len(rows) < n:
        rows = [s for seed in rows for s in (seed, 2 * len(rows) + 1 - seed)]
    return [seed for seed in rows if seed <= n]


def printed_order(n):
    """Algorithm 1, phase 2, for the power of 2 at or above n."""
    size = 1
    while size < n:
        size *= 2
    if size == 1:
        return [1]
    B = [None] * (size + 1)
    head, tail = 1, size - 1
    for k in range(1, size // 2 + 1):
        pair = (k, size - k + 1)
        if k % 2:
            B[head], B[head + 1] = pair
            head += 2
        else:
            B[tail], B[tail + 1] = pair
            tail -= 2
    return [seed for seed in B[1:] if seed <= n]


def single_elimination(n, meet, shuffle=None, paper=False):
    seeds = seeding(n, meet)
    P = sorted(range(n), key=lambda p: -seeds[p])
    scores = [[s] for s in seeds]
    B = [P[seed - 1] for seed in (printed_order(n) if paper else standard_order(n))]
    tiers = []
    while len(B) > 1:
        bye = [B[-1]] if len(B) % 2 else []
        losers, winners = [], []
        for a, b in zip(B[0:-1:2], B[1::2], strict=True):
            x, y = meet(a, b)
            scores[a].append(Fraction(x))
            scores[b].append(Fraction(y))
            first = x > y if paper else x >= y
            winners.append(a if first else b)
            losers.append(b if first else a)
        tiers.append(losers)
        B = bye + winners
    tiers.append(B)
    key = lambda p: -sum(scores[p]) / (1 if paper else len(scores[p]))
    order = [p for tier in reversed(tiers) for p in sorted(tier, key=key)]
    return [order.index(p) for p in range(n)]


TOPOLOGIES = {
    "anchor": anchor,
    "round_robin": round_robin,
    "round_robin_paper": lambda *a: round_robin(*a, tie=0),
    "swiss": swiss,
    "double_elimination": double_elimination,
    "single_elimination": single_elimination,
    "single_elimination_paper": lambda *a: single_elimination(*a, paper=True),
}


def rank(topology, scores, lots=()):
    """(ranks, comparisons) of one group.  scores: [N][N]; lots: one for each shuffled listing."""
    n, played, lots = len(scores), [], list(lots)

    def meet(i, j):
        played.append((i, j))
        return float(scores[i][j]), float(scores[j][i])

    def shuffle(players):
        """Swiss lists the players by their lots; double elimination lists the lots' places."""
        mine = [int(lots.pop(0)) for _ in players]
        if topology == "swiss":
            return [p for _, p in sorted(zip(mine, players, strict=True), key=lambda x: x[0])]
        return [players[sorted(mine).index(lot)] for lot in mine]

    return TOPOLOGIES[topology](n, meet, shuffle), len(played)


def rewards(ranks, ties):
    """Eq. 6, with the two ways of its code to settle ties."""
    n = len(ranks)
    if n == 1:
        return [1.0]
    if ties == "min":
        last = max(ranks)
        return [(last - r) / last if last else 0.0 for r in ranks]
    slots = {r: [r + k for k in range(ranks.count(r))] for r in ranks}
    return [sum(1 - s / (n - 1) for s in slots[r]) / len(slots[r]) for r in ranks]


def advantages(rewards, eps=1e-6):
    """Eq. 7 with the sample standard deviation."""
    n = len(rewards)
    mean = sum(rewards) / n
    std = math.sqrt(sum((r - mean) ** 2 for r in rewards) / max(n - 1, 1))
    return [(r - mean) / (std + eps) for r in rewards]
