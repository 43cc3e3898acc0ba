"""Tasks to trajectories: prompts, groups and texts belong together, also after joining."""

import dataclasses
import types

import jax
import numpy as np
import pytest
import tiny
import tiny_env

from jaxrl.chat import templates
from jaxrl.rollouts import collect
from jaxrl.sampling.decode import Samples
from jaxrl.sampling.sampler import left_pad

ENV = tiny_env.Parity(size=16)
TEXTS = ["a", "ab\nrest", "b", "the cab", "", "x"]


def launch(params, prompts, key):
    """Two samples a prompt, whose texts are known."""
    T = max(map(len, prompts))
    tokens, valid = left_pad(prompts, len(prompts), T)
    ids = [tiny.TOKENIZER.encode(text) for text in TEXTS[: 2 * len(prompts)]]
    out = np.zeros((len(ids), 12), np.int32)
    mask = np.zeros(out.shape, bool)
    for b, row in enumerate(ids):
        out[b, : len(row)], mask[b, : len(row)] = row, True
    logp = -mask.astype(np.float32)
    return lambda: (tokens, valid, Samples(out, mask, logp, 2 * logp, mask[:, 11]))


@pytest.fixture
def collected():
    fake = types.SimpleNamespace(launch=launch)
    how = {"version": 5, "step": 7}
    return collect.collect(ENV, tiny.TOKENIZER, fake, None, [3, 11, 0], None, **how)


def test_each_sample_continues_its_tasks_prompt(collected):
    traj, states = collected
    assert states == [3, 3, 11, 11, 0, 0]
    assert traj.task.tolist() == [3, 11, 0]
    assert traj.version.tolist() == [5, 5, 5] and traj.step == 7
    assert traj.group.tolist() == [0, 0, 1, 1, 2, 2]
    for p, task in enumerate([3, 11, 0]):
        want = templates.render(tiny.TOKENIZER, ENV.reset(task)[1])
        assert traj.prompt_tokens[p][traj.prompt_valid[p]].tolist() == want


def test_texts_end_at_the_stop_string_and_tokens_do_not(collected):
    """The reward sees the answer; the learner sees all that was sampled, the stop included."""
    traj, _ = collected
    assert traj.texts == ("a", "ab", "b", "the cab", "", "x")
    assert tiny.TOKENIZER.decode(traj.tokens[1][traj.mask[1]]) == "ab\nrest"
    np.testing.assert_array_equal(traj.valid, traj.mask)
    np.testing.assert_array_equal(traj.full_logp, 2 * traj.logp)
    assert traj.reward is None


def test_join_widens_prompts_on_the_left_and_renumbers_groups():
    parts = [tiny.trajectory(seed, P=P, T=T) for seed, P, T in ((0, 2, 4), (1, 3, 9), (2, 1, 6))]
    whole = collect.join(parts)
    assert whole.prompt_tokens.shape == (6, 9) and len(whole.texts) == 18
    b = p = 0
    for part in parts:
        B, P = len(part.tokens), len(part.task)
        np.testing.assert_array_equal(whole.tokens[b : b + B], part.tokens)
        np.testing.assert_array_equal(whole.group[b : b + B] - p, part.group)
        np.testing.assert_array_equal(whole.reward[b : b + B], part.reward)
        for i in range(P):
            got = whole.prompt_tokens[p + i][whole.prompt_valid[p + i]]
            want = part.prompt_tokens[i][part.prompt_valid[i]]
            np.testing.assert_array_equal(got, want)
        b, p = b + B, p + P
    assert collect.join(parts[:1]) is parts[0]


@pytest.mark.parametrize(
    "signals, rounds, calls",
    [
        ([2, 2, 2], 5, 2),  # enough after the second round
        ([1, 0, 1, 4], 5, 4),  # the fourth round brings the rest
        ([0, 0, 0], 3, 3),  # gives up, and keeps what there is
        ([4], 5, 1),
    ],
)
def test_resampling_stops_when_enough_groups_have_a_signal(signals, rounds, calls):
    made = []

    def once():
        made.append(tiny.trajectory(len(made), P=4))
        return made[-1]

    has_signal = lambda traj: np.arange(4) < signals[len(made) - 1]
    whole = collect.resample(once, has_signal, prompts=4, rounds=rounds)
    assert len(made) == calls and len(whole.task) == 4 * calls


def test_a_trajectory_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        tiny.trajectory().reward = None
    assert jax.tree.leaves(tiny.trajectory())[0].task.shape == (4,)  # one leaf: no pytree
