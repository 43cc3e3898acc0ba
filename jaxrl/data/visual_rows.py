"""Frames of images and clips, packed into rows of patches of one fixed shape. Host numpy.

A frame (of a clip: two frames that share their patches) lies in one row, several may share a row;
the vision tower attends inside a frame. All that depends on a frame's size is computed here, so
that the tower compiles once for all sizes.
"""

from typing import NamedTuple

import numpy as np


class Patches(NamedTuple):
    """Rows of W patches: [N, W, ..] as the vision tower reads them, [B, N, W, ..] of B sequences.

    W is a multiple of merge².
    """

    pixels: np.ndarray  # [.., W, C · frames · patch · patch] uint8
    frame: np.ndarray  # [.., W] int32: number of the frame in its row; −1 = padding
    place: np.ndarray  # [.., W, 2] int32: row and column in the frame, in patches
    corner: np.ndarray  # [.., W, 4] int32: the nearest entries of the table of positions
    weight: np.ndarray  # [.., W, 4] f32: how much of each


def lay(seen, *, tower, rows=None, width=None):
    """Visuals of each of B sequences -> (Patches [B, N, W, ..], starts): each has rows of its own.

    starts[b]: of each visual a list [T] int of the first visual token of each T, into the tokens of
    the sequence's own rows flattened to [N · W / merge²].
    tower: vision.Config. rows, width: N and W, from `bucket` if not given.
    """
    unit = tower.merge**2
    sizes = [[v.grid[1] * v.grid[2] for v in own for _ in range(v.grid[0])] for own in seen]
    largest = max((max(own, default=1) for own in sizes), default=1)
    width = width or bucket(largest, 64 * unit)
    _check_width(width, largest, unit)
    fits = [_first_fit(own, width) for own in sizes]
    used = max((n for _, n in fits), default=0)
    rows = rows or bucket(used, 1)
    if used > rows:
        worst = sizes[max(range(len(fits)), key=lambda b: fits[b][1])]
        raise ValueError(
            f"{len(worst)} frames of {sum(worst)} patches need {used} rows of width={width}, but "
            f"there are rows={rows}: raise one of them, or take fewer or smaller pictures"
        )
    out, starts = _empty((len(seen), rows, width), tower), []
    for b, own in enumerate(seen):
        starts.append(_laid(Patches(*(x[b] for x in out)), own, fits[b][0], unit, tower.side))
    return out, starts


def _laid(out, visuals, where, unit, side):
    """Writes one sequence's frames into its own rows [N, W, ..]; its starts."""
    width = out.frame.shape[1]
    counts, frames, starts = np.zeros(len(out.frame), np.int32), iter(where), []
    for v in visuals:
        described = places(v.grid, v.merge), *corners(v.grid, v.merge, side)
        starts.append([])
        for x in v.patches.reshape(v.grid[0], -1, v.patches.shape[1]):
            n, first = next(frames)
            span = n, slice(first, first + len(x))
            for field, value in zip(out, (x, counts[n], *described), strict=True):
                field[span] = value
            counts[n] += 1
            starts[-1].append((n * width + first) // unit)
    return starts


def bucket(n, step):
    """The least of step · (1, 1½, 2, 3, 4, 6, 8, …) that holds n: few shapes, few compiles.

    Not given in the paper; our choice.
    """
    size = step
    while size < n:
        half = size + size // 2
        size = half if half >= n else 2 * size
    return size


def places(grid, merge):
    """Row and column of each patch of one frame [H · W, 2] int32, in merge-block order."""
    _, H, W = grid
    x = np.stack(np.mgrid[:H, :W], -1).reshape(H // merge, merge, W // merge, merge, 2)
    return x.swapaxes(1, 2).reshape(-1, 2).astype(np.int32)


def corners(grid, merge, side):
    """Which entries of a side × side table surround each patch, and their weights: [H · W, 4].

    Rows are spread over linspace(0, side − 1, H), both ends included, columns alike; the value
    between four entries is bilinear.
    """
    row, column = places(grid, merge).T
    above, below, r = (x[row] for x in _between(grid[1], side))
    left, right, c = (x[column] for x in _between(grid[2], side))
    index = [i * side + j for i in (above, below) for j in (left, right)]
    weight = [i * j for i in (1 - r, r) for j in (1 - c, c)]
    return np.stack(index, -1).astype(np.int32), np.stack(weight, -1).astype(np.float32)


def _between(n, side):
    """Of n places spread over a table's axis: the entries below and above, the upper's share."""
    x = np.arange(n) * (side - 1) / max(n - 1, 1)
    low = np.floor(x).astype(np.int64)
    return low, np.minimum(low + 1, side - 1), x - low


def _first_fit(sizes, width):
    """(row, first column) of each frame, the largest placed first, and how many rows are used."""
    where, room = [None] * len(sizes), []
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        n = next((n for n, left in enumerate(room) if left >= sizes[i]), len(room))
        if n == len(room):
            room.append(width)
        where[i] = n, width - room[n]
        room[n] -= sizes[i]
    return where, len(room)


def _check_width(width, largest, unit):
    if width % unit or width < largest:
        raise ValueError(
            f"width={width}: give a multiple of {unit} that holds the largest frame's {largest} "
            "patches, or lower max_pixels"
        )


def _empty(shape, tower):
    values = tower.channels * tower.frames * tower.patch**2
    return Patches(
        pixels=np.zeros((*shape, values), np.uint8),
        frame=np.full(shape, -1, np.int32),
        place=np.zeros((*shape, 2), np.int32),
        corner=np.zeros((*shape, 4), np.int32),
        weight=np.zeros((*shape, 4), np.float32),
    )
