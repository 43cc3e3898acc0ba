"""What an image or a clip is once it is read: patches in the model's order, and their grid."""

import math
from typing import NamedTuple

import numpy as np


class MediaError(ValueError):
    """A picture or clip that cannot be used: says which, why, and what to do about it."""


class Visual(NamedTuple):
    """One image or clip, cut into patches."""

    patches: np.ndarray  # [T · H · W, C · frames · patch · patch] uint8, in merge-block order
    grid: tuple[int, int, int]  # T, H, W in patches; a T has `frames` frames
    merge: int = 2  # patches a side that become one visual token
    times: tuple[float, ...] | None = None  # of a clip: seconds of each T; None = an image

    @property
    def block(self):
        """Rows and columns of the visual tokens of each T."""
        return self.grid[1] // self.merge, self.grid[2] // self.merge

    @property
    def tokens(self):
        """Visual tokens of each T."""
        return math.prod(self.block)


def cut(frames, c, times=None):
    """Frames [F, h, w, C] uint8 -> Visual; c: an ImageConfig or VideoConfig.

    The patches of a merge block follow each other, and a patch's values are ordered (channel,
    frame, row, column), as the kernel of the checkpoint's Conv3d is. h and w are multiples of
    patch · merge. An incomplete last T repeats the last frame: an image is its own second frame.
    """
    frames = np.concatenate([frames, *[frames[-1:]] * (-len(frames) % c.frames)])
    T, H, W = len(frames) // c.frames, frames.shape[1] // c.patch, frames.shape[2] // c.patch
    rows, columns = (H // c.merge, c.merge, c.patch), (W // c.merge, c.merge, c.patch)
    x = frames.reshape(T, c.frames, *rows, *columns, frames.shape[3])
    x = x.transpose(0, 2, 5, 3, 6, 8, 1, 4, 7)
    return Visual(x.reshape(T * H * W, -1), (T, H, W), c.merge, times)
