"""Packing frames into rows: nothing lost, nothing shared, positions as published."""

import numpy as np
import pytest
import tiny_vl

from jaxrl.data import visual_rows

SIDE = tiny_vl.TOWER.side


def lay(grids, **how):
    """The rows of one sequence, beside one without a picture and one with another."""
    seen = [tiny_vl.visual(grid, i) for i, grid in enumerate(grids)]
    rows, starts = visual_rows.lay(
        [[], seen, [tiny_vl.visual((1, 2, 2))]], tower=tiny_vl.TOWER, **how
    )
    assert starts[0] == [] and (rows.frame[0] == -1).all() and (rows.frame[2] == 0).sum() == 4
    return seen, visual_rows.Patches(*(x[1] for x in rows)), starts[1]


@pytest.mark.parametrize("how", [{}, {"rows": 8, "width": 32}, {"rows": 3, "width": 64}])
def test_every_frame_is_where_its_start_says(how):
    """In one row, whole, under a number of its own; the rest is padding."""
    seen, rows, starts = lay([(1, 4, 6), (3, 2, 4), (1, 2, 2), (2, 4, 8)], **how)
    tokens = lambda x: x.reshape(-1, 4, *x.shape[2:])  # [N · W / 4, patches of a token, ..]
    pixels, frame, place = tokens(rows.pixels), tokens(rows.frame), tokens(rows.place)
    owner = np.arange(rows.frame.size // 4) // (rows.frame.shape[1] // 4)
    numbers, covered = set(), 0
    for v, where in zip(seen, starts, strict=True):
        assert len(where) == v.grid[0]
        for t, start in enumerate(where):
            span, n = slice(start, start + v.tokens), v.grid[1] * v.grid[2]
            want = v.patches[t * n : (t + 1) * n].reshape(-1, 4, v.patches.shape[1])
            np.testing.assert_array_equal(pixels[span], want)
            np.testing.assert_array_equal(place[span].reshape(-1, 2), visual_rows.places(v.grid, 2))
            assert len(np.unique(frame[span])) == len(np.unique(owner[span])) == 1
            numbers.add((owner[start], frame[start, 0]))
            covered += n
    assert len(numbers) == 7 and (rows.frame >= 0).sum() == covered


def test_merge_blocks_come_one_after_the_other():
    """(row, column) of the patches of a frame of 4 × 4."""
    want = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (0, 3), (1, 2), (1, 3)]
    want += [(r + 2, c) for r, c in want]
    np.testing.assert_array_equal(visual_rows.places((1, 4, 4), 2), want)


@pytest.mark.parametrize("grid", [(1, 4, 6), (1, 2, 14), (1, 48, 2)])
def test_positions_are_read_between_the_four_nearest(grid):
    """Row by row and column by column of linspace over a table, both ends included."""
    table = np.random.default_rng(0).normal(size=(SIDE, SIDE))
    index, weight = visual_rows.corners(grid, 2, SIDE)
    got = (table.ravel()[index] * weight).sum(-1)
    rows, columns = (np.linspace(0, SIDE - 1, n) for n in grid[1:])
    for (i, j), x in zip(visual_rows.places(grid, 2), got, strict=True):
        line = [np.interp(rows[i], np.arange(SIDE), table[:, k]) for k in range(SIDE)]
        assert abs(np.interp(columns[j], np.arange(SIDE), line) - x) < 1e-5
    np.testing.assert_allclose(weight.sum(-1), 1, atol=1e-6)


def test_buckets_are_few_and_hold():
    assert [visual_rows.bucket(n, 4) for n in (1, 4, 5, 7, 9, 13, 100)] == [4, 4, 6, 8, 12, 16, 128]
    assert [visual_rows.bucket(n, 1) for n in (1, 2, 3, 4, 5, 7)] == [1, 2, 3, 4, 6, 8]


def test_rows_too_few_or_too_narrow_are_refused():
    with pytest.raises(ValueError, match=r"2 frames of 48 patches need 2 rows of width=24, but"):
        lay([(2, 4, 6)], rows=1, width=24)
    for width in (20, 30):
        with pytest.raises(ValueError, match=rf"width={width}: give a multiple of 4 that holds"):
            lay([(1, 4, 6)], width=width)
