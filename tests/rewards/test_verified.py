"""Replies to rewards through worker processes: order, NaN and its reasons."""

import numpy as np
import pytest

from jaxrl.rewards import verified
from jaxrl.rollouts.workers import EnvPool

PARAMS = {
    "dataset": "chain_sum",
    "options": {"max_terms": 3, "max_digits": 1},
    "split": "held_out",
    "size": 128,
    "style": "few_shot",
    "show": ": (.*)",
    "partial_credit": False,
}


@pytest.fixture(scope="module")
def pool():
    with EnvPool("reasoning_gym", PARAMS, workers=2, seconds=10) as pool:
        yield pool


def test_rewards_come_in_order(pool):
    states = [pool.env.reset(i)[0] for i in range(128)]
    right = np.arange(128) % 3 == 0
    texts = [
        f" {pool.env.answer(s)}\n" if r else " 777" for s, r in zip(states, right, strict=True)
    ]
    rewards, failures = verified.score(pool, states, texts)
    assert rewards.dtype == np.float32 and not failures.any()
    np.testing.assert_array_equal(rewards, right.astype(np.float32))


def test_a_failure_is_nan_and_counted(pool, caplog):
    """An entry the checker chokes on must not stop the run, nor count as a wrong answer."""
    states = [pool.env.reset(i)[0] for i in range(4)]
    states[2] = states[2]._replace(entry={})
    rewards, failures = verified.score(
        pool, states, [pool.env.answer(s) for s in states[:2]] + ["1", "777"]
    )
    np.testing.assert_array_equal(rewards, [1, 1, np.nan, 0])
    assert failures.tolist() == ["", "", "error", ""]
    assert "1 of 4 replies unscorable" in caplog.text and "KeyError" in caplog.text


def test_nothing_to_score_is_nothing(pool):
    rewards, failures = verified.score(pool, [], [])
    assert rewards.shape == failures.shape == (0,)
