"""Tournaments of groups as drawings: where each match stands, who won, and the places it led to.

Rounds go from left to right. A row of tournaments.jsonl comes in; out go records that the template
prints as SVG or, where everyone met everyone, as a table.
"""

import itertools

import numpy as np

WIDTH, LINE, GAP, HEAD = 150, 19, 14, 24  # px: of a match, of a player in it, between, a heading
COLUMN = WIDTH + 34
SECOND_WINS_TIES = ("single_elimination_paper",)


def drawn(row):
    """{"svg": …} or {"table": …} of one tournament, and its standings."""
    matches = [m | _outcome(row, m) for m in row["matches"]]
    picture = {"svg": None, "table": None}
    if row["topology"].startswith("round_robin"):
        picture["table"] = _table(row, matches)
    elif matches:
        picture["svg"] = _frame(LAYOUTS[row["topology"]](matches))
    return picture | {
        "matches": matches,
        "standings": standings(row, matches),
        "agreement": agreement(row["players"]),
        "upsets": sum(m["upset"] for m in matches),
    }


def standings(row, matches):
    """Rows {player, place, utility, gauge, by_utility, won, lost, tied, mean, ending}, best first.

    place: from 1, a shared one averaged; None = not ranked. gauge: utility over the largest here.
    mean: of the scores of its matches.
    """
    players = row["players"]
    top = max([p["utility"] or 0 for p in players], default=0)
    by_utility = _places([-np.inf if p["utility"] is None else p["utility"] for p in players])
    rows = []
    for n, player in enumerate(players):
        mine = [(m, m["players"].index(n)) for m in matches if n in m["players"]]
        sides = [m["winner"] for m, _ in mine]
        won = sum(m["winner"] == side for m, side in mine)
        tied = sides.count(None)
        rows.append(
            {
                "player": n,
                "place": player["rank"] + 1 if player["rank"] >= 0 else None,
                "utility": player["utility"],
                "by_utility": by_utility[n] if player["utility"] is not None else None,
                "gauge": max(0, player["utility"] or 0) / top if top > 0 else 0,
                "won": won,
                "tied": tied,
                "lost": len(mine) - won - tied,
                "mean": float(np.mean([m["scores"][s] for m, s in mine])) if mine else None,
                "ending": player["ending"],
            }
        )
    return sorted(rows, key=lambda r: (r["place"] is None, r["place"] or 0, r["player"]))


def agreement(players):
    """(pairs ranked as their utilities are, pairs that differ in both)."""
    known = [p for p in players if p["rank"] >= 0 and p["utility"] is not None]
    signs = [
        (a["utility"] - b["utility"]) * (b["rank"] - a["rank"])
        for a, b in itertools.combinations(known, 2)
    ]
    return sum(s > 0 for s in signs), sum(s != 0 for s in signs)


def _outcome(row, match):
    """Who won (0 or 1 by listing, None: a tie), and whether that was the worse one."""
    first, second = match["scores"]
    ties = None
    if "elimination" in row["topology"] and not _is_seeding(row, match):
        ties = int(row["topology"] in SECOND_WINS_TIES)
    winner = ties if first == second else int(second > first)
    worth = [row["players"][p]["utility"] for p in match["players"]]
    known = winner is not None and None not in worth
    return {
        "winner": winner,
        "upset": bool(known and worth[winner] < worth[1 - winner]),
        "worth": worth,
    }


def _is_seeding(row, match):
    return row["topology"].startswith("single") and match["round"] == 1


def _columns(matches):
    """Rounds side by side, no line between them: who meets whom is drawn anew each time."""
    rounds = _rounds(matches)
    boxes = [
        _box(m, column, HEAD + n * (2 * LINE + GAP))
        for column, of_round in enumerate(rounds)
        for n, m in enumerate(of_round)
    ]
    return boxes, [], [_heading(f"round {n + 1}", n) for n in range(len(rounds))]


def _anchored(matches):
    """Everyone against the anchor, a line each."""
    boxes = [_box(m, 0, HEAD + n * (LINE + 8), flat=True) for n, m in enumerate(matches)]
    return boxes, [], [_heading("against the anchor", 0)]


def _seeded(matches):
    """The seeding, then a tree."""
    seeding = [m for m in matches if m["round"] == 1]
    bracket = [m for m in matches if m["round"] > 1]
    boxes, _, heads = _anchored(seeding)
    heads[0]["text"] = "seeding: against the anchor"
    tree, links = _tree(bracket, 1, 0)
    names = _stages(len(_rounds(bracket)))
    return boxes + tree, links, heads + [_heading(name, n + 1) for n, name in enumerate(names)]


def _double(matches):
    """The winners' bracket above, the losers' below, the final at the right."""
    *before, final = matches
    lost, winners, losers = set(), [], []
    for m in before:
        (losers if set(m["players"]) & lost else winners).append(m)
        lost.add(m["players"][1 - m["winner"]])
    upper, links = _tree(winners, 0, 0)
    top = _bottom(upper) + GAP
    lower, more = _tree(losers, 1, top)
    last = max(box["column"] for box in upper + lower) + 1
    ends = [boxes[-1] for boxes in (upper, lower) if boxes]
    box = _box(final, last, sum(end["y"] for end in ends) / len(ends))
    heads = [_heading(f"winners' round {n + 1}", n) for n in range(len(_rounds(winners)))]
    heads += [_heading(f"losers' round {n + 1}", n + 1, top) for n in range(len(_rounds(losers)))]
    heads.append(_heading("final", last, box["y"] - HEAD))
    return upper + lower + [box], links + more + [_link(end, box) for end in ends], heads


LAYOUTS = {
    "anchor": _anchored,
    "swiss": _columns,
    "double_elimination": _double,
    "single_elimination": _seeded,
    "single_elimination_paper": _seeded,
}


def _tree(matches, column, top):
    """(boxes, lines): a match stands level with those whose winners meet in it.

    A player who sat out, or comes from another bracket, has no line.
    """
    feeders, last = [], {}
    for n, m in enumerate(matches):
        feeders.append([last.pop(p) for p in m["players"] if p in last])
        last[m["players"][m["winner"]]] = n
    slots, level = itertools.count(), {}

    def place(n):
        for child in feeders[n]:
            place(child)
        above = [level[child] for child in feeders[n]]
        level[n] = sum(above) / len(above) if above else next(slots)

    for n in sorted(last.values()):
        place(n)
    first = matches[0]["round"] if matches else 0
    boxes = [
        _box(m, column + m["round"] - first, top + HEAD + level[n] * (2 * LINE + GAP))
        for n, m in enumerate(matches)
    ]
    return boxes, [_link(boxes[child], boxes[n]) for n in level for child in feeders[n]]


def _box(match, column, y, flat=False):
    return {
        "match": match,
        "column": column,
        "x": column * COLUMN + 1,
        "y": y,
        "height": LINE if flat else 2 * LINE,
        "flat": flat,
    }


def _link(a, b):
    """The path from a match to the one its winner goes to."""
    x, y = a["x"] + WIDTH, a["y"] + a["height"] / 2
    end = b["y"] + b["height"] / 2
    return f"M{x} {y:g}H{b['x'] - 17}V{end:g}H{b['x']}"


def _heading(text, column, y=0):
    return {"text": text, "x": column * COLUMN + 1, "y": y + 13}


def _frame(layout):
    boxes, links, heads = layout
    return {
        "boxes": boxes,
        "links": links,
        "heads": heads,
        "width": max(box["x"] for box in boxes) + WIDTH + 1,
        "height": _bottom(boxes) + 2,
    }


def _bottom(boxes):
    return max(box["y"] + box["height"] for box in boxes)


def _rounds(matches):
    return [list(found) for _, found in itertools.groupby(matches, key=lambda m: m["round"])]


def _stages(n):
    names = ["final", "semi-final", "quarter-final"]
    return [names[left] if left < 3 else f"round {n - left}" for left in reversed(range(n))]


def _table(row, matches):
    """Rows of cells, both in the order of places; a cell is what the row's player got."""
    order = [s["player"] for s in standings(row, matches)]
    met = {(m["players"][s], m["players"][1 - s]): (m, s) for m in matches for s in (0, 1)}
    return [
        {"player": i, "cells": [_cell(j, *met[i, j]) if (i, j) in met else None for j in order]}
        for i in order
    ]


def _cell(other, match, side):
    return {
        "other": other,
        "match": match,
        "score": match["scores"][side],
        "won": match["winner"] == side,
    }


def _places(values):
    """Places from 1, the largest first; equal ones share the mean."""
    values = np.asarray(values)
    return [1 + (values > v).sum() + ((values == v).sum() - 1) / 2 for v in values]
