"""Fine-tuning: packing is exact, the loss falls, a resumed run is the uninterrupted one."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny

from configs import base
from jaxrl.algos import objectives
from jaxrl.models import decoder, spec
from jaxrl.recipes import sft
from jaxrl.training import checkpoint, examples, step
from jaxrl.training.metrics import read_rows

ROOT = Path(__file__).parents[2]
LINES = [{"prompt": f"{a}+{b}=", "response": str(a + b)} for a in range(4) for b in (2, 7)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a tiny checkpoint and eight lines to learn."""
    folder = tmp_path_factory.mktemp("sft")
    tiny.write(folder / "model")
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in LINES))
    return folder


def config(files, **changes):
    """Eight rows a micro-batch fit the eight devices of the tests."""
    c = base.sft()
    c.steps, c.model.checkpoint, c.optimizer.lr = 4, str(files / "model"), 1e-2
    c.data.update(path=str(files / "data.jsonl"), batch=4, max_length=16)
    c.learner.update(width=32, micro=8)
    c.update_from_flattened_dict(changes)
    return c


def test_packed_rows_give_the_gradient_of_single_ones():
    """Several examples in a row must not see each other, nor shift each other's positions."""
    texts = [{"prompt": "ab" * n, "response": "the" * (5 - n)} for n in range(1, 5)]
    made = [examples.render(tiny.TOKENIZER, row) for row in texts]
    packed, used = examples.pack(made, width=40, scored=30, rows=4)
    single, alone = examples.pack(made[:1], width=40, scored=30, rows=4)
    singles = [examples.pack([x], width=40, scored=30, rows=1)[0] for x in made]
    single = jax.tree.map(lambda *x: np.concatenate(x), *singles)
    assert (used, alone) == (1, 1)
    objective = functools.partial(
        objectives.OBJECTIVES["sft"], c=objectives.ObjectiveConfig(name="sft")
    )
    loss = jax.jit(jax.value_and_grad(step.make_loss(objective, tiny.MODEL), has_aux=True))
    ((a, (stats, _)), grads), ((b, (others, _)), wanted) = (
        loss(tiny.params(), rows) for rows in (packed, single)
    )
    assert stats["weight"] == others["weight"] == sum(x.mask.sum() for x in made)
    np.testing.assert_allclose(a, b, rtol=1e-5)
    tiny.assert_close(grads, wanted, 1e-4)


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_one(files):
    """Parameters bit for bit, and every record, clock apart: data order, counters, evaluations."""
    held_out = {"data.eval_path": str(files / "data.jsonl"), "eval.every": 2}
    whole, parts = files / "whole", files / "parts"
    sft.run(config(files, **held_out), whole)
    for steps in (2, 4):
        evals = sft.run(config(files, steps=steps, **held_out), parts)
    abstract = spec.abstract(decoder.specs(tiny.MODEL))
    got, want = (checkpoint.load_params(run, abstract)[0] for run in (parts, whole))
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_array_equal(x, y)
    clock = ("time/", "compile/", "tokens/per_second", "run/")
    still = lambda run: [
        {key: value for key, value in row.items() if not key.startswith(clock)}
        for row in read_rows(run / "metrics.jsonl")[0]
    ]
    assert still(parts) == still(whole)
    trained = [row["tokens/trained"] for row in still(whole)]  # 4 updates of 4: two epochs of 8
    assert sum(trained) == 2 * sum(len(line["response"]) + 1 for line in LINES)
    assert evals == read_rows(whole / "eval.jsonl")[0]
    assert [row["step"] for row in evals] == [0, 2, 4]
    assert "held-out loss" in (parts / "report.html").read_text()


def test_the_command_overfits_eight_lines(files):
    """The whole road by launch.train: the loss of what it is shown falls by far more than half."""
    command = [sys.executable, "-m", "launch.train", "--config=configs/sft.py"]
    settings = {
        "model.checkpoint": files / "model",
        "data.path": files / "data.jsonl",
        "data.eval_path": files / "data.jsonl",
        "data.batch": 8,
        "data.max_length": 16,
        "learner.width": 32,
        "optimizer.lr": 0.02,
        "steps": 80,
        "checkpoint.every": 0,
    }
    command += [f"--config.{key}={value}" for key, value in settings.items()]
    done = subprocess.run(
        [*command, f"--workdir={files}/command"],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    before, after = done.stdout.splitlines()[-1].removeprefix("held-out loss: before ").split(" → ")
    assert float(after.removeprefix("after ")) < float(before) / 2
    rows = read_rows(files / "command" / "metrics.jsonl")[0]
    assert rows[-1]["policy/loss"] < rows[0]["policy/loss"] / 2
    assert "loss" in done.stdout and "reward" not in done.stdout


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"data.path": ""}, r"data.path='' is no file"),
        ({"data.eval_path": "nowhere.jsonl"}, r"data.eval_path='nowhere.jsonl' is no file"),
        ({"data.max_length": 65}, r"data.max_length=65 .*the model's context of 64.*lower it"),
        ({"data.max_length": 33}, r"data.max_length=33: give 2 to 32, learner.width"),
        ({"data.max_length": 5}, r"line 4: 6 tokens"),
        ({"data.batch": 0}, r"data.batch=0"),
        ({"learner.scored": 2}, r"learner.scored=2, but an example of data.path has 3"),
        ({"learner.micro": 4}, r"learner.micro=4"),
    ],
)
def test_settings_that_cannot_work_are_refused(files, changes, message):
    """Before any weight is read, by key, value and fix."""
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        sft.plan(config(files, **changes))
