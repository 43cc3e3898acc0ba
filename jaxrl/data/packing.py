"""Token trees -> learner rows: a prompt once and its responses branching off it, or a sequence.

The number of rows is fixed by the config, the number in use is not: rows are filled densely, first
fit decreasing, and the train step visits only micro-batches that hold something.
"""

import numpy as np

from jaxrl.records import Rows

PER_TOKEN = ("mask", "old_logp", "ref_logp", "adv")


def pack(traj, per_token, *, groups, width, scored, rows):
    """Rows [N, width] with [N, scored] scored tokens, and how many of the N are in use.

    per_token: {"mask" (in the loss), "adv", "old_logp", "ref_logp": [B, R]}; groups: rows of
    traj.prompt_tokens to take; rows: N. A group that no row can hold is cut into several trees,
    each with the prompt: the same loss, unless it is aggregated by prompt.
    Also returns where each response token went: [B, R] into the flat scored axis, −1 = nowhere.
    """
    cuts = [(g, part) for g in groups for part in _cut(traj, g, width, scored)]
    pieces = [_tree(traj, g, members, per_token) for g, members in cuts]
    out, used, starts = fill(pieces, width=width, scored=scored, rows=rows)
    where = np.full(traj.tokens.shape, -1, np.int64)
    for piece, start in zip(pieces, starts, strict=True):
        where[piece["b"], piece["r"]] = start + np.arange(len(piece["slot"]))
    return out, used, where


def sequence(tokens, mask):
    """A token list as the tree of one node, for `fill`; mask [T] bool: the tokens in the loss."""
    slot = np.flatnonzero(mask)
    flat, none = np.zeros(len(tokens), np.int32), np.zeros(len(slot), np.float32)
    return {
        "tokens": tokens,
        "position": np.arange(len(tokens)),
        "lo": flat,
        "hi": flat + 1,
        "slot": slot,
        "parent": slot - 1,
        "sample": np.zeros(len(slot), np.int32),
        "samples": 1,
        **dict.fromkeys(PER_TOKEN, none) | {"mask": none + 1},
    }


def branches(prompt, responses, adv, *, last_only=False):
    """A prompt and the responses that branch off it, as a tree for `fill`.

    responses: token arrays; adv: a number for each, written at its scored tokens. Every token of a
    response is scored, or only its last.
    """
    lengths = [len(x) for x in responses]
    sample = np.repeat(np.arange(len(responses)), lengths)
    r = np.concatenate([np.arange(n) for n in lengths])
    scored = np.concatenate([np.arange(n) >= (n - 1 if last_only else 0) for n in lengths])
    none = np.zeros(int(scored.sum()), np.float32)
    return {
        "tokens": np.concatenate([prompt, *responses]),
        "samples": len(responses),
        **_two_levels(len(prompt), len(responses), sample, r, scored),
        **dict.fromkeys(PER_TOKEN, none)
        | {"mask": none + 1, "adv": np.float32(adv)[sample[scored]]},
    }


def fill(pieces, *, width, scored, rows):
    """Trees -> Rows [rows, ..], how many are in use, each tree's start on the flat scored axis.

    A tree: tokens, position, lo, hi [w]; slot, parent, sample and PER_TOKEN [s]; samples: its
    number of leaves. Columns, intervals and samples count from 0 in each tree.
    """
    bins = _first_fit(pieces, width, scored)
    if len(bins) > rows:
        raise ValueError(
            f"{len(pieces)} trees need {len(bins)} rows of learner.width={width} with "
            f"learner.scored={scored}, but there are {rows}: raise learner.width or learner.scored"
        )
    out, starts = _empty(rows, width, scored), np.zeros(len(pieces), np.int64)
    for n, members in enumerate(bins):
        at, m, sample = 0, 0, 0
        for group, i in enumerate(members):
            piece = pieces[i]
            w, s = len(piece["tokens"]), len(piece["slot"])
            columns, places = (n, slice(at, at + w)), (n, slice(m, m + s))
            for key in ("tokens", "position"):
                out[key][columns] = piece[key]
            for key in ("lo", "hi"):
                out[key][columns] = piece[key] + sample
            for key in ("slot", "parent"):
                out[key][places] = piece[key] + at
            for key in PER_TOKEN:
                out[key][places] = piece[key]
            out["sample"][places] = piece["sample"] + sample
            out["group"][places] = group
            starts[i] = n * scored + m
            at, m, sample = at + w, m + s, sample + piece["samples"]
    return Rows(**out), len(bins), starts


def _cut(traj, g, width, scored):
    """A group's samples, in order, in as few parts as rows can hold; what no row holds is alone."""
    members = np.flatnonzero(traj.group == g)
    lengths, chosen = traj.valid[members].sum(1), traj.mask[members].sum(1)
    room, parts, used = width - traj.prompt_valid[g].sum(), [[]], np.zeros(2, int)
    for b, need in zip(members, np.stack([lengths, chosen], 1), strict=True):
        if parts[-1] and (used + need > (room, scored)).any():
            parts.append([])
            used = np.zeros(2, int)
        parts[-1].append(b)
        used = used + need
    return [np.array(part, int) for part in parts]


def _tree(traj, g, members, per_token):
    """Samples of a group as a two-level tree, depth first; intervals count them from 0."""
    prompt = traj.prompt_tokens[g][traj.prompt_valid[g]]
    T, lengths = len(prompt), traj.valid[members].sum(1)
    b = np.repeat(members, lengths)
    r = np.concatenate([np.arange(n) for n in lengths]) if len(members) else np.zeros(0, int)
    sample = np.repeat(np.arange(len(members)), lengths)
    chosen = traj.mask[b, r]
    return {
        "tokens": np.concatenate([prompt, traj.tokens[b, r]]),
        "samples": len(members),
        **_two_levels(T, len(members), sample, r, chosen),
        "b": b[chosen],
        "r": r[chosen],
        **{key: per_token[key][b[chosen], r[chosen]] for key in PER_TOKEN},
    }


def _two_levels(T, count, sample, r, scored):
    """Where things lie in a trunk of T tokens and `count` branches, listed one after another.

    sample, r, scored: of each branch token its branch, its place there, and whether it is scored.
    """
    trunk, column = np.zeros(T, np.int32), T + np.arange(len(r))
    return {
        "position": np.concatenate([np.arange(T), T + r]),
        "lo": np.concatenate([trunk, sample]),
        "hi": np.concatenate([trunk + count, sample + 1]),
        "slot": column[scored],
        "parent": np.where(r == 0, T - 1, column - 1)[scored],
        "sample": sample[scored],
    }


def _first_fit(pieces, width, scored):
    """Rows of indices into pieces: the largest first, each into the first row with room."""
    bins, room = [], []
    for i in sorted(range(len(pieces)), key=lambda i: -len(pieces[i]["tokens"])):
        w, s = len(pieces[i]["tokens"]), len(pieces[i]["slot"])
        if w > width or s > scored:
            raise ValueError(
                f"a tree takes {w} columns and {s} scored tokens, a row has learner.width={width} "
                f"and learner.scored={scored}: raise them, or lower rollout.group or max_new"
            )
        fits = next((n for n, (a, b) in enumerate(room) if w <= a and s <= b), None)
        if fits is None:
            fits = len(bins)
            bins.append([])
            room.append((width, scored))
        bins[fits].append(i)
        room[fits] = room[fits][0] - w, room[fits][1] - s
    return bins


def _empty(rows, width, scored):
    whole = {k: np.zeros((rows, width), np.int32) for k in ("tokens", "position", "lo", "hi")}
    part = {k: np.zeros((rows, scored), np.int32) for k in ("slot", "parent", "sample", "group")}
    later = ("sampler_logp", "prepared")  # filled on the devices, where needed
    return whole | part | {k: np.zeros((rows, scored), np.float32) for k in PER_TOKEN + later}
