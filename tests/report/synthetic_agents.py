"""An agent's run directory as training leaves it, made up: a trip is planned better and better.

python -m tests.report.synthetic_agents DIR [TOPOLOGY] writes one, renders it, and prints the path.
"""

import json
import sys
from pathlib import Path

import numpy as np

from jaxrl.report import page
from jaxrl.training.metrics import Writer
from tests.report.synthetic import HOSTILE, update

RIGHT_TO_LEFT = "abc\u202egnp.exe\u202c שלום"
LONG = 100_000
ENDINGS = ("answer", "turns", "reply", "tokens", "time", "failed")


def write(run_dir, topology="single_elimination", updates=5, group=8):
    """Writes all files of a run through the real Writer; each update keeps two groups."""
    rng, folder = np.random.default_rng(0), Path(run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"seed": 0, "reward": {"topology": topology}}))
    with Writer(folder) as writer:
        for step in (0, updates):
            writer.evaluation(evaluation(step, updates))
        for step in range(updates):
            utility = np.round(rng.random((2, group)) * (0.4 + 0.6 * step / updates), 2)
            tournament = played(topology, utility[0], rng) | {"step": step, "task": 2 * step}
            ranks = [p["rank"] for p in tournament["players"]]
            writer.update(
                step, update(rng, step, 0.5) | agent_numbers(rng, step / updates, utility)
            )
            writer.rollouts(
                episode(n, step, 2 * step + g, float(u), float(rank), group)
                for g in (0, 1)
                for n, (u, rank) in enumerate(zip(utility[g], ranks, strict=True))
            )
            writer.tournaments([tournament])
    return folder


def agent_numbers(rng, skill, utility):
    """What an update of agents measures beside the common."""
    endings = rng.dirichlet(1 + 9 * np.array([skill, 1 - skill, 0.2, 0.2, 0.1, 0]))
    return {
        "reward/mean": 0.5,
        "reward/utility": utility.mean(),
        "agent/turns": 3 + rng.random(),
        "agent/calls": 2 + rng.random(),
        "agent/malformed": float(rng.poisson(5 * (1 - skill))),
        "agent/refused": float(rng.poisson(2)),
        "judge/calls": 28.0,
        "judge/comparisons": 14.0,
        "judge/ties": float(rng.poisson(1)),
        "judge/neutral": 0.0,
        "judge/first_wins": 0.5 + 0.1 * rng.normal(),
        **{f"ending/{word}": x for word, x in zip(ENDINGS, endings, strict=True)},
    }


def episode(n, step, task, utility, rank, group):
    """The n-th member of a group. Of group 0 the second looks around for very long, the third is
    hostile in all it says, and the fourth breaks off."""
    where = "Marble Lantern Palace, Łódź"
    call = {"name": "around_search", "arguments": {"near": where, "radius_km": 5.0}, "id": "0"}
    found = json.dumps([{"name": f"Calm Otter Cafe {k}", "km": k / 10} for k in range(n + 1)])
    answer, ended = f"PICK: Calm Otter Cafe {n}", "answer"
    if n == 1:
        found = "FAR " * (LONG // 4)
    if n == 2:
        call = {"name": HOSTILE, "arguments": {HOSTILE: RIGHT_TO_LEFT}, "id": "0"}
        found, answer = HOSTILE, f"{HOSTILE} {RIGHT_TO_LEFT}"
    if n == 3:
        answer, ended = "I will go on and on", "reply"
    said = [
        {"role": "assistant", "content": "I search around the place.", "calls": [call]},
        {"role": "tool", "content": found, "calls": []},
        {"role": "assistant", "content": answer, "calls": []},
    ]
    drawn = [("I search around", 1, 1), (" the place.", 1, 1), (found[:200], 0, 1), (answer, 1, 2)]
    asked = f"Which cafe around {where} would you pick? (task {task})"
    return {
        "step": step,
        "version": step,
        "task": task,
        "prompt": asked,
        "reward": 1 - rank / (group - 1),
        "utility": utility,
        "advantage": 1.43 * (1 - 2 * rank / (group - 1)),
        "pieces": [piece for piece, _, _ in drawn],
        "logp": [-0.3 * k if mine else None for k, (_, mine, _) in enumerate(drawn)],
        "chosen": [mine for _, mine, _ in drawn],
        "turn": [turn for _, _, turn in drawn],
        "messages": [{"role": "user", "content": asked, "calls": []}, *said],
        "counts": {"calls": 1, "malformed": n % 2},
        "ended": ended,
    }


def evaluation(step, updates, n=40):
    """A held-out set whose tasks have degrees."""
    rng = np.random.default_rng(step)
    scores = rng.beta(2 + 3 * step / updates, 3, n).round(3)
    return {
        "step": step,
        "name": "held_out",
        "n": n,
        "reward": float(scores.mean()),
        "low": float(scores.mean() - 0.06),
        "high": float(scores.mean() + 0.06),
        "unscorable": 0,
        "answered": 20 + 15 * step // updates,
        "rows": [
            {
                "prompt": f"task {k}",
                "response": f"PICK: {k}",
                "answer": "PICK: x",
                "score": float(x),
            }
            for k, x in enumerate(scores)
        ],
    }


def played(topology, utility, rng, noise=0.2):
    """A row of tournaments.jsonl: a judge who sees utility, noise, and a little who comes first."""
    n, matches, scores = len(utility), [], {}

    def meet(number, pairs):
        for i, j in pairs:
            seen = 10 * np.array([[utility[i] + 0.03, utility[j]], [utility[i], utility[j] + 0.03]])
            calls = np.round(seen + 10 * noise * rng.normal(size=(2, 2)), 1).clip(0, 10)
            got = calls.sum(0).round(1)
            row = {"round": number, "players": [int(i), int(j)], "scores": got.tolist()}
            matches.append(row | {"calls": calls.tolist()})
            for player, x in ((i, got[0]), (j, got[1])):
                scores.setdefault(int(player), []).append(x)
        return [(i, j) if m["scores"][0] >= m["scores"][1] else (j, i)
                for m, (i, j) in zip(matches[-len(pairs):], pairs, strict=True)]  # fmt: skip

    order = SCHEDULES[topology](n, meet, scores)
    rank = {int(player): float(place) for place, player in enumerate(order)}
    players = [
        {"rank": rank[p], "utility": float(utility[p]), "ending": "reply" if p == 3 else "answer"}
        for p in range(n)
    ]
    return {"topology": topology, "players": players, "matches": matches}


def _by_score(players, scores):
    return sorted(players, key=lambda p: -np.mean(scores.get(p, 0.0)))


def _neighbours(players):
    """(pairs, whoever is left over)"""
    even = len(players) - len(players) % 2
    return list(zip(players[0:even:2], players[1:even:2], strict=True)), players[even:]


def _anchor(n, meet, scores):
    meet(1, [(i, 0) for i in range(1, n)])
    return _by_score(range(n), scores)


def _round_robin(n, meet, scores):
    meet(1, [(i, j) for i in range(n) for j in range(i + 1, n)])
    return _by_score(range(n), scores)


def _swiss(n, meet, scores):
    for number in range(1, 4):
        order = _by_score(range(n), scores) if scores else list(range(n))
        meet(number, _neighbours(order)[0])
    return _by_score(range(n), scores)


def _single(n, meet, scores):
    seeds = _anchor(n, meet, scores)
    alive, out, number = [s for k in range(n // 2) for s in (seeds[k], seeds[-1 - k])], [], 2
    alive += seeds[n // 2 : n - n // 2]
    while len(alive) > 1:
        pairs, odd = _neighbours(alive)
        results = meet(number, pairs)
        alive, number = odd + [w for w, _ in results], number + 1
        out = _by_score([x for _, x in results], scores) + out
    return alive + out


def _double(n, meet, scores):
    alive, drops, number = list(range(n)), [], 1
    while len(alive) > 1:
        pairs, odd = _neighbours(alive)
        results = meet(number, pairs)
        alive, number = odd + [w for w, _ in results], number + 1
        drops.append([x for _, x in results])
    active, out = [], []
    while drops or len(active) > 1:
        active = active + (drops.pop(0) if drops else [])
        if len(active) > 1:
            pairs, odd = _neighbours(active)
            results = meet(number, pairs)
            active, number = odd + [w for w, _ in results], number + 1
            out = _by_score([x for _, x in results], scores) + out
    return [*meet(number, [(alive[0], active[0])])[0], *out]


SCHEDULES = {
    "anchor": _anchor,
    "round_robin": _round_robin,
    "swiss": _swiss,
    "single_elimination": _single,
    "double_elimination": _double,
}

if __name__ == "__main__":
    print(page.write(write(*sys.argv[1:])))
