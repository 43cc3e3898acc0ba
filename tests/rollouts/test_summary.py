"""Numbers and samples of a batch, counted by hand."""

import dataclasses

import numpy as np
import pytest
import tiny

from jaxrl.envs.base import FAILURES
from jaxrl.rollouts import summary
from jaxrl.training import metrics

TRAJ = tiny.trajectory(0, P=3, G=2, R=4)
REWARD = np.array([1, np.nan, 0, 0, 0.5, np.inf], np.float32)


def numbers(**changes):
    traj = dataclasses.replace(TRAJ, **{"reward": REWARD} | changes)
    return summary.numbers(traj, np.array([False, True, False]), np.array([0, 2]))


def test_unscorable_rewards_are_counted_and_left_out_of_the_mean():
    found = numbers()
    assert found["reward/unscorable"] == 2
    np.testing.assert_allclose(found["reward/mean"], 1.5 / 4)
    np.testing.assert_allclose(found["reward/std"], np.std([1, 0, 0, 0.5]))
    assert found["groups/zero_std"] == found["groups/dropped"] == 1


def test_failures_are_counted_by_their_reason():
    found = numbers(failure=np.array(["", "crash", "", "", "timeout", "crash"]))
    counts = {name: n for name, n in found.items() if name.startswith("scorer/")}
    assert counts == {f"scorer/{why}": n for why, n in zip(FAILURES, (0, 1, 2, 0), strict=True)}
    assert set(found) <= set(metrics.SCHEMA)


def test_lengths_and_truncation_are_counted_over_samples():
    mask = np.arange(4) < np.array([1, 4, 2, 4, 3, 4])[:, None]
    stopped = np.array([True, False, True, True, True, False])
    found = numbers(mask=mask, stopped=stopped)
    assert (found["length/mean"], found["length/max"]) == (3, 4)
    assert (found["length/truncated"], found["tokens/sampled"]) == (2, 18)


def test_a_batch_without_any_score_has_no_mean():
    found = numbers(reward=np.full(6, np.nan, np.float32))
    assert found["reward/unscorable"] == 6 and np.isnan(found["reward/mean"])
    assert set(found) <= set(metrics.SCHEMA)


def rows(count, logp=None):
    traj = dataclasses.replace(TRAJ, reward=np.array([1, np.nan, 0, 3, 2, -1], np.float32))
    logp = np.full(traj.tokens.shape, np.nan) if logp is None else logp
    return summary.extremes(traj, np.arange(6.0), logp, tiny.TOKENIZER, 7, count)


def test_the_worst_and_the_best_are_kept_and_no_unscorable_one():
    assert [row["reward"] for row in rows(4)] == [-1, 0, 2, 3]
    assert [row["reward"] for row in rows(100)] == [-1, 0, 2, 3]
    assert [row["advantage"] for row in rows(2)] == [5.0, 3.0]
    assert rows(0) == []


@pytest.mark.parametrize("known", [True, False])
def test_a_row_shows_its_own_tokens(known):
    """The learner's log-probs, or the sampler's where the learner saw nothing."""
    logp = np.where(TRAJ.valid, -0.25, np.nan) if known else None
    best = rows(2, logp)[1]  # sample 3, of group 1
    assert (best["step"], best["task"]) == (7, 101)
    own = TRAJ.tokens[3][TRAJ.mask[3]]
    assert best["pieces"] == tiny.TOKENIZER.pieces(own)
    want = np.full(len(own), -0.25) if known else TRAJ.full_logp[3][TRAJ.mask[3]]
    np.testing.assert_allclose(best["logp"], want, atol=1e-4)
    prompt = TRAJ.prompt_tokens[1][TRAJ.prompt_valid[1]]
    assert best["prompt"] == tiny.TOKENIZER.decode(prompt)
    assert best["ended"] == ("stop" if TRAJ.stopped[3] else "length")
