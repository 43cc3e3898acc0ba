"""Several processes: what each one holds, what crosses, and that two train as one does."""

import dataclasses
import functools
import shutil

import jax
import numpy as np
import pytest
import tiny
import tiny_run
from jax.sharding import NamedSharding, PartitionSpec

from jaxrl.parallel import hosts, mesh
from jaxrl.recipes import rl
from jaxrl.training import checkpoint
from jaxrl.training.metrics import read_rows

SECONDS = 900  # until a run of seconds counts as hanging
CLOCK = ("time/", "tokens/per_second", "compile/count", "run/")


@dataclasses.dataclass(frozen=True)
class Device:
    """As much of a device as a Share asks for."""

    id: int
    process_index: int


@dataclasses.dataclass(frozen=True)
class Split:
    """A sharding of rows over devices; places: (process, part of the rows) of each device."""

    places: tuple

    def devices_indices_map(self, shape):
        size = shape[0] // len({part for _, part in self.places})
        span = lambda part: (slice(part * size, (part + 1) * size),)
        return {Device(i, p): span(part) for i, (p, part) in enumerate(self.places)}


def test_a_process_holds_the_rows_of_its_devices():
    """The devices of a process need not be neighbours in the mesh."""
    share = hosts.share(Split(((0, 0), (1, 1), (0, 2), (1, 3))), 8)
    assert share.held.tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]
    assert share.mine.tolist() == [0, 1, 4, 5] and share.copies == 1


def test_processes_may_hold_the_same_rows():
    """A tensor axis over two processes: both sample the same prompts."""
    share = hosts.share(Split(((0, 0), (1, 0), (2, 1), (3, 1))), 4)
    assert share.held.tolist() == [[0, 1], [0, 1], [2, 3], [2, 3]] and share.copies == 2


def test_a_mesh_that_gives_one_process_more_is_refused():
    with pytest.raises(ValueError, match=r"\[4, 2\] of 6 rows.*mesh.data"):
        hosts.share(Split(((0, 0), (0, 1), (1, 2))), 6)


def test_samples_and_rounds_are_numbered_as_in_one_process():
    """Two rounds of four prompts, two samples each: a round is complete before the next begins."""
    share = hosts.times(hosts.Share(np.array([[0, 2], [1, 3]]), 4), 2, 2)
    assert share.total == 16
    assert share.held.tolist() == [[0, 1, 4, 5, 8, 9, 12, 13], [2, 3, 6, 7, 10, 11, 14, 15]]


def test_rows_come_back_in_order_and_of_copies_the_first():
    parts = np.array([[10.0, 12.0], [11.0, 13.0], [-1.0, -1.0]])
    share = hosts.Share(np.array([[0, 2], [1, 3], [0, 2]]), 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hosts, "gathered", lambda x: parts)
        assert hosts.everyone(parts[0], share).tolist() == [10, 11, 12, 13]


def test_what_is_spread_is_what_is_owned():
    x = np.arange(48).reshape(2, 8, 3)
    places = NamedSharding(mesh.make(data=-1, fsdp=2), PartitionSpec(None, ("data", "fsdp")))
    placed = hosts.spread(x, places)
    assert placed.addressable_shards[0].data.shape == (2, 1, 3)
    np.testing.assert_array_equal(hosts.own(placed, axis=1), x)


@pytest.mark.parametrize(
    "given",
    [("host:1", 2, -1), ("", 2, 0), ("host:1", 2, 2), ("host:1", 0, 0)],
)
def test_a_half_told_start_is_refused(given):
    with pytest.raises(ValueError, match=r"--coordinator=.*give all three"):
        hosts.start(*given)


def test_a_patience_of_nothing_is_refused():
    with pytest.raises(ValueError, match="--patience=0"):
        hosts.start("host:1", 2, 0, patience=0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def alone(model, tmp_path_factory):
    """run(workdir): the run of tiny_run in this process, on one device."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "make", functools.partial(mesh.make, devices=jax.devices()[:1]))
        yield lambda workdir: rl.run(tiny_run.get_config(str(model)), workdir)


@pytest.fixture(scope="module")
def one(alone, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "one"
    alone(workdir)
    return workdir


@pytest.fixture(scope="module")
def two(model, tmp_path_factory):
    """The same by two processes."""
    folder = tmp_path_factory.mktemp("runs")
    flags = {"cache": folder / "compiled"}
    codes = tiny_run.wait(tiny_run.start_two(model, folder / "two", **flags), SECONDS)
    assert codes == [0, 0], (folder / "two.1").read_text()[-2000:]
    return folder / "two"


def params(workdir):
    return jax.device_get(checkpoint.load_params(workdir, jax.eval_shape(tiny.params))[0])


def assert_same(got, want):
    """Parameters to 1e-5 of each array's largest value; all that was written, to rounding."""
    tiny.assert_close(params(got), params(want), 1e-5)
    for name in ("metrics", "rollouts", "eval"):
        (mine, broken), (theirs, _) = (read_rows(w / f"{name}.jsonl") for w in (got, want))
        assert not broken and len(mine) == len(theirs) > 0
        for x, y in zip(mine, theirs, strict=True):
            x, y = ({k: v for k, v in row.items() if not k.startswith(CLOCK)} for row in (x, y))
            assert x.keys() == y.keys()
            for key in x:
                assert near(x[key], y[key]), (name, key, x[key], y[key])


def near(x, y):
    """Equal, or numbers that differ by rounding alone."""
    if isinstance(x, dict):
        return x.keys() == y.keys() and all(near(x[k], y[k]) for k in x)
    if isinstance(x, list):
        return len(x) == len(y) and all(map(near, x, y))
    return x == y or (isinstance(x, float) and abs(x - y) <= 1e-5 * max(1, abs(y)))


@pytest.mark.slow
def test_two_processes_train_as_one_does(one, two):
    """Same tasks, samples, advantages, updates; only the first process writes and speaks."""
    assert_same(two, one)
    (first, second) = ((two.parent / f"two.{i}").read_text() for i in range(2))
    assert "update 2/2" in first and "held-out accuracy" in first
    assert "update" not in second and "report" not in second
    assert all(row["groups/zero_std"] > 0 for row in read_rows(one / "metrics.jsonl")[0])


@pytest.mark.slow
def test_one_process_goes_on_where_two_were(one, two, alone, tmp_path):
    run = shutil.copytree(two, tmp_path / "run")
    shutil.rmtree(run / "checkpoints" / "2")
    alone(run)
    assert_same(run, one)
