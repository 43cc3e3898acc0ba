"""Whole runs of seconds: what they write, how they stop and resume, and what each setting does."""

import functools
import json
import os
import signal

import jax
import numpy as np
import pytest
import tiny

from jaxrl.parallel import mesh
from jaxrl.recipes import rl, rl_run
from jaxrl.training import checkpoint, metrics, setup
from jaxrl.training.metrics import read_rows

pytestmark = pytest.mark.usefixtures("compiled_once")
CLOCK = ("time/", "tokens/per_second", "compile/count", "run/")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def one_device(monkeypatch):
    """As the quickstart runs, and half the compile; the other runs are on a mesh of eight."""
    alone = functools.partial(mesh.make, devices=jax.devices()[:1])
    monkeypatch.setattr(mesh, "make", alone)


def run(model, workdir, **changes):
    return rl.run(tiny.config(model, **{"checkpoint.every": 1} | changes), workdir)


def rows(workdir, name="metrics"):
    """The rows of a run, without what the clock says and what befell it."""
    found, broken = read_rows(workdir / f"{name}.jsonl")
    assert not broken
    return [{k: v for k, v in row.items() if not k.startswith(CLOCK)} for row in found]


def params(workdir):
    abstract = jax.eval_shape(tiny.params)
    return jax.device_get(checkpoint.load_params(workdir, abstract)[0])


def assert_same_run(got, want):
    """Bit for bit: the parameters, and all that was written."""
    jax.tree.map(np.testing.assert_array_equal, params(got), params(want))
    for name in ("metrics", "rollouts", "eval"):
        assert rows(got, name) == rows(want, name)


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """Four updates in one go, evaluated at both ends and in the middle."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    return workdir, run(model, workdir, steps=4, **{"eval.every": 2})


def test_a_run_leaves_all_its_files(whole):
    workdir, evals = whole
    names = {p.name for p in workdir.iterdir()}
    assert names >= {"config.json", "metrics.jsonl", "rollouts.jsonl", "eval.jsonl", "report.html"}
    assert names >= {"checkpoints", "tensorboard"}
    assert json.loads((workdir / "config.json").read_text())["steps"] == 4
    assert [row["step"] for row in evals] == [0, 2, 4]
    assert all(row["n"] == len(row["rows"]) == 8 for row in evals)
    kept = rows(workdir, "rollouts")
    assert len(kept) == 8 and {row["step"] for row in kept} == {0, 1, 2, 3}
    assert all(len(row["pieces"]) == len(row["logp"]) for row in kept)


def test_every_update_learns_and_is_on_policy(whole):
    """The learner's log-probs are the sampler's, to rounding, in every update."""
    found = rows(whole[0])
    assert [row["step"] for row in found] == [0, 1, 2, 3]
    for row in found:
        assert set(row) <= set(metrics.SCHEMA)
        assert row["sampler/gap_max"] < 1e-4 and abs(row["policy/kl"]) < 1e-6
        assert row["optim/grad_norm"] > 0 and row["optim/skipped"] == 0
        assert row["tokens/sampled"] == row["tokens/trained"] <= 8 * 2 * 4
        assert 0 < row["reward/mean"] < 1
    before = tiny.params()
    moved = jax.tree.map(lambda x, y: bool((x != y).any()), params(whole[0]), before)
    assert all(jax.tree.leaves(moved))


def test_nothing_compiles_after_the_second_update(whole):
    """A shape that varies with the data would compile now and then, for minutes on a pod."""
    counts = [row["compile/count"] for row in read_rows(whole[0] / "metrics.jsonl")[0]]
    assert counts[0] > 0 and counts[2:] == [0, 0]


def test_a_run_in_two_halves_equals_the_whole(model, whole, tmp_path):
    run(model, tmp_path, steps=2, **{"eval.every": 2})
    run(model, tmp_path, steps=4, **{"eval.every": 2})
    assert_same_run(tmp_path, whole[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_saves_and_resumes(model, whole, tmp_path, monkeypatch, number):
    """Ctrl-C in the middle of update 1: that update ends, is saved, and the rerun goes on at 2."""
    learn = rl_run.Run.learn

    def interrupted(self, state, *args):
        if int(state.step) == 1:
            os.kill(os.getpid(), number)
        return learn(self, state, *args)

    every = {"checkpoint.every": 0, "eval.every": 2}
    with monkeypatch.context() as patch:
        patch.setattr(rl_run.Run, "learn", interrupted)
        run(model, tmp_path, steps=4, **every)
    assert [row["step"] for row in rows(tmp_path)] == [0, 1]
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["2"]
    run(model, tmp_path, steps=4, **every)
    assert_same_run(tmp_path, whole[0])


class Death(BaseException):
    """As good as a kill -9: nothing may catch it."""


def test_a_run_killed_between_a_save_and_its_row_has_no_hole(model, whole, tmp_path, monkeypatch):
    """Saved first, the row of update 3 would be missing: the resumed run would start after it."""
    every = {"checkpoint.every": 2, "eval.every": 2}
    write = metrics.Writer.update

    def die(self, step, row):
        if step == 3:
            raise Death
        write(self, step, row)

    with monkeypatch.context() as patch, pytest.raises(Death):
        patch.setattr(metrics.Writer, "update", die)
        run(model, tmp_path, steps=4, **every)
    run(model, tmp_path, steps=4, **every)
    assert_same_run(tmp_path, whole[0])
    found = read_rows(tmp_path / "metrics.jsonl")[0]
    assert [row["run/resumed"] for row in found] == [0, 0, 1, 0]
    assert [row["run/redone"] for row in found] == [0, 0, 1, 0]


def test_a_signal_while_scorers_work_drops_that_update_alone(model, whole, tmp_path, monkeypatch):
    """The checkpoint is of the update before, and so is its place in the data."""
    score = rl_run.verified.score

    def slow(pool, states, texts):
        if (tmp_path / "metrics.jsonl").read_text():
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("the run waited for its scorers")
        return score(pool, states, texts)

    every = {"checkpoint.every": 0, "eval.every": 2}
    with monkeypatch.context() as patch:
        patch.setattr(rl_run.verified, "score", slow)
        run(model, tmp_path, steps=4, **every)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["1"]
    run(model, tmp_path, steps=4, **every)
    assert_same_run(tmp_path, whole[0])


def test_a_finished_run_is_left_as_it_is(model, whole):
    before = [rows(whole[0], name) for name in ("metrics", "rollouts", "eval")]
    evals = run(model, whole[0], steps=4, **{"eval.every": 2})
    assert [rows(whole[0], name) for name in ("metrics", "rollouts", "eval")] == before
    assert [row["step"] for row in evals] == [0, 2, 4]


def test_groups_without_a_signal_are_kept_dropped_or_sampled_again(model, tmp_path):
    """All rewards of the tasks below `dull` are equal."""
    found = {}
    for policy in ("keep", "drop", "resample"):
        c = tiny.config(model, steps=1, **{"rollout.zero_variance": policy, "rollout.rounds": 3})
        c.env.params, c.eval.params = {"size": 16, "dull": 12}, {}
        rl.run(c, tmp_path / policy)
        (found[policy],) = rows(tmp_path / policy)
    keep, drop, again = (found[policy] for policy in ("keep", "drop", "resample"))
    assert keep["groups/zero_std"] == drop["groups/zero_std"] >= 2
    assert keep["groups/dropped"] == 0 and keep["tokens/trained"] == keep["tokens/sampled"]
    assert drop["groups/dropped"] == drop["groups/zero_std"]
    assert 0 < drop["tokens/trained"] < drop["tokens/sampled"] == keep["tokens/sampled"]
    assert again["tokens/sampled"] > drop["tokens/sampled"]
    assert again["tokens/trained"] > drop["tokens/trained"]


def test_epochs_and_a_reference(model, tmp_path, one_device):
    """Two updates a batch; the second is off policy, and both stay near the initial policy."""
    changes = {"learner.epochs": 2, "loss.kl_coef": 0.1, "learner.old_logp": "learner"}
    run(model, tmp_path, steps=2, **changes)
    found = rows(tmp_path)
    assert [row["step"] for row in found] == [0, 1]
    assert all(row["policy/kl"] > 0 and row["policy/ref_kl"] > 0 for row in found)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["2", "4"]


def test_long_answers_are_penalised(model, tmp_path):
    """Nearly all answers run to the limit of 4 tokens, where the penalty is whole."""
    changes = {"overlong.buffer": 2, "overlong.factor": 8.0, "eval.params.size": 8}
    run(model, tmp_path, steps=1, **changes)
    (row,) = rows(tmp_path)
    for kept in rows(tmp_path, "rollouts"):
        over = max(0, len(kept["pieces"]) - 2)
        assert kept["reward"] in (-4.0 * over, 1 - 4.0 * over)
    assert row["reward/mean"] < -4


@pytest.mark.slow
def test_bf16_activations_run_and_stay_finite(model, tmp_path, one_device):
    run(model, tmp_path, steps=2, **{"model.dtype": "bfloat16"})
    for row in rows(tmp_path):
        assert all(np.isfinite(value) for value in row.values())
        assert row["optim/skipped"] == 0 and row["sampler/gap_max"] < 0.5


@pytest.mark.slow
def test_experts_train_on_policy_and_balanced(tmp_path):
    """Two updates of a mixture of experts on a mesh that splits them;
    sampler and learner choose the same."""
    experts = tiny.write(tmp_path / "experts", tiny.EXPERTS)
    changes = {"mesh.tensor": 2, "mesh.fsdp": 2, "model.router_loss": 1.0}
    c = tiny.config(experts, steps=2, **changes)
    c.eval.params = {}
    rl.run(c, tmp_path / "run")
    found = rows(tmp_path / "run")
    assert [row["step"] for row in found] == [0, 1]
    for row in found:
        assert row["sampler/gap_max"] < 1e-4 and row["optim/skipped"] == 0
        assert row["router/dropped"] == 0 and row["optim/grad_norm"] > 0
        assert 1 <= row["router/load"] <= row["router/load_worst"] <= tiny.EXPERTS.E
        assert 0 < row["router/entropy"] < np.log(tiny.EXPERTS.E)
        assert abs(row["policy/loss"] - row["router/balance"]) < 1 < row["router/balance"]
    before = tiny.params(tiny.EXPERTS)
    abstract = jax.eval_shape(lambda: before)
    after = jax.device_get(checkpoint.load_params(tmp_path / "run", abstract)[0])
    assert all(jax.tree.leaves(jax.tree.map(lambda x, y: bool((x != y).any()), after, before)))


def test_the_config_of_a_run_is_not_written_before_it_is_checked(model, tmp_path):
    with pytest.raises(ValueError, match="steps=0"):
        run(model, tmp_path / "run", steps=0)
    assert not (tmp_path / "run").exists()


def test_setup_writes_what_the_run_was_made_with(model, tmp_path):
    c = tiny.config(model)
    setup.write_config(c, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == json.loads(c.to_json())
