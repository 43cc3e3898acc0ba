"""launch.merge from directories to a directory, and refusals in one line."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_family as two

from jaxrl.models import checkpoints, embedder_files
from jaxrl.recipes import merge

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """base, good, bad: embedders; rows.jsonl: a probe."""
    root = tmp_path_factory.mktemp("merge")
    for name, params in (("base", two.BASE), ("good", two.GOOD), ("bad", two.BAD)):
        embedder_files.save(params, two.C, two.TOKENIZER, root / name)
    two.write(root / "rows.jsonl", two.rows())
    return root


def run(folder, *flags):
    """The command itself, on good and bad."""
    models = f"--models={folder}/bad,{folder}/good"
    command = [sys.executable, "-m", "launch.merge", f"--base={folder}/base", models, *flags]
    env = os.environ | {"JAX_PLATFORMS": "cpu"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


@pytest.mark.slow
def test_positions_are_printed_and_what_is_written_stands_there(folder, tmp_path):
    """Also that sentence-transformers' files come along: it is opened as an embedder again."""
    out, probe = tmp_path / "out", f"--probe={folder}/rows.jsonl"
    more = ("--steps=5", "--size=5", "--lr=0.05")
    done = run(folder, f"--out={out}", "--how=positions", probe, *more)
    assert done.returncode == 0, done.stderr
    told = dict(line.rsplit(": ", 1) for line in done.stdout.splitlines())
    a = [float(told[f"{folder}/{name}"]) for name in ("bad", "good")]
    assert a[1] > 0.5 > a[0]
    c, _ = embedder_files.open_embedder(out)
    assert (c.model, c.pooling) == (two.C.model, "mean")
    want = merge.moved(two.family(two.BAD, two.GOOD), a)
    near = lambda x, y: np.testing.assert_allclose(x, y, atol=1e-3)  # four digits are printed
    jax.tree.map(near, checkpoints.load(out), want)


def test_slerp_at_a_share_is_written(folder, tmp_path):
    done = run(folder, f"--out={tmp_path}/out", "--how=slerp", "--t=0.25")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"slerp at t = 0.25\n{tmp_path}/out: written\n"
    want = merge.slerped(two.family(two.BAD, two.GOOD), 0.25)
    close = lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6)
    jax.tree.map(close, checkpoints.load(tmp_path / "out"), want)


@pytest.mark.slow
def test_flags_that_do_not_go_together_are_refused_in_one_line(folder, tmp_path):
    done = run(folder, f"--out={tmp_path}/out", "--how=positions", "--t=0.5")
    assert done.returncode == 1 and not (tmp_path / "out").exists()
    assert done.stderr.splitlines()[-1].startswith("launch.merge: --how=positions finds its")
