import dataclasses

import numpy as np
import tiny

from jaxrl.algos import estimators
from jaxrl.rollouts import signals


def test_single_turn_fills_every_field_that_an_estimator_needs():
    traj = dataclasses.replace(
        tiny.trajectory(), squares=np.zeros((12, 5), np.float32), greedy=np.zeros(12, np.float32)
    )
    given = signals.single_turn(traj)
    for name in estimators.ESTIMATORS:
        estimators.check_signals(given, estimators.EstimatorConfig(name=name))


def test_ranks_share_places_and_leave_the_unscorable_out():
    reward = np.float32([1, 3, 1, np.nan, 5, 5])
    group = np.int32([0, 0, 0, 0, 1, 1])
    np.testing.assert_array_equal(signals.ranks(reward, group), [1.5, 0, 1.5, -1, 0.5, 0.5])


def test_the_first_half_of_a_response_is_its_first_step():
    traj = tiny.trajectory()
    turn = signals.single_turn(traj).turn
    for row, mask in zip(turn, traj.mask, strict=True):
        n = mask.sum()
        assert row[mask].tolist() == [1] * ((n + 1) // 2) + [2] * (n // 2)
