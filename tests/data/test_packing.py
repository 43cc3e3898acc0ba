"""Packing: from every row one can read each sample back, token by token, and nothing else."""

import dataclasses

import numpy as np
import pytest
import tiny

from jaxrl.data import packing


def per_token(traj, seed=0):
    """Distinct values for each token, so that a slip by one shows."""
    rng = np.random.default_rng(seed)
    draw = lambda: rng.normal(size=traj.tokens.shape).astype(np.float32)
    mask = (rng.random(traj.tokens.shape) < 0.8).astype(np.float32)
    return {"mask": mask, "old_logp": draw(), "ref_logp": draw(), "adv": draw()}


def pack(traj, groups=None, width=40, scored=30, rows=8, values=None):
    groups = np.arange(len(traj.task)) if groups is None else groups
    values = values or per_token(traj)
    return packing.pack(traj, values, groups=groups, width=width, scored=scored, rows=rows)


def path(rows, n, column):
    """Tokens that a column sees, by the rule that Rows documents."""
    lo, hi = rows.lo[n], rows.hi[n]
    seen = [k for k in range(column + 1) if lo[k] <= lo[column] < hi[k]]
    return rows.tokens[n, seen].tolist(), rows.position[n, seen].tolist()


@pytest.mark.parametrize("width", [40, 16])
@pytest.mark.parametrize("seed", range(6))
def test_every_sample_can_be_read_back(seed, width):
    """Each scored token sees its own prompt and response up to itself, at positions 0, 1, 2, …"""
    rng = np.random.default_rng(seed)
    sizes = {"P": rng.integers(1, 7), "G": rng.integers(1, 5), "R": rng.integers(1, 6)}
    traj = tiny.trajectory(seed, **sizes)
    values = per_token(traj, seed)
    rows, used, where = pack(traj, values=values, width=width, rows=24)
    assert ((where >= 0) == traj.valid).all()
    assert len(np.unique(where[where >= 0])) == traj.valid.sum()
    for b, r in zip(*np.nonzero(traj.valid), strict=True):
        n, m = divmod(where[b, r], rows.slot.shape[1])
        g = traj.group[b]
        prompt = traj.prompt_tokens[g][traj.prompt_valid[g]].tolist()
        text = prompt + traj.tokens[b, : r + 1].tolist()
        assert path(rows, n, rows.slot[n, m]) == (text, list(range(len(text))))
        assert path(rows, n, rows.parent[n, m])[0] == text[:-1]
        assert n < used
        for key, value in values.items():
            assert getattr(rows, key)[n, m] == value[b, r]


def test_samples_are_numbered_within_their_row():
    """Sequence ratios sum by this number: two responses that share one would be averaged."""
    traj = tiny.trajectory(1, P=4, G=3)
    rows, used, where = pack(traj)
    assert used < 4  # several groups share a row
    numbers = rows.sample.reshape(-1)[where]
    row = where // rows.slot.shape[1]
    seen = set()
    for b, valid in enumerate(traj.valid):
        (own,) = set(zip(row[b, valid], numbers[b, valid], strict=True))
        seen.add(own)
    assert len(seen) == len(traj.tokens)


def test_what_is_not_in_use_is_empty():
    rows, used, _ = pack(tiny.trajectory(2, P=2))
    assert used < 8
    for name in ("tokens", "lo", "hi", "mask", "adv", "old_logp"):
        assert not getattr(rows, name)[used:].any()
    columns = rows.hi[0] > rows.lo[0]
    assert not rows.tokens[0][~columns].any()
    assert not rows.hi[0][~columns].any()  # an empty interval: padding sees and shows nothing


def test_only_the_groups_asked_for_are_packed():
    traj = tiny.trajectory(3, P=4)
    rows, _, where = pack(traj, groups=np.array([2, 0]))
    inside = np.isin(traj.group, [0, 2])
    assert ((where >= 0) == traj.valid & inside[:, None]).all()
    assert rows.mask.sum() <= traj.valid[inside].sum()


def test_tokens_that_the_policy_did_not_choose_are_seen_and_not_scored():
    """A tool's answer inside a response stays in the row, but has no slot."""
    traj = tiny.trajectory(4, P=2, G=2, R=5)
    chosen = traj.valid & (np.arange(5) != 1)
    rows, _, where = pack(dataclasses.replace(traj, mask=chosen))
    assert ((where >= 0) == chosen).all()
    columns = (rows.hi > rows.lo).sum()
    assert columns == traj.prompt_valid.sum() + traj.valid.sum()


def test_groups_may_be_ragged_and_rows_in_any_order():
    traj = tiny.trajectory(5, P=3, G=2)
    keep = np.array([5, 0, 3, 4, 1])  # group 1 lost a sample
    cut = {k: getattr(traj, k)[keep] for k in ("tokens", "valid", "mask", "logp", "full_logp")}
    ragged = dataclasses.replace(traj, **cut, group=traj.group[keep])
    rows, _, where = pack(ragged)
    assert ((where >= 0) == ragged.valid).all()
    columns = (rows.hi > rows.lo).sum()
    assert columns == traj.prompt_valid.sum() + ragged.valid.sum()


def test_what_does_not_fit_is_refused_with_the_keys():
    traj = tiny.trajectory(6, P=6, G=3)
    with pytest.raises(ValueError, match=r"learner.width=5.*raise"):
        pack(traj, width=5)
    with pytest.raises(ValueError, match=r"learner.scored=2.*raise"):
        pack(traj, scored=2)
    with pytest.raises(ValueError, match=r"learner.width=25"):
        pack(traj, width=25, rows=1)


def test_prompts_are_numbered_within_their_row():
    """A mean over prompts counts by this number; the responses of a prompt share it."""
    traj = tiny.trajectory(1, P=4, G=3)
    rows, used, where = pack(traj)
    assert used < 4
    key = where // rows.slot.shape[1] * 100 + rows.group.reshape(-1)[where]
    seen = [set(key[(traj.group == g)[:, None] & traj.valid]) for g in range(4)]
    assert all(len(s) == 1 for s in seen) and len(set.union(*seen)) == 4


def test_branches_read_as_two_sequences():
    prompt, responses = np.array([5, 6, 7]), (np.array([1, 2]), np.array([3, 4, 8]))
    for last_only in (False, True):
        tree = packing.branches(prompt, responses, (1.0, -1.0), last_only=last_only)
        rows, used, _ = packing.fill([tree, tree], width=20, scored=12, rows=1)
        assert used == 1
        on = np.flatnonzero(rows.mask[0])
        seen = [path(rows, 0, rows.slot[0, m])[0] for m in on]
        whole = [[5, 6, 7, 1], [5, 6, 7, 1, 2], [5, 6, 7, 3], [5, 6, 7, 3, 4], [5, 6, 7, 3, 4, 8]]
        keep = [1, 4] if last_only else range(5)
        assert seen == 2 * [whole[i] for i in keep]
        assert [path(rows, 0, rows.parent[0, m])[0] for m in on] == [s[:-1] for s in seen]
        side = [[1, 1, -1, -1, -1][i] for i in keep]
        assert rows.adv[0, on].tolist() == 2 * side
        assert rows.group[0, on].tolist() == [0] * len(side) + [1] * len(side)


def test_rows_are_filled_first_fit_decreasing():
    """Large trees first, each into the first row with room: in the given order 3 rows, not 2.

    Columns and scored tokens both count as room.
    """
    tree = lambda length, scored: packing.sequence(
        np.arange(length), np.arange(length) >= length - scored
    )
    sizes = [3, 3, 5, 5, 4]
    rows, used, starts = packing.fill([tree(n, 1) for n in sizes], width=10, scored=9, rows=3)
    assert used == 2 and starts.tolist() == [10, 11, 0, 1, 9]
    assert (rows.hi > rows.lo).sum(1).tolist() == [10, 10, 0]
    _, used, starts = packing.fill([tree(5, 4), tree(4, 4)], width=10, scored=7, rows=2)
    assert used == 2 and starts.tolist() == [0, 7]
