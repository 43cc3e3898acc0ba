"""Which groups of an agent's run the report shows: of its first, middle and last kept update."""

from jaxrl.report import brackets, episodes
from jaxrl.report.excerpts import excerpt

PROMPT = 600  # characters


def chosen(tournaments, rollouts):
    """[(tournament or None, rows of rollouts.jsonl)] of at most three updates, oldest first.

    Members stand in both files in the same order. A group that was kept in only one of them is
    shown by that one.
    """
    played = {row["step"]: row for row in tournaments}
    steps = sorted(played.keys() | {row["step"] for row in rollouts})
    kept = sorted({steps[0], steps[len(steps) // 2], steps[-1]}) if steps else []
    return [_group(played.get(step), [r for r in rollouts if r["step"] == step]) for step in kept]


def shown(group, scale):
    """One of `chosen` for the page."""
    tournament, rows = group
    first = tournament or rows[0]
    return {
        "step": first["step"],
        "task": first["task"],
        "prompt": excerpt(rows[0]["prompt"].strip(), PROMPT) if rows else "",
        "topology": tournament["topology"].replace("_", " ") if tournament else "",
        "arena": brackets.drawn(tournament) if tournament else None,
        "members": [
            _member(n, row, tournament, scale) for n, row in enumerate(rows[: episodes.MEMBERS])
        ],
        "left_out": max(0, len(rows) - episodes.MEMBERS),
    }


def _group(tournament, rows):
    """The rows of the tournament's players, or of the first group kept."""
    if tournament is None:
        return None, [row for row in rows if row["task"] == rows[0]["task"]]
    rows = [row for row in rows if row["task"] == tournament["task"]]
    return tournament, rows[: len(tournament["players"])]


def _member(n, row, tournament, scale):
    rank = tournament["players"][n]["rank"] if tournament else -1
    return episodes.shown(row, scale) | {"player": n, "place": rank + 1 if rank >= 0 else None}
