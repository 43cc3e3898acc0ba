"""launch.convert on a run directory: what the run has learned comes out, not what it began with."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
import tiny_vl

from jaxrl.models import checkpoints, lora, peft_files, qwen3_vl, spec
from jaxrl.training import setup
from jaxrl.training.checkpoint import Checkpointer

ROOT = Path(__file__).parents[2]


def convert(run, out, *more):
    """The command itself."""
    command = [sys.executable, "-m", "launch.convert", f"--checkpoint={run}", f"--out={out}"]
    env = os.environ | {"JAX_PLATFORMS": "cpu"}
    return subprocess.run([*command, *more], cwd=ROOT, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run directory with two checkpoints of other parameters than its base model's."""
    folder = tmp_path_factory.mktemp("convert")
    setup.write_config(tiny.config(tiny.write(folder / "model")), folder / "run")
    base = tiny.base()
    with Checkpointer(folder / "run") as saver:
        for step in (1, 2):
            state = tiny.state(base, seed=step)
            saver.save(state.replace(step=state.step + step), {})
    return folder / "run"


def test_the_directory_holds_the_newest_parameters_of_the_run(run, tmp_path):
    done = convert(run, tmp_path / "out", "--to=hf")
    assert done.returncode == 0, done.stderr
    assert "parameters in float32" in done.stdout
    c = checkpoints.config(tmp_path / "out")
    assert c == tiny.MODEL
    tiny.assert_close(checkpoints.load(tmp_path / "out", c), tiny.params(seed=2), 0)
    text = "the ab: 7 + 5"
    assert checkpoints.tokenizer(tmp_path / "out").encode(text) == tiny.TOKENIZER.encode(text)


def test_the_adapters_of_a_run_come_out_as_peft_reads_them(tmp_path):
    how, model = lora.LoraConfig(2, 4.0, ("q", "down")), tiny.write(tmp_path / "model")
    changes = {"rank": 2, "alpha": 4.0, "targets": how.targets}
    changes = {f"model.lora.{key}": value for key, value in changes.items()}
    setup.write_config(tiny.config(model, **changes), tmp_path / "run")
    with Checkpointer(tmp_path / "run") as saver:
        saver.save(tiny.state(tiny.base(c=how), seed=2), {})
    done = convert(tmp_path / "run", tmp_path / "out", "--to=peft")
    assert done.returncode == 0 and "320 parameters in float32" in done.stdout, done.stderr
    found, same = peft_files.load(tmp_path / "out", tiny.MODEL)
    assert same == how
    jax.tree.map(np.testing.assert_array_equal, found, tiny.adapters(how, seed=2))


def test_a_run_without_a_checkpoint_is_refused(run, tmp_path):
    """And nothing is left behind that looks like a model."""
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "config.json").write_bytes((run / "config.json").read_bytes())
    done = convert(tmp_path / "run", tmp_path / "out")
    assert done.returncode != 0 and "holds no checkpoint" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_model_that_sees_is_written_whole(tmp_path):
    """In bf16, its tower too."""
    path = ROOT / "tests" / "fixtures" / "qwen3_vl"
    params = checkpoints.load(path, tiny_vl.MODEL)
    checkpoints.save(params, tiny_vl.MODEL, tiny_vl.TOKENIZER, tmp_path / "model")
    done = convert(tmp_path / "model", tmp_path / "out", "--dtype=bfloat16")
    count = spec.count(qwen3_vl.specs(tiny_vl.MODEL))
    assert done.returncode == 0 and f"{count:,} parameters in bfloat16" in done.stdout, done.stderr
    jax.tree.map(np.testing.assert_array_equal, checkpoints.load(tmp_path / "out"), params)
