"""kill -9 at random moments of a run: the moments, and what a killed and resumed run came to."""

import dataclasses
import random
import time

from launch.benches import survival_runs as runs
from launch.benches.survival_config import UPDATES

SHARES = {"start": 3, "update": 9, "save": 8}  # of 20 kills


@dataclasses.dataclass(frozen=True)
class Moment:
    """When to kill: `delay` of the way through the start, an update, or the writing of a save."""

    kind: str  # a key of SHARES
    update: int  # updates recorded by then; of a save: updates that it holds
    delay: float  # in [0, 1)


@dataclasses.dataclass(frozen=True)
class Pace:
    """Seconds that the parts of an uninterrupted run took."""

    start: float
    update: float
    save: float


@dataclasses.dataclass(frozen=True)
class Killed:
    """What one kill found and came to."""

    moment: Moment
    found: str  # what lay on the disk at that moment
    torn: bool  # a checkpoint was half written
    redone: float
    trouble: tuple[str, ...]  # () = the resumed run equals the uninterrupted one


def moments(count, seed=0):
    """`count` seeded moments over the whole run, by the shares above."""
    rng = random.Random(seed)
    kinds = [kind for kind, share in SHARES.items() for _ in range(share)]
    order = [kinds[(7 * i) % len(kinds)] for i in range(count)]  # a few are of all kinds
    return [_moment(kind, rng) for kind in order]


def _moment(kind, rng):
    saves = range(2, UPDATES - 1, 2)  # the last is left out: its run could be over before the kill
    update = {"start": 0, "update": rng.randrange(1, UPDATES - 1), "save": rng.choice(saves)}
    return Moment(kind, update[kind], rng.random())


def pace(run, started):
    """The Pace of a finished run; started: seconds from its start to its first record."""
    middle = lambda values: sorted(values)[len(values) // 2]
    rows = run.rows()[2:]
    saves = [row["time/checkpoint"] for row in rows if "time/checkpoint" in row]
    whole = [row["time/total"] - row.get("time/checkpoint", 0) for row in rows]
    return Pace(started, middle(whole), middle(saves))


def kill_and_resume(run, moment, pace, whole):
    """Starts a run, kills it at the moment, resumes it, and compares it with the whole one."""
    process = run.start()
    in_time = runs.await_(lambda: _has_come(run, moment), process)
    _linger(run, moment, moment.delay * vars(pace)[moment.kind])
    in_time = in_time and process.poll() is None
    runs.kill(process)
    torn = run.saving()
    found = f"{len(run.rows())} rows, checkpoints {run.saved()}" + ", one half written" * torn
    orphans = _alive_after(run, 10)
    done = run.finish()
    trouble = [] if in_time else ["the run was over before the kill"]
    trouble += [f"{orphans} processes outlived it"] if orphans else []
    if done.code:
        trouble.append(f"the resumed run ended with {done.code}: {done.output[-2000:]}")
    else:
        trouble += runs.differences(run, whole)
    return Killed(moment, found, torn, run.total("run/redone"), tuple(trouble))


def _has_come(run, moment):
    if moment.kind == "start":
        return True
    if moment.kind == "update":
        return len(run.rows()) >= moment.update
    under_way = run.saving() and len(run.rows()) >= moment.update
    return under_way or moment.update in run.saved()


def _linger(run, moment, seconds):
    """Waits, but not beyond the next record: a machine's speed may have changed since the pace."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and len(run.rows()) <= moment.update:
        time.sleep(0.002)


def _alive_after(run, seconds):
    """Processes of a killed run that have not ended by then; workers notice within a moment."""
    deadline = time.monotonic() + seconds
    while (alive := run.processes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return alive
