"""A scorer may hang, die, or return junk: the others' rewards stay right and in order."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from bad_env import BadEnv

from jaxrl.envs.base import Failure, Step
from jaxrl.rollouts.workers import EnvPool

SECONDS = 1.0


@pytest.fixture(scope="module")
def pool():
    with EnvPool("bad_env:BadEnv", {}, workers=2, seconds=SECONDS, memory_mb=512) as pool:
        pool.step([0, 1], ["warm", "warm"])
        yield pool


def summary(results):
    return [r.reason if isinstance(r, Failure) else r.reward for r in results]


def test_good_steps_keep_their_order(pool):
    states = list(range(50))
    results = pool.step(states, ["fine"] * 50)
    assert summary(results) == [float(s) for s in states]
    assert results[7] == Step(7, (), 7.0, True, {})


def test_every_misdeed_is_one_failure_and_no_more(pool):
    expected = {
        "hang": "timeout",
        "die": "crash",
        "hog": "crash",
        "exit": "error",
        "raise": "error",
        "not a step": "error",
        "unsendable": "error",
        "nan": "not_a_number",
        "inf": "not_a_number",
        "huge": "not_a_number",
        "text": "not_a_number",
        "none": "not_a_number",
        "array": "not_a_number",
        "numpy": 0.5,
        "true": 1.0,
    }
    actions = [a for bad in expected for a in (bad, "fine")]
    wanted = [w for outcome in expected.values() for w in (outcome, 3.0)]
    results = pool.step([3] * len(actions), actions)
    assert summary(results) == wanted
    said = {a: r.detail for a, r in zip(actions, results, strict=True) if isinstance(r, Failure)}
    assert said["raise"] == "RuntimeError: a scorer's bug"
    assert said["die"] == "exit code 3" and said["hog"] == "out of memory"
    assert said["hang"] == f"no result after {SECONDS} s" and said["nan"] == "reward nan"


def test_a_loop_inside_the_regex_engine_is_stopped(pool):
    """Python cannot interrupt it: a signal handler or a thread's timeout would wait for ever."""
    began = time.monotonic()
    assert summary(pool.step([1, 2], ["spin", "fine"])) == ["timeout", 2.0]
    assert time.monotonic() - began < SECONDS + 3


def test_what_a_scorer_started_dies_with_it(pool):
    assert summary(pool.step([1], ["orphan"])) == ["timeout"]
    deadline = time.monotonic() + 10  # a kill takes its moment
    while (running := "sleep\x00987" in "".join(_command_lines())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running


def test_a_worker_that_died_idle_costs_nothing(pool):
    pool.step([1], ["late death"])
    time.sleep(0.4)
    assert summary(pool.step([1, 2, 3], ["fine"] * 3)) == [1.0, 2.0, 3.0]


def test_printing_scorers_are_silent(pool, capfd):
    assert summary(pool.step([1, 2], ["print", "print"])) == [1.0, 2.0]
    assert "flood" not in "".join(capfd.readouterr())


def test_workers_never_import_jax(pool):
    """JAX in a worker costs seconds, 200 MB, and on a TPU host the device itself."""
    assert "jax" in sys.modules
    assert summary(pool.step([1, 2], ["modules", "modules"])) == [0.0, 0.0]


def test_lists_of_different_length_are_refused(pool):
    with pytest.raises(ValueError, match=r"shorter|longer"):
        pool.step([1, 2], ["fine"])


def test_close_ends_workers_even_in_the_middle_of_a_call():
    pool = EnvPool("bad_env:BadEnv", {}, workers=1, seconds=100)
    pids = [w.process.pid for w in pool._workers]
    caught = []
    thread = threading.Thread(target=lambda: caught.append(_outcome(pool)))
    thread.start()
    time.sleep(0.3)
    pool.close()
    thread.join(10)
    assert not thread.is_alive() and isinstance(caught[0], Exception)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
    pool.close()


def test_workers_end_when_the_parent_is_killed():
    script = (
        "import sys; sys.path[:0] = ['tests/rollouts', '.']\n"
        "from jaxrl.rollouts.workers import EnvPool\n"
        "pool = EnvPool('bad_env:BadEnv', {}, workers=1, seconds=300)\n"
        "pool.step([1], ['fine'])\n"
        "print(pool._workers[0].process.pid, flush=True)\n"
        "pool.step([1], ['hang'])\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    time.sleep(0.2)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 10
    while _alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(worker)


def test_bad_settings_are_refused_before_any_process_starts():
    with pytest.raises(ValueError, match="seconds = 0"):
        EnvPool("bad_env:BadEnv", {}, seconds=0)
    with pytest.raises(KeyError, match=r"marked.*did you mean 'marker'"):
        EnvPool("bad_env:BadEnv", {"marked": ""})
    assert BadEnv().marker == ""


def _outcome(pool):
    try:
        return pool.step([1], ["hang"])
    except BaseException as e:
        return e


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _command_lines():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline") as f:
                yield f.read()
        except OSError:
            continue
