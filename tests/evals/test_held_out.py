"""Held-out accuracy: every task once, whatever the batch; a failed scorer is a wrong answer."""

import numpy as np
import pytest
import tiny
import tiny_env

from jaxrl.envs.base import Failure, Step
from jaxrl.evals import held_out
from jaxrl.sampling.decode import Samples
from jaxrl.sampling.sampler import left_pad

ENV = tiny_env.Parity(size=7, split="held_out")
seen = []


def sampler(params, prompts, key):
    """Answers "a"; at most three prompts at a time."""
    assert len(prompts) <= 3
    seen.append(len(prompts))
    tokens, valid = left_pad(prompts, len(prompts), 8)
    ids = np.full((len(prompts), 1), tiny.TOKENIZER.encode("a")[0])
    one = np.ones(ids.shape)
    return tokens, valid, Samples(ids, one > 0, -one, -one, one[:, 0] > 0)


def launch(*args):
    """The sampler in its two halves."""
    found = sampler(*args)
    return lambda: found


sampler.launch = launch


class Pool:
    """Scores task 2 with a crash, task 3 with half a point, the others with their parity."""

    def step(self, states, texts):
        assert all(text == "a" for text in texts)
        return [self.one(state) for state in states]

    def one(self, state):
        if state == 2:
            return Failure("crash", "exit code 1")
        reward = 0.5 if state == 3 else float(state % 2)
        return Step(state, (), reward, True, {})


@pytest.fixture(scope="module")
def row():
    where = {"name": "sums", "step": 4, "prompts": 3}
    return held_out.evaluate(ENV, Pool(), tiny.TOKENIZER, sampler, None, None, **where)


def test_every_task_is_asked_once(row):
    assert seen == [3, 3, 1]
    assert [shown["prompt"] for shown in row["rows"]] == [f"h{i}:" for i in range(7)]
    assert all(shown["response"] == "a" and shown["answer"] == "any" for shown in row["rows"])


def test_right_means_a_whole_point(row):
    """Tasks 1 and 5; the crash of 2 and the half point of 3 are wrong."""
    assert (row["n"], row["correct"], row["unscorable"]) == (7, 2, 1)
    assert (row["name"], row["step"]) == ("sums", 4)
    np.testing.assert_allclose(row["accuracy"], 2 / 7)
    assert 0 < row["low"] < 2 / 7 < row["high"] < 1
    scores = [shown["score"] for shown in row["rows"]]
    np.testing.assert_array_equal(scores, [0, 1, np.nan, 0.5, 0, 1, 0])
