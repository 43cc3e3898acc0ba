"""One fault each, done to real runs: what was expected, what was seen, which counter says so."""

import os
import resource
import shutil
import signal
import subprocess
import time

import jax
import numpy as np

from launch.benches import survival_runs as runs
from launch.benches.survival_config import GROUP, UPDATES
from launch.benches.tables import Finding

BROKEN = 4 * GROUP  # rollouts of the tasks 0, 32, 64 and 96, on which scorers break
GRACE = 30  # seconds between SIGTERM and the end


def sigterm(lab, whole):
    """SIGTERM between two updates."""
    run = lab.run("sigterm")
    process = run.start()
    runs.await_(lambda: len(run.rows()) >= 5, process)
    ended, seconds = _terminate(process)
    at = len(run.rows())
    trouble = _unless(ended.code == os.EX_TEMPFAIL, f"exit code {ended.code}")
    trouble += _unless(run.saved()[-1:] == [at], f"checkpoints {run.saved()}, {at} rows")
    trouble += _unless(seconds <= GRACE, f"{seconds:.0f} s")
    trouble += _resumed(run, whole) + _unless(run.total("run/redone") == 0, "updates were lost")
    seen = f"code {ended.code} after {seconds:.1f} s, nothing lost"
    return _finding("SIGTERM", "checkpoint, code 75 in 30 s", seen, run, "run/resumed", 1, trouble)


def sigterm_in_a_hang(lab, whole):
    """SIGTERM while a scorer hangs that has ten minutes to do so, in an update that no save is due
    after."""
    at = 5
    task = min(row["task"] for row in whole.rows("rollouts") if row["step"] == at)
    fault = ("env.params.fault=hang", "env.params.every=128", f"env.params.first={task}")
    run = lab.run("sigterm_hang", *fault, "rollout.seconds=600.0")
    process = run.start()
    runs.await_(lambda: len(run.rows()) >= at, process)
    time.sleep(1)  # past the sampling
    ended, seconds = _terminate(process)
    trouble = _unless(ended.code == os.EX_TEMPFAIL, f"exit code {ended.code}")
    trouble += _unless(seconds <= GRACE, f"{seconds:.0f} s")
    trouble += _unless(run.saved()[-1:] == [at], f"checkpoints {run.saved()}")
    trouble = trouble or _unless(run.host(at) == whole.host(at), "not the state before the hang")
    seen = f"code {ended.code} after {seconds:.1f} s, the update in hand dropped"
    return Finding("SIGTERM while a scorer hangs", "the same", seen, "–", "; ".join(trouble))


def truncated(lab, whole):
    """A killed run's newest checkpoint is cut in half."""
    run = lab.run("truncated")
    process = run.start()
    runs.await_(lambda: len(run.rows()) >= 7, process)
    runs.kill(process)
    newest, before = run.saved()[-1], run.saved()[-2]
    arrays = (run.workdir / "checkpoints" / str(newest) / "params" / "d").iterdir()
    file = max(arrays, key=os.path.getsize)
    os.truncate(file, file.stat().st_size // 2)
    again = run.finish()
    said = f"checkpoint {newest} of" in again.output and f"resuming after {before}" in again.output
    trouble = _unless(said, "it did not say so") + _compared(again, run, whole)
    seen = f"{newest} set aside with a warning, resumed from {before}"
    expected = "the one before is taken"
    return _finding(
        "newest checkpoint truncated", expected, seen, run, "run/broken_checkpoints", 1, trouble
    )


def full_disk(lab, whole):
    """A small disk is filled up in the middle of a run; without root, a limit on files' size."""
    where = lab.folder / "small_disk"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(where)]
    if subprocess.run(mount, capture_output=True).returncode:
        return _out_of_room(lab.run("full", where=where), whole, _limit, "by a limit")
    try:
        return _out_of_room(lab.run("full", where=where), whole, _fill, "a tmpfs of 8 MB")
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


def _out_of_room(run, whole, fill, how):
    process = run.start()
    runs.await_(lambda: len(run.rows()) >= 5, process)
    room = fill(run, process)
    ended = runs.ended(process)
    said = [line for line in ended.output.splitlines() if line.startswith("launch.train:")]
    trouble = _unless(ended.code == os.EX_IOERR, f"exit code {ended.code}")
    trouble += _unless(len(said) == 1 and "make room" in said[0], f"said {said}")
    trouble += _unless("Traceback" not in ended.output, "a traceback")
    kept = [step for step in run.saved() if run.host(step) == whole.host(step)]
    trouble += _unless(len(kept) >= 2 and kept == run.saved(), f"checkpoints {run.saved()}, {kept}")
    room.unlink(missing_ok=True)
    trouble += _resumed(run, whole)
    seen = f"code {ended.code}, one line, checkpoints {kept} sound ({how})"
    return _finding("full disk", "code 74, nothing harmed", seen, run, "run/resumed", 1, trouble)


def _fill(run, _):
    """Takes every byte of the disk; the file that holds them."""
    ballast = run.workdir.parent / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue
    return ballast


def _limit(run, process):
    """No file of the process may grow beyond 4 KB; the resumed process has no such limit."""
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    return run.workdir / "ballast"


def scorer(fault, reason):
    """A check of a scorer that breaks on 4 of 128 tasks."""

    def check(lab, whole):
        run = lab.run(f"scorer_{fault}", f"env.params.fault={fault}", "rollout.seconds=2.0")
        ended = run.finish()
        trouble = _unless(ended.code == 0, f"exit code {ended.code}: {ended.output[-500:]}")
        if reason is None:
            return _silent(fault, run, whole, trouble or runs.differences(run, whole))
        trouble += _unless(len(run.rows()) == UPDATES, f"{len(run.rows())} updates")
        trouble += _unless(run.total("reward/unscorable") == BROKEN, "others were lost too")
        trouble += _unless(run.processes() == 0, "a process outlived the run")
        seen = f"{len(run.rows())} updates, {int(run.total('reward/unscorable'))} rollouts left out"
        expected = f"{UPDATES} updates, {BROKEN} rollouts left out"
        name = f"scorer: {fault}"
        return _finding(name, expected, seen, run, f"scorer/{reason}", BROKEN, trouble)

    return check


def _silent(fault, run, whole, trouble):
    expected = "nothing is lost"
    seen = "bit-equal to a run without it" if not trouble else "another run"
    return _finding(
        f"scorer: {fault} (100 MB)", expected, seen, run, "reward/unscorable", 0, trouble
    )


def gradient(lab, whole):
    """A reward whose square no float32 holds, and advantages that are the rewards: the gradient of
    that update is not finite."""
    at = 7
    task = min(row["task"] for row in whole.rows("rollouts") if row["step"] == at)
    fault = ("env.params.fault=huge", "env.params.every=128", f"env.params.first={task}")
    run = lab.run("gradient", *fault, *RAW_REWARDS, *KEEP_ALL)
    ended = run.finish()
    trouble = _unless(ended.code == 0, f"exit code {ended.code}: {ended.output[-500:]}")
    sums = [run.host(step)["checksums"] for step in run.saved()]
    params = [{k: v for k, v in one.items() if k.startswith("params")} for one in sums]
    still = [i + 1 for i in range(len(params) - 1) if params[i] == params[i + 1]]
    trouble += _unless(still == [at], f"parameters stood still in updates {still}")
    finite = all(np.isfinite(x).all() for x in jax.tree.leaves(run.params()))
    trouble += _unless(finite, "parameters are not finite")
    seen = f"update {', '.join(map(str, still))} of {UPDATES} left out"
    expected = f"update {at} left out, alone"
    return _finding("gradient not finite", expected, seen, run, "optim/skipped", 1, trouble)


RAW_REWARDS = ("advantage.name=levels", "advantage.mean_level=none", "advantage.std_level=none")
KEEP_ALL = ("checkpoint.every=1", "checkpoint.keep=100")
MESHES = {"8": "mesh.data=8", "2×2×2": "mesh.data=2 mesh.fsdp=2 mesh.tensor=2"}


def other_mesh(lab, whole):
    """A run of one device goes on upon eight, for one more update."""
    shorter = lab.run("mesh", f"steps={UPDATES - 1}")
    trouble = _unless(shorter.finish().code == 0, "the run of one device failed")
    worst, want = 0.0, whole.params()
    for name, mesh in MESHES.items():
        run = lab.run(f"mesh_{name}", *mesh.split(), devices=8)
        shutil.copytree(shorter.workdir, run.workdir)
        ended = run.finish()
        trouble += _unless(ended.code == 0, f"{name}: {ended.output[-500:]}")
        worst = max([worst, *jax.tree.leaves(jax.tree.map(_apart, run.params(), want))])
    trouble += _unless(worst <= 1e-5, "more than 1e-5")
    seen = f"within {worst:.0e} on {' and '.join(MESHES)}"
    expected = "next update within 1e-5"
    return _finding("resume on other meshes", expected, seen, run, "run/resumed", 1, trouble)


def _apart(x, y):
    return float(np.abs(x - y).max() / np.abs(y).max())


FAULTS = {
    "sigterm": sigterm,
    "sigterm_in_a_hang": sigterm_in_a_hang,
    "truncated": truncated,
    "full_disk": full_disk,
    "raise": scorer("raise", "error"),
    "hang": scorer("hang", "timeout"),
    "exit": scorer("exit", "crash"),
    "segfault": scorer("segfault", "crash"),
    "nan": scorer("nan", "not_a_number"),
    "inf": scorer("inf", "not_a_number"),
    "text": scorer("text", "not_a_number"),
    "flood": scorer("flood", None),
    "gradient": gradient,
    "other_mesh": other_mesh,
}


def _terminate(process):
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    return runs.ended(process), time.monotonic() - began


def _resumed(run, whole):
    return _compared(run.finish(), run, whole)


def _compared(ended, run, whole):
    if ended.code:
        return [f"the resumed run ended with {ended.code}: {ended.output[-500:]}"]
    return runs.differences(run, whole)


def _unless(holds, trouble):
    return [] if holds else [trouble]


def _finding(case, expected, seen, run, counter, count, trouble):
    counted = run.total(counter)
    trouble = trouble + _unless(counted == count, f"{counter} is {counted}, not {count}")
    return Finding(case, expected, seen, f"{counter} {counted:.0f}", "; ".join(trouble))
