"""Runs whose sampler is ahead of the learner: against a loop that samples and scores in turn."""

import functools
import os
import signal
import threading

import jax
import numpy as np
import pytest
import test_rl
import tiny
from test_rl import assert_same_run, params, rows, run

from jaxrl.parallel import mesh
from jaxrl.recipes import rl, rl_run
from jaxrl.rewards import verified
from jaxrl.rollouts import collect

model, one_device = test_rl.model, test_rl.one_device
pytestmark = [pytest.mark.usefixtures("compiled_once", "one_device"), pytest.mark.slow]


def in_turn(model, workdir, steps, staleness=0, parts=1):
    """The parameters after a run in which nothing overlaps; of each version a copy is kept."""
    c = tiny.config(model, steps=steps, **{"rollout.parts": parts})
    c.eval.params = {}
    p, kept = rl.prepare(c, workdir), []
    with rl_run.Run(c, p, workdir) as r:
        state = r.state
        for i in range(steps):
            kept.append(jax.tree.map(np.array, state.params))
            version = max(0, i - staleness)
            weights = jax.device_put(kept[version], r._sampler._place(np.zeros(1)).sharding)
            key = jax.random.fold_in(jax.random.key(c.seed), i)
            scored = []
            for n, part in enumerate(np.split(next(r.tasks), parts)):
                one = jax.random.fold_in(key, n)
                traj, states = collect.collect(
                    p.env, tiny.TOKENIZER, r._sampler, weights, part, one, version=version, step=i
                )
                reward, _ = verified.score(r._pool, states, traj.texts)
                scored.append(collect.dataclasses.replace(traj, reward=reward))
            traj = collect.join(scored)
            state, _, _ = r.learn(state, traj, r.select(traj), r.estimate(traj))
        return jax.device_get(state.params)


CORRECTED = {
    "rollout.zero_variance": "resample",
    "rollout.rounds": 2,
    "loss.correction": "tis_token",
    "learner.old_logp": "learner",
    "optimizer.lr": 1e-2,
}


def ahead(model, workdir, staleness, **changes):
    """A run of three updates, unless `changes` say otherwise, without evaluation and report."""
    changes = {"steps": 3, "rollout.max_staleness": staleness, "checkpoint.every": 0} | changes
    c = tiny.config(model, **changes)
    c.eval.params = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rl.page, "write", lambda workdir: None)
        rl.run(c, workdir)
    return workdir


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """Runs in one go, one version ahead; the second with corrections and several rounds."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "make", functools.partial(mesh.make, devices=jax.devices()[:1]))
        found = ahead(model, folder / "1", 1), ahead(model, folder / "2", 1, **CORRECTED)
    return dict(zip(("plain", "corrected"), found, strict=True))


def threads():
    return [t for t in threading.enumerate() if t.name.startswith(("rollouts", "env"))]


@pytest.mark.parametrize("staleness, parts", [(0, 1), (1, 1), (2, 2)])
def test_each_batch_is_of_the_weights_it_should_be_of(model, whole, tmp_path, staleness, parts):
    """At staleness 0 that is the synchronous run."""
    changes = {"rollout.parts": parts}
    made = (
        whole["plain"]
        if (staleness, parts) == (1, 1)
        else ahead(model, tmp_path / "run", staleness, **changes)
    )
    want = in_turn(model, tmp_path / "oracle", 3, staleness, parts)
    jax.tree.map(np.testing.assert_array_equal, params(made), want)
    found = rows(made)
    versions = [max(0, i - staleness) for i in range(3)]
    assert [row["policy/version"] for row in found] == versions
    assert [row["policy/staleness"] for row in found] == [i - v for i, v in enumerate(versions)]
    for kept in rows(made, "rollouts"):
        assert kept["version"] == versions[kept["step"]]


def test_corrections_weigh_what_older_weights_sampled(whole):
    """At the first update the weights are equal; then they have moved, fast."""
    first, *later = rows(whole["corrected"])
    assert first["sampler/gap_max"] < 1e-4 and abs(first["correction/weight"] - 1) < 1e-4
    for row in later:
        assert row["sampler/gap_max"] > 1e-3 and abs(row["correction/weight"] - 1) > 1e-4


def test_a_run_that_is_asked_to_stop_goes_on_with_what_was_under_way(
    model, whole, tmp_path, monkeypatch
):
    """SIGTERM in update 1; batch 2 must not be sampled anew, with weights one update too young."""
    learn = rl_run.Run.learn

    def interrupted(self, state, *args):
        if int(state.step) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return learn(self, state, *args)

    with monkeypatch.context() as patch:
        patch.setattr(rl_run.Run, "learn", interrupted)
        ahead(model, tmp_path, 1)
    assert len(rows(tmp_path)) == 2 and not threads()
    assert_same_run(ahead(model, tmp_path, 1), whole["plain"])


def test_a_finished_run_can_be_made_longer(model, whole, tmp_path):
    """Later rounds of a batch are of the weights at hand, the tasks in the order of their use."""
    for steps in (1, 3):
        ahead(model, tmp_path, 1, **CORRECTED | {"steps": steps})
    assert_same_run(tmp_path, whole["corrected"])


@pytest.mark.parametrize("error", [ZeroDivisionError("in the scorer"), KeyboardInterrupt()])
def test_an_error_ends_the_run_as_that_error_and_leaves_no_thread(
    model, tmp_path, monkeypatch, error
):
    """The second batch's scoring fails in the background, or Ctrl-C comes while it runs."""
    score, calls = verified.score, []

    def failing(pool, states, texts):
        calls.append(len(texts))
        if len(calls) == 2 and isinstance(error, Exception):
            raise error
        return score(pool, states, texts)

    def interrupted(self, *args):
        raise error

    monkeypatch.setattr(verified, "score", failing)
    if not isinstance(error, Exception):
        monkeypatch.setattr(rl_run.Run, "learn", interrupted)
    with pytest.raises(type(error), match=str(error) or None):
        ahead(model, tmp_path, 2)
    assert not threads()


def test_staleness_and_parts_that_cannot_be_are_refused(model, tmp_path):
    for change, words in (
        ({"rollout.max_staleness": -1}, "rollout.max_staleness=-1: give 0"),
        ({"rollout.parts": 0}, "rollout.parts=0: give at least 1"),
        ({"rollout.parts": 3}, r"parts=3 does not divide rollout.prompts=8: .*\[1, 2, 4, 8\]"),
    ):
        with pytest.raises(ValueError, match=words):
            run(model, tmp_path, **change)
