"""The queue of batches: what is started when, what is saved, and how it ends. No model in it."""

import dataclasses
import json
import threading

import numpy as np
import pytest
import tiny

from jaxrl.data import sources
from jaxrl.rollouts.ahead import Ahead

TRAJ = dataclasses.replace(
    tiny.trajectory(),
    reward=np.array([np.nan, 1 / 3] * 6, np.float32),
    texts=("", "é", "\ud800", '"\\'),
    step=3,
)


def tasks():
    return sources.task_batches(10, 2, 0)


@pytest.mark.parametrize("S", [0, 1, 2, 5])
def test_a_batch_is_started_just_before_the_update_that_its_weights_precede(S):
    with Ahead(None, S) as ahead:
        for i in range(8):
            ahead.fill(i, lambda j, version=i: lambda: (j, version))
            assert ahead.take(i) == (i, max(0, i - S))


def same(x, y):
    for field in dataclasses.fields(x):
        np.testing.assert_array_equal(getattr(x, field.name), getattr(y, field.name))


def test_what_is_under_way_is_saved_bit_for_bit():
    before, after = tasks(), tasks()

    def launch(j):
        next(before)
        return lambda: dataclasses.replace(TRAJ, step=j)

    with Ahead(before, 2) as ahead, Ahead(after, 2) as resumed:
        ahead.fill(4, launch)
        ahead.take(4)
        resumed.set_state(json.loads(json.dumps(ahead.get_state())))
        resumed.fill(5, lambda j: lambda: f"batch {j}, new")
        for j in (5, 6):
            same(resumed.take(j), dataclasses.replace(TRAJ, step=j))
        assert resumed.take(7) == "batch 7, new"
        np.testing.assert_array_equal(next(after), next(before))


def test_without_staleness_the_state_is_that_of_the_tasks():
    """Checkpoints of runs that were made before the queue existed still open."""
    before, after = tasks(), tasks()
    next(before)
    with Ahead(before, 0) as ahead, Ahead(after, 0) as resumed:
        assert ahead.get_state() == before.get_state()
        resumed.set_state(ahead.get_state())
    np.testing.assert_array_equal(next(after), next(before))


def test_an_error_in_the_background_is_raised_for_its_batch():
    def launch(j):
        def finish():
            if j == 2:
                raise FloatingPointError(f"in batch {j}")
            return j

        return finish

    with Ahead(None, 2) as ahead:
        for i in (0, 1):
            ahead.fill(i, launch)
            assert ahead.take(i) == i
        with pytest.raises(FloatingPointError, match="in batch 2"):
            ahead.take(2)


def test_leaving_ends_the_thread_and_drops_what_had_not_begun():
    begun, go = [], threading.Event()

    def launch(j):
        return lambda: (begun.append(j), go.wait(60))

    with pytest.raises(KeyboardInterrupt), Ahead(None, 3) as ahead:
        ahead.fill(0, launch)
        threading.Timer(0.05, go.set).start()
        raise KeyboardInterrupt
    assert begun in ([], [0])
    assert not [t for t in threading.enumerate() if t.name.startswith("rollouts")]
