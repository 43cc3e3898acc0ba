"""Checkpoints: bit-equal, on any mesh, sound or passed over; and the signals that ask for one."""

import os
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxrl.parallel import mesh as meshes
from jaxrl.training import checkpoint, optimizer
from jaxrl.training.checkpoint import Checkpointer, SaveFailed, Stopped, WrongModel
from jaxrl.training.optimizer import OptimizerConfig

TX = optimizer.build(OptimizerConfig(lr=0.1))
HOST = {"data": {"next_index": 3}, "seed": 7, "model": {"V": 16}}


def make_state(step=1, seed=0):
    """A TrainState with f32 and bf16 parameters, and random values in every leaf."""
    shape = jax.ShapeDtypeStruct
    layers = {"q": shape((2, 8, 4), jnp.float32), "up": shape((2, 64, 32), jnp.bfloat16)}
    params = {"embed": shape((64, 128), jnp.float32), "layers": layers}
    rng = np.random.default_rng(seed)
    fill = lambda x: jnp.asarray(rng.normal(scale=9, size=x.shape).astype(x.dtype))
    state = jax.tree.map(fill, jax.eval_shape(lambda p: optimizer.init_state(TX, p), params))
    return state.replace(step=jnp.asarray(np.int32(step)))


def abstract(tree, mesh=None):
    """The abstract tree, its last axis split over every device of the mesh."""

    def one(x):
        if mesh is None:
            return jax.ShapeDtypeStruct(x.shape, x.dtype)
        last = x.ndim and x.shape[-1] % mesh.size == 0
        split = PartitionSpec(*[None] * (x.ndim - 1), mesh.axis_names) if last else PartitionSpec()
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, split))

    return jax.tree.map(one, tree)


def assert_bit_equal(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert x.dtype == y.dtype
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run with the steps 1 and 2 saved; tests that harm it take a copy."""
    run = tmp_path_factory.mktemp("run")
    with Checkpointer(run) as keeper:
        keeper.save(make_state(1, seed=1), HOST | {"at": 1})
        keeper.save(make_state(2, seed=2), HOST | {"at": 2})
    return run


@pytest.fixture
def run(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "run")


def array_file(run, step):
    """The file that holds the parameters' values."""
    return max((run / "checkpoints" / str(step) / "params" / "d").iterdir(), key=os.path.getsize)


def test_everything_returns_bit_for_bit(run):
    want = make_state(2, seed=2)
    with Checkpointer(run) as keeper:
        assert keeper.latest() == 2
        state, host = keeper.restore(abstract(want))
    assert_bit_equal(state, want)
    assert host == HOST | {"at": 2}


def test_one_device_to_eight_and_back(tmp_path):
    """The mesh of the restore is the abstract state's, whatever mesh the save had."""
    mesh, want = meshes.make(data=2, fsdp=2, tensor=2), make_state()
    with Checkpointer(tmp_path / "one") as keeper:
        keeper.save(want, {})
        wide, _ = keeper.restore(abstract(want, mesh))
    assert len(wide.params["embed"].sharding.device_set) == 8
    assert wide.params["embed"].addressable_shards[0].data.shape == (64, 16)
    assert_bit_equal(wide, want)
    with Checkpointer(tmp_path / "eight") as keeper:
        keeper.save(wide, {})
        narrow, _ = keeper.restore(abstract(want))
    assert len(narrow.params["embed"].sharding.device_set) == 1
    assert_bit_equal(narrow, want)


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [truncate, flip_a_bit, os.remove])
def test_a_broken_newest_checkpoint_is_passed_over_with_a_warning(run, harm):
    """Orbax reads a flipped bit without complaint: only the checksums see it."""
    harm(array_file(run, 2))
    want = make_state(1, seed=1)
    with Checkpointer(run) as keeper:
        with pytest.warns(UserWarning, match="checkpoint 2 of .* is broken"):
            state, host = keeper.restore(abstract(want))
        assert_bit_equal(state, want)
        assert host["at"] == 1
        assert (keeper.latest(), keeper.broken) == (1, [2])
        keeper.save(make_state(2, seed=3), HOST)  # the step of the broken one is free again
        again, _ = keeper.restore(abstract(want))
    assert_bit_equal(again, make_state(2, seed=3))
    with Checkpointer(run) as keeper:  # the copy set aside is no step
        assert keeper.latest() == 2


def test_a_broken_host_file_is_passed_over(run):
    truncate(run / "checkpoints" / "2" / "host" / "metadata")
    with pytest.warns(UserWarning, match="checkpoint 2"):
        assert checkpoint.load_host(run)["at"] == 1


def test_when_all_are_broken_the_run_stops(run):
    """Starting anew in silence would throw the run away."""
    for step in (1, 2):
        truncate(array_file(run, step))
    with Checkpointer(run) as keeper, pytest.warns(UserWarning):
        with pytest.raises(ValueError, match=r"no checkpoint can be read.*delete"):
            keeper.restore(abstract(make_state()))
    assert (run / "checkpoints" / "2").exists()


def test_an_interrupted_save_is_ignored_and_cleared(run, monkeypatch):
    def die(*_, **__):
        raise OSError("disk full")

    with Checkpointer(run) as keeper:
        with monkeypatch.context() as patch:
            patch.setattr(ocp.JsonCheckpointHandler, "async_save", die)
            with pytest.raises(SaveFailed, match=r"3 could.*disk full.*step 2 is sound: make room"):
                keeper.save(make_state(3), HOST)
    left = {path.name for path in (run / "checkpoints").iterdir()}
    assert any(name.startswith("3.") for name in left), left
    with Checkpointer(run) as keeper:
        assert keeper.latest() == 2
        keeper.save(make_state(3, seed=3), HOST)
        state, _ = keeper.restore(abstract(make_state()))
    assert_bit_equal(state, make_state(3, seed=3))
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"2", "3"}


def test_params_alone(run):
    want = make_state(2, seed=2).params
    params, host = checkpoint.load_params(run, abstract(want, meshes.make(data=8)))
    assert_bit_equal(params, want)
    assert host["model"] == {"V": 16}


def test_a_reader_leaves_a_save_under_way_alone(run):
    """Cleaning up on opening would delete the directory a training run is writing."""
    under_way = run / "checkpoints" / "3.orbax-checkpoint-tmp"
    under_way.mkdir()
    checkpoint.load_host(run)
    assert under_way.exists()


@pytest.mark.parametrize(
    "change, words",
    [
        (
            {"embed": jnp.zeros((32, 128))},
            r"embed is float32\[64, 128\], asked for float32\[32, 128\]",
        ),
        ({"head": jnp.zeros((16, 8))}, r"head is none, asked for float32\[16, 8\]"),
        ({"embed": jnp.zeros((64, 128), jnp.bfloat16)}, "asked for bfloat16"),
    ],
)
def test_another_model_is_refused_before_reading(run, change, words):
    """Falling back to an older checkpoint would not help, and would hide the reason."""
    state = make_state()
    other = abstract(state.replace(params=state.params | change))
    with Checkpointer(run) as keeper, pytest.raises(WrongModel, match=words):
        keeper.restore(other)
    with pytest.raises(WrongModel, match=r"checkpoint 2.*use the model"):
        checkpoint.load_params(run, other.params)


def test_a_missing_checkpoint_names_the_directory(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"run_dir=.*nowhere holds no checkpoint"):
        checkpoint.load_host(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    with Checkpointer(tmp_path / "new") as keeper:
        assert keeper.latest() is None
        with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
            keeper.restore(abstract(make_state()))


def test_old_checkpoints_go_and_a_saved_step_is_left_alone(tmp_path):
    with Checkpointer(tmp_path, keep=2, every=2) as keeper:
        assert [step for step in range(7) if keeper.due(step)] == [2, 4, 6]
        for step in (2, 4, 6, 6):
            keeper.save(make_state(step), HOST)
        assert keeper.latest() == 6
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"4", "6"}


def test_host_state_that_is_no_json_fails_before_any_write(tmp_path):
    with Checkpointer(tmp_path) as keeper:
        with pytest.raises(TypeError, match="not JSON serializable"):
            keeper.save(make_state(), {"data": np.zeros(2)})
    assert list((tmp_path / "checkpoints").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_becomes_a_flag_between_updates(number):
    before = signal.getsignal(number)
    done = 0
    with checkpoint.stop_signals() as stop:
        while not stop.asked:
            done += 1
            if done == 3:
                os.kill(os.getpid(), number)
    assert (done, stop.asked) == (3, number.name)
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_ends_at_once():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), checkpoint.stop_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked == "SIGINT"
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_breaks_off_what_may_be_lost_and_nothing_else():
    """Sampling with scorers that hang may last longer than the grace period of a scheduler."""
    with checkpoint.stop_signals() as stop:
        with pytest.raises(Stopped, match="SIGTERM"), stop.at_once():
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("the signal was not heard")
        os.kill(os.getpid(), signal.SIGTERM)  # outside: the save that follows is not broken off
        with pytest.raises(Stopped), stop.at_once():
            pytest.fail("work began after the signal")
