"""Trajectories -> learner rows: a prompt once, its responses branching off it, groups abreast.

The number of rows is fixed by the config, the number in use is not: rows are filled densely, first
fit decreasing, and the train step visits only micro-batches that hold something.
"""

import numpy as np

from jaxrl.records import Rows

PER_TOKEN = ("mask", "old_logp", "ref_logp", "adv")


def pack(traj, per_token, *, groups, width, scored, rows):
    """Rows [N, width] with [N, scored] scored tokens, and how many of the N are in use.

    per_token: {"mask" (in the loss), "adv", "old_logp", "ref_logp": [B, R]}; groups: rows of
    traj.prompt_tokens to take; rows: N.
    Also returns where each response token went: [B, R] into the flat scored axis, −1 = nowhere.
    """
    pieces = [_tree(traj, g) for g in groups]
    bins = _first_fit(pieces, width, scored)
    if len(bins) > rows:
        raise ValueError(
            f"{len(groups)} groups need {len(bins)} rows of learner.width={width} with "
            f"learner.scored={scored}, but learner.rows={rows}: raise one of the three"
        )
    out = _empty(rows, width, scored)
    where = np.full(traj.tokens.shape, -1, np.int64)
    for n, members in enumerate(bins):
        at, m, sample = 0, 0, 0
        for piece in members:
            w, s = len(piece["tokens"]), len(piece["slot"])
            for key in ("tokens", "position"):
                out[key][n, at : at + w] = piece[key]
            for key in ("lo", "hi", "sample"):
                span = (slice(at, at + w), slice(m, m + s))[key == "sample"]
                out[key][n, span] = piece[key] + sample
            for key in ("slot", "parent"):
                out[key][n, m : m + s] = piece[key] + at
            for key in PER_TOKEN:
                out[key][n, m : m + s] = per_token[key][piece["b"], piece["r"]]
            where[piece["b"], piece["r"]] = n * scored + m + np.arange(s)
            at, m, sample = at + w, m + s, sample + piece["samples"]
    return Rows(**out), len(bins), where


def _tree(traj, g):
    """One group as a two-level tree, depth first; intervals count its samples from 0."""
    prompt = traj.prompt_tokens[g][traj.prompt_valid[g]]
    members = np.flatnonzero(traj.group == g)
    T, lengths = len(prompt), traj.valid[members].sum(1)
    b = np.repeat(members, lengths)
    r = np.concatenate([np.arange(n) for n in lengths]) if len(members) else np.zeros(0, int)
    sample = np.repeat(np.arange(len(members)), lengths)
    column = T + np.arange(len(b))
    chosen = traj.mask[b, r]
    trunk = np.zeros(T, np.int32)
    return {
        "tokens": np.concatenate([prompt, traj.tokens[b, r]]),
        "position": np.concatenate([np.arange(T), T + r]),
        "lo": np.concatenate([trunk, sample]),
        "hi": np.concatenate([trunk + len(members), sample + 1]),
        "slot": column[chosen],
        "parent": np.where(r == 0, T - 1, column - 1)[chosen],
        "sample": sample[chosen],
        "b": b[chosen],
        "r": r[chosen],
        "samples": len(members),
    }


def _first_fit(pieces, width, scored):
    """Pieces -> rows of pieces, the largest first, each into the first row with room."""
    bins, room = [], []
    for piece in sorted(pieces, key=lambda p: -len(p["tokens"])):
        w, s = len(piece["tokens"]), len(piece["slot"])
        if w > width or s > scored:
            raise ValueError(
                f"a group takes {w} columns and {s} scored tokens, a row has learner.width={width} "
                f"and learner.scored={scored}: raise them, or lower rollout.group or max_new"
            )
        fits = next((i for i, (a, b) in enumerate(room) if w <= a and s <= b), None)
        if fits is None:
            fits = len(bins)
            bins.append([])
            room.append((width, scored))
        bins[fits].append(piece)
        room[fits] = room[fits][0] - w, room[fits][1] - s
    return bins


def _empty(rows, width, scored):
    whole = {k: np.zeros((rows, width), np.int32) for k in ("tokens", "position", "lo", "hi")}
    part = {k: np.zeros((rows, scored), np.int32) for k in ("slot", "parent", "sample")}
    return whole | part | {k: np.zeros((rows, scored), np.float32) for k in PER_TOKEN}
