"""Tournaments as drawings: every match once, apart from the others, and led to by its players."""

import itertools

import numpy as np
import pytest

from jaxrl.ops.tournament import TOPOLOGIES
from jaxrl.report import brackets
from tests.report import synthetic_agents

SIZES = (2, 3, 5, 8, 16)


def played(topology, n, seed=0):
    rng = np.random.default_rng(seed)
    return synthetic_agents.played(topology, np.round(rng.random(n), 2), rng)


def players(box):
    return set(box["match"]["players"])


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("topology", sorted(brackets.LAYOUTS.keys() & synthetic_agents.SCHEDULES))
def test_every_match_is_drawn_once_and_covers_no_other(topology, n):
    row = played(topology, n)
    svg = brackets.drawn(row)["svg"]
    boxes = svg["boxes"]
    met = sorted((m["round"], *m["players"]) for m in row["matches"])
    assert sorted((b["match"]["round"], *b["match"]["players"]) for b in boxes) == met
    for a, b in itertools.combinations(boxes, 2):
        if a["column"] == b["column"]:
            assert min(a["y"] + a["height"], b["y"] + b["height"]) < max(a["y"], b["y"])
    bracket = [b for b in boxes if not b["flat"]] or boxes
    assert min(b["y"] for b in bracket) == brackets.HEAD  # no room is wasted above
    for b in boxes:
        assert b["x"] + brackets.WIDTH < svg["width"] and b["y"] + b["height"] < svg["height"]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("topology", ["single_elimination", "double_elimination"])
def test_lines_join_a_winner_to_the_next_match_it_plays(topology, n):
    """Read back from the paths alone: where each starts, and where it ends."""
    svg = brackets.drawn(played(topology, n))["svg"]
    by_start = {(b["x"] + brackets.WIDTH, b["y"] + b["height"] / 2): b for b in svg["boxes"]}
    by_end = {(b["x"], b["y"] + b["height"] / 2): b for b in svg["boxes"]}
    for path in svg["links"]:
        start, _, rest = path[1:].partition("H")
        _, _, rest = rest.partition("V")
        y, _, x = rest.partition("H")
        a = by_start[tuple(map(float, start.split()))]
        b = by_end[float(x), float(y)]
        winner = a["match"]["players"][a["match"]["winner"]]
        assert winner in players(b) and a["match"]["round"] < b["match"]["round"]
        assert a["column"] < b["column"]
    bracket = [b for b in svg["boxes"] if not b["flat"]]
    assert len(svg["links"]) == len(bracket) - 1  # every match but the last leads to another


def test_losers_play_below_winners_and_the_final_stands_last():
    svg = brackets.drawn(played("double_elimination", 8))["svg"]
    lost = dict.fromkeys(range(8), 0)
    lowest = {0: 0.0, 1: np.inf}
    for box in svg["boxes"][:-1]:
        match = box["match"]
        lane = {lost[p] for p in match["players"]}
        assert len(lane) == 1  # as many defeats on both sides
        lane = lane.pop()
        lowest[lane] = (max if lane == 0 else min)(lowest[lane], box["y"])
        lost[match["players"][1 - match["winner"]]] += 1
    assert lowest[0] < lowest[1]
    final = svg["boxes"][-1]
    assert final["column"] == max(b["column"] for b in svg["boxes"])
    assert sorted(lost[p] for p in final["match"]["players"]) == [0, 1]


def test_a_table_has_both_sides_of_each_match_and_best_first():
    row = played("round_robin", 6)
    table = brackets.drawn(row)["table"]
    got = {(line["player"], c["other"]): c["score"] for line in table for c in line["cells"] if c}
    for m in row["matches"]:
        i, j = m["players"]
        assert (got[i, j], got[j, i]) == tuple(m["scores"])
    assert len(got) == 30
    assert [row["players"][line["player"]]["rank"] for line in table] == list(range(6))


def one_match(topology, scores, number=2, utility=(0.2, 0.9)):
    players = [{"rank": float(n), "utility": u, "ending": "answer"} for n, u in enumerate(utility)]
    match = {"round": number, "players": [0, 1], "scores": scores, "calls": [[7.5, 5], [6, 5.5]]}
    return {"topology": topology, "players": players, "matches": [match]}


@pytest.mark.parametrize(
    "topology, number, winner",
    [
        ("swiss", 2, None),
        ("single_elimination", 1, None),  # the seeding has ties
        ("single_elimination", 2, 0),
        ("single_elimination_paper", 2, 1),
    ],
)
def test_who_wins_a_tie_is_the_topologys_rule(topology, number, winner):
    assert brackets.drawn(one_match(topology, [4.0, 4.0], number))["matches"][0]["winner"] == winner


@pytest.mark.parametrize(
    "scores, utility, upset",
    [
        ([9, 4], (0.2, 0.9), 1),
        ([4, 9], (0.2, 0.9), 0),
        ([9, 4], (0.5, 0.5), 0),
        ([9, 4], (None, 1), 0),
    ],
)
def test_an_upset_is_a_win_of_the_truly_worse(scores, utility, upset):
    assert brackets.drawn(one_match("swiss", scores, utility=utility))["upsets"] == upset


def test_standings_share_places_and_list_the_lost_last():
    row = one_match("swiss", [4.0, 9.0])
    ranks, utilities = (1.5, 0.0, 1.5, -1.0), (0.3, 0.9, 0.3, None)
    row["players"] = [
        {"rank": r, "utility": u, "ending": "answer"} for r, u in zip(ranks, utilities, strict=True)
    ]
    found = brackets.drawn(row)
    told = [(s["player"], s["place"], s["by_utility"]) for s in found["standings"]]
    assert told == [(1, 1, 1), (0, 2.5, 2.5), (2, 2.5, 2.5), (3, None, None)]
    first = found["standings"][0]
    assert (first["won"], first["lost"], first["mean"], first["gauge"]) == (1, 0, 9.0, 1.0)
    assert found["agreement"] == (2, 2)  # the tied pair says nothing


def test_a_group_of_one_has_no_match_to_draw():
    row = one_match("single_elimination", [1, 2], utility=(0.4,)) | {"matches": []}
    found = brackets.drawn(row)
    assert found["svg"] is None and found["standings"][0]["mean"] is None


def test_every_topology_can_be_drawn():
    round_robin = {"round_robin", "round_robin_paper"}
    assert set(TOPOLOGIES) == brackets.LAYOUTS.keys() | round_robin
