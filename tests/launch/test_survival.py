"""The survival bench's own eyes: moments of every kind, and a comparison that sees differences."""

import json

import numpy as np
import pytest

from launch.benches import survival, survival_faults, survival_kills, tables
from launch.benches import survival_runs as runs
from launch.benches.survival_config import GROUP, PROMPTS, UPDATES
from launch.benches.survival_kills import Killed, Moment


def test_twenty_moments_are_of_all_kinds_and_the_same_each_time():
    found = survival_kills.moments(20)
    kinds = [m.kind for m in found]
    assert {k: kinds.count(k) for k in kinds} == survival_kills.SHARES
    assert {m.kind for m in survival_kills.moments(4)} == set(survival_kills.SHARES)
    assert found == survival_kills.moments(20) and len(set(found)) == 20
    assert all(0 <= m.update < UPDATES for m in found)


def write(folder, *, params=0.0, skip=(), task=None):
    """The records of a finished run, as far as they are compared, with one thing changed."""
    folder.mkdir()
    steps = [i for i in range(UPDATES) if i not in skip]
    tasks = [i for i in range(UPDATES * PROMPTS) for _ in range(GROUP)]
    tasks[0] = tasks[0] if task is None else task
    records = {
        "metrics": [{"step": i, "reward/mean": i / 7, "time/total": params} for i in steps],
        "rollouts": [{"step": n // (PROMPTS * GROUP), "task": t} for n, t in enumerate(tasks)],
        "eval": [],
    }
    for name, rows in records.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.parametrize(
    "changes, words",
    [
        ({}, []),
        ({"params": 1e-30}, ["parameters"]),
        ({"skip": [3]}, ["metrics.jsonl", "updates"]),
        ({"task": 1}, ["rollouts.jsonl", "consumed"]),
    ],
)
def test_differences_are_seen(tmp_path, monkeypatch, changes, words):
    """A comparison that finds nothing anywhere would pass every bench."""
    value = {tmp_path / "got": changes.get("params", 0.0), tmp_path / "whole": 0.0}
    monkeypatch.setattr(runs.Run, "params", lambda run: {"w": np.array(value[run.workdir])})
    monkeypatch.setattr(runs.Run, "host", lambda run, step: {})
    got, whole = (
        runs.Run(write(tmp_path / name, **how), (), {})
        for name, how in (("got", changes), ("whole", {}))
    )
    found = runs.differences(got, whole)
    assert len(found) == len(words)
    assert all(word in line for word, line in zip(words, found, strict=True))


def test_one_bad_kill_is_a_surprise():
    moment = Moment("save", 4, 0.5)
    good = Killed(moment, "4 rows", True, 1.0, ())
    bad = Killed(moment, "4 rows", False, 0.0, ("parameters differ",))
    assert survival.summary([good, good]).surprise == ""
    found = survival.summary([good, bad])
    assert "1/2 bit-equal" in found.seen and "parameters differ" in found.surprise


def test_the_bench_shows_every_fault_and_all_kills(tmp_path, monkeypatch, capsys):
    """With faults and kills that start no process: what is left is the bench's own work."""
    told = lambda name: lambda lab, whole: tables.Finding(name, "calm", "calm", "run/resumed 1", "")
    faults = {name: told(name) for name in survival_faults.FAULTS}
    monkeypatch.setattr(survival_faults, "FAULTS", faults)
    monkeypatch.setattr(survival, "uninterrupted", lambda lab: (None, None))
    killed = lambda run, moment, pace, whole: Killed(moment, "", True, 2.0, ())
    monkeypatch.setattr(survival_kills, "kill_and_resume", killed)
    rows = tables.announced(survival.run(None))
    tables.show("survival", rows)
    tables.write_json(rows, tmp_path / "rows.json")
    assert [row["case"] for row in json.loads((tmp_path / "rows.json").read_text())] == [
        *faults,
        "kill -9, resume",
    ]
    shown = capsys.readouterr().out
    assert "20/20 bit-equal" in shown and "run/redone 40" in shown and "SURPRISE" not in shown
