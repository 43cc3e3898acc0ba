"""What the writer leaves on disk, and what the progress line shows where."""

import io
import json
import os
import pty
import subprocess
import sys

import ml_collections
import numpy as np
import pytest
from rich.console import Console
from tensorboardX.proto import event_pb2

from jaxrl.training import metrics


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_misspelt_name_is_refused_and_the_right_one_named(tmp_path):
    with metrics.Writer(tmp_path) as writer:
        with pytest.raises(KeyError, match=r"reward/meen.*reward/mean.*SCHEMA"):
            writer.update(0, {"reward/std": 1.0, "reward/meen": 1.0})
        with pytest.raises(TypeError, match=r"optim/lr.*one number"):
            writer.update(0, {"optim/lr": np.zeros(3)})
    assert lines(tmp_path / "metrics.jsonl") == []


def test_json_has_null_and_never_the_nan_literal(tmp_path):
    """NaN is no JSON: browsers and jq refuse the whole line."""
    with metrics.Writer(tmp_path) as writer:
        writer.update(0, {"reward/mean": np.float32(np.nan), "optim/grad_norm": np.inf})
        writer.rollouts([{"step": 0, "reward": np.nan, "logp": np.array([-1, -np.inf])}])
        writer.evaluation(
            {"step": 0, "name": "held-out", "accuracy": 0.5, "rows": [{"score": np.nan}]}
        )
    assert lines(tmp_path / "metrics.jsonl")[0] == {
        "step": 0,
        "reward/mean": None,
        "optim/grad_norm": None,
    }
    assert lines(tmp_path / "rollouts.jsonl")[0]["logp"] == [-1, None]
    assert lines(tmp_path / "eval.jsonl")[0]["rows"] == [{"score": None}]


def write(run_dir, steps, resume_at):
    with metrics.Writer(run_dir, resume_at) as writer:
        for i in steps:
            writer.evaluation({"step": i, "name": "held-out", "accuracy": i / 10, "rows": []})
            writer.update(i, {"reward/mean": i / 7})
            writer.rollouts([{"step": i, "pieces": ["é", "\ud83d", "<b>"], "reward": 1.0}] * 2)


def test_a_resumed_run_leaves_the_files_of_an_uninterrupted_one(tmp_path):
    """Killed in update 5 with its last line torn, resumed from the checkpoint at 3."""
    write(tmp_path / "whole", range(8), 0)
    write(tmp_path / "resumed", range(5), 0)
    with (tmp_path / "resumed" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "rew')
    write(tmp_path / "resumed", range(3, 8), 3)
    with metrics.Writer(tmp_path / "whole", 6) as writer:
        assert [row["step"] for row in writer.dropped] == [6, 7]
    write(tmp_path / "whole", range(6, 8), 6)
    for name in ("metrics.jsonl", "rollouts.jsonl", "eval.jsonl"):
        got, want = ((tmp_path / run / name).read_bytes() for run in ("resumed", "whole"))
        assert got == want and got.count(b"\n") >= 8


def test_every_row_is_on_disk_before_the_next_update(tmp_path):
    with metrics.Writer(tmp_path) as writer:
        writer.update(0, {"reward/mean": 0.5})
        assert lines(tmp_path / "metrics.jsonl")[0]["reward/mean"] == 0.5


def events(folder):
    """TensorBoard's file: length (u64), its crc (u32), the event, its crc (u32), and so on."""
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            yield event_pb2.Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]


def test_tensorboard_gets_finite_scalars_and_a_purge_at_the_resumed_step(tmp_path):
    write(tmp_path, range(3), 0)
    write(tmp_path, range(2, 3), 2)
    with metrics.Writer(tmp_path, 3) as writer:
        writer.update(3, {"reward/mean": np.nan})
    seen = list(events(tmp_path / "tensorboard"))
    starts = [e.step for e in seen if e.HasField("session_log")]
    assert set(starts) == {0, 2, 3}
    scalars = [(v.tag, e.step) for e in seen for v in e.summary.value]
    assert scalars.count(("reward/mean", 2)) == 2 and ("eval/held-out", 0) in scalars
    assert ("reward/mean", 3) not in scalars


ROW = {"reward/mean": 0.5, "policy/kl": 0.001, "policy/entropy": 1.25, "length/mean": 12.0}


def test_progress_prints_one_line_an_update_where_there_is_no_terminal(monkeypatch):
    clock = iter([100.0, 102.0, 104.0])
    monkeypatch.setattr(metrics.time, "monotonic", lambda: next(clock))
    out = io.StringIO()
    with metrics.Progress(30, Console(file=out)) as progress:
        for i in range(3):
            progress.update(i, ROW | {"tokens/per_second": 1234.5})
    first, _, third = out.getvalue().splitlines()
    assert first.endswith("left –")  # nothing known yet: the first update compiles
    assert third.endswith("left 0:54")  # 27 to go, 2 s each
    for part in (
        "update  3/30",
        "reward 0.500",
        "KL 0.0010",
        "entropy 1.25",
        "length 12.0",
        "1,234",
    ):
        assert part in third
    assert "\x1b" not in out.getvalue()


def test_progress_redraws_one_line_in_a_terminal():
    """In a real pseudo-terminal, since rich decides by what it is attached to."""
    code = f"""
from jaxrl.training import metrics
with metrics.Progress(3) as progress:
    for i in range(3): progress.update(i, {ROW!r})
"""
    master, slave = pty.openpty()
    env = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    child = subprocess.Popen([sys.executable, "-c", code], stdout=slave, stderr=slave, env=env)
    os.close(slave)
    seen = b""
    while chunk := _read(master):
        seen += chunk
    assert child.wait(60) == 0
    text = seen.decode()
    assert "\x1b[" in text and "update 3/3" in text and "left 0:00" in text and "━" in text


def _read(master):
    try:
        return os.read(master, 4096)
    except OSError:  # what Linux says when the other end has closed
        return b""


def test_config_prints_as_a_tree_that_is_plain_in_a_pipe():
    config = ml_collections.ConfigDict({"model": {"size": "135m", "stop": ["\n"]}, "seed": 0})
    plain, colour = io.StringIO(), io.StringIO()
    metrics.print_config(config, Console(file=plain, width=20))
    metrics.print_config(config.to_dict(), Console(file=colour, force_terminal=True))
    assert plain.getvalue() == 'model:\n    size: "135m"\n    stop: ["\\n"]\nseed: 0\n'
    assert "\x1b[" in colour.getvalue()


def test_every_documented_name_has_a_unit_and_a_meaning():
    for name, (unit, meaning) in metrics.SCHEMA.items():
        assert unit and len(meaning) > 5, name
