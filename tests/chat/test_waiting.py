"""Plain code that waits for coroutines, called from where a loop runs and from where none does."""

import asyncio

import numpy as np
import pytest

from jaxrl.chat.waiting import wait
from jaxrl.rewards.graders import Grader, RewardConfig


async def doubled(x):
    await asyncio.sleep(0)
    if x < 0:
        raise ValueError(f"x={x}")
    return 2 * x


async def in_a_cell(f, *args):
    """Calls plain code as a notebook does: inside a running loop."""
    return f(*args)


def test_it_returns_or_raises_what_the_coroutine_does():
    for from_here in (lambda x: wait(doubled(x)), lambda x: asyncio.run(in_a_cell(from_plain, x))):
        assert from_here(2) == 4
        with pytest.raises(ValueError, match="x=-1"):
            from_here(-1)


def from_plain(x):
    return wait(doubled(x))


def test_a_grader_works_in_a_notebook():
    """asyncio.run "cannot be called from a running event loop": no agent could train in a cell."""
    grader = Grader(RewardConfig(name="tournament", topology="anchor", sigma=0.1), seed=0)
    arguments = (np.float32([0.2, 0.9, 0.5]), None, np.zeros(3, int), None, "0")
    inside = asyncio.run(in_a_cell(grader, *arguments))
    np.testing.assert_array_equal(inside.rank, grader(*arguments).rank)
