"""A host that dies while two train: the other ends by itself, says so, and the run resumes.

python -m pytest -m faults tests/faults/test_hosts.py
"""

import signal
import time

import pytest
import tiny
import tiny_run

from jaxrl.training.metrics import read_rows

pytestmark = pytest.mark.faults
PATIENCE = 60  # until a silent process counts as dead
SECONDS = 900  # until a process that should have ended counts as hanging


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("compiled")


def newest(workdir):
    """The newest checkpoint that is whole."""
    steps = [int(p.name) for p in (workdir / "checkpoints").glob("*") if p.name.isdigit()]
    return max(steps, default=0)


def until(condition, processes):
    """Waits, as long as the processes live."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        assert [p.poll() for p in processes] == [None, None]
        time.sleep(0.2)


@pytest.mark.parametrize("victim", [1, 0], ids=["a worker", "the coordinator"])
def test_a_host_dies(model, cache, tmp_path, victim):
    workdir = tmp_path / "run"
    flags = f"--patience={PATIENCE}", "--config.steps=100"
    both = tiny_run.start_two(model, workdir, *flags, cache=cache)
    until(lambda: newest(workdir) >= 2, both)
    both[victim].send_signal(signal.SIGKILL)
    codes = tiny_run.wait(both, SECONDS)
    assert codes[victim] == -signal.SIGKILL and codes[1 - victim] not in (0, -signal.SIGKILL)
    said = (tmp_path / f"run.{1 - victim}").read_text()
    assert "the same command" in said and f"--workdir={workdir}" in said
    done = newest(workdir)
    assert 2 <= done < 100
    flags = f"--patience={SECONDS}", f"--config.steps={done + 1}"
    again = tiny_run.wait(tiny_run.start_two(model, workdir, *flags, cache=cache), SECONDS)
    assert again == [0, 0]
    rows, broken = read_rows(workdir / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(done + 1)) and not broken


def test_a_host_that_is_asked_to_stop_stops_all(model, cache, tmp_path):
    """SIGTERM reaches one process alone: both save and end with the status that means try again."""
    workdir = tmp_path / "run"
    flags = f"--patience={SECONDS}", "--config.steps=100", "--config.checkpoint.every=0"
    both = tiny_run.start_two(model, workdir, *flags, cache=cache)
    until(lambda: read_rows(workdir / "metrics.jsonl")[0], both)
    both[1].send_signal(signal.SIGTERM)
    assert tiny_run.wait(both, SECONDS) == [75, 75]
    assert newest(workdir) == len(read_rows(workdir / "metrics.jsonl")[0]) < 100
