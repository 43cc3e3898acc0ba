"""Checkpoints of all that a run needs to go on, and the signals that ask for one.

`run_dir/checkpoints/STEP/` holds two Orbax trees, `params` and `rest` (optimizer, counters), and
`host` (JSON: data iterator, counters, model, a checksum of every array). A directory appears under
its final name only when complete. Arrays are stored uncompressed: zstd took a tenth off the size of
float weights, but half as long again and a second copy on the host.
"""

import contextlib
import dataclasses
import functools
import json
import signal
import warnings

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath


class WrongModel(ValueError):
    """The checkpoint is readable, but its arrays are not those that were asked for."""


class SaveFailed(OSError):
    """A checkpoint could not be written; those before it are as they were."""


class Checkpointer:
    """Saves a run's state and finds it again; closing it waits for a save that is under way.

    `broken`: steps of checkpoints that could not be read when the state was restored.
    """

    def __init__(self, run_dir, *, keep=2, every=0):
        """Keeps the newest `keep` checkpoints. `every`: updates between saves, 0 = on demand."""
        if keep < 1 or every < 0:
            fix = "give keep of at least 1 and every of at least 0"
            raise ValueError(f"checkpoint.keep={keep}, checkpoint.every={every}: {fix}")
        self._every = every
        self._run_dir = run_dir
        self.broken = []
        self._manager = _manager(run_dir, keep=keep)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def due(self, step):
        """True when the state after `step` updates should be saved."""
        return self._every > 0 and step > 0 and step % self._every == 0

    def latest(self):
        """The step of the newest checkpoint, None without one."""
        return self._manager.latest_step()

    def save(self, state, host):
        """Saves a TrainState and a JSON-serialisable dict; a step already saved is left alone.

        Off the CPU the arrays are written in the background, after their copy to the host.
        """
        step = int(state.step)
        if step == self.latest():
            return
        params, rest = _parts(state)
        sums = checksums({"params": params, "rest": rest})
        text = json.loads(json.dumps({"host": host, "checksums": sums}))  # fails before any write
        args = {"params": ocp.args.PyTreeSave(params), "rest": ocp.args.PyTreeSave(rest)}
        args = ocp.args.Composite(host=ocp.args.JsonSave(text), **args)
        with self._explained(step):
            self._manager.save(step, args=args, force=True)

    def restore(self, abstract_state):
        """The newest sound checkpoint as (TrainState, host), laid out as abstract_state says.

        A broken one is passed over with a warning and renamed, so that its step can be saved anew.
        """
        params, rest = _parts(abstract_state)
        parts = {"params": params, "rest": rest}
        trees, host, self.broken = _read_newest(self._manager, self._run_dir, parts)
        self._set_aside(self.broken)
        return _whole(trees["params"], trees["rest"], abstract_state), host

    def close(self):
        """Waits for the save under way and releases the directory."""
        with self._explained("under way"):
            self._manager.close()

    @contextlib.contextmanager
    def _explained(self, step):
        """A full disk reaches us as one of many kinds of exception, some without the word."""
        try:
            yield
        except Exception as error:
            before = self._manager.latest_step()
            kept = (
                "no checkpoint exists" if before is None else f"the one of step {before} is sound"
            )
            fix = "make room or mend the disk, then run the same command again"
            what = f"checkpoint {step} could not be written ({_short(error)}), {kept}"
            raise SaveFailed(f"run_dir={self._run_dir}: {what}: {fix}") from error

    def _set_aside(self, steps):
        for step in steps:
            if jax.process_index() == 0:
                path = self._manager.directory / str(step)
                path.rename(self._manager.directory / f"{step}.broken")
        if steps:
            self._manager.reload()


def load_params(run_dir, abstract_params):
    """The parameters of the newest sound checkpoint, and its host dict; writes nothing."""
    with contextlib.closing(_manager(run_dir)) as manager:
        trees, host, _ = _read_newest(manager, run_dir, {"params": abstract_params})
    return trees["params"], host


def load_host(run_dir):
    """The host dict of the newest checkpoint whose own is readable; reads no array."""
    with contextlib.closing(_manager(run_dir)) as manager:
        return _read_newest(manager, run_dir, {})[1]


class Stopped(KeyboardInterrupt):
    """A signal broke off what a run may lose: see `Stop.at_once`."""


@dataclasses.dataclass
class Stop:
    """`asked`: name of the signal that asked the run to stop, None while none did."""

    asked: str | None = None
    breaks: bool = False

    @contextlib.contextmanager
    def at_once(self):
        """Inside it a signal raises Stopped, now and not at the end of the update: for work that
        may take minutes (sampling, scorers that hang) and that a resumed run does again. Several
        processes must leave the loop in the same place: they go on to the end of the update.
        """
        alone = jax.process_count() == 1
        if alone and self.asked:
            raise Stopped(self.asked)
        self.breaks = alone
        try:
            yield
        finally:
            self.breaks = False


@contextlib.contextmanager
def stop_signals():
    """Turns SIGTERM and SIGINT into the flag of a `Stop`, to be read between updates.

    A SIGINT after that raises KeyboardInterrupt: an impatient second Ctrl-C ends the run at once.
    """
    stop = Stop()

    def handle(number, _frame):
        if stop.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.asked = stop.asked or signal.Signals(number).name
        if stop.breaks:
            stop.breaks = False  # what ends the run must not be broken off in its turn
            raise Stopped(stop.asked)

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: set outside Python


def checksums(tree):
    """{path: sum of the leaf's bits as unsigned words, mod 2³²}: the same on every mesh."""
    sums = _sum_words(_flat(tree))
    return {path: int(value) for path, value in jax.device_get(sums).items()}


@jax.jit  # one program: one a leaf, in flight together, can wait for each other on many CPU devices
def _sum_words(leaves):
    bits = lambda x: jax.lax.bitcast_convert_type(x, jnp.dtype(f"uint{8 * x.dtype.itemsize}"))
    return jax.tree.map(lambda x: bits(x).astype(jnp.uint32).sum(dtype=jnp.uint32), leaves)


def _manager(run_dir, *, keep=None):
    """Orbax's manager over run_dir/checkpoints; without `keep` it only reads."""
    arrays = ocp.PyTreeCheckpointHandler(use_compression=False)
    registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
    for name in ("params", "rest"):
        registry.add(name, ocp.args.PyTreeSave, arrays)
        registry.add(name, ocp.args.PyTreeRestore, arrays)
    for args in (ocp.args.JsonSave, ocp.args.JsonRestore):
        registry.add("host", args, ocp.JsonCheckpointHandler())
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep,
        read_only=keep is None,
        create=keep is not None,
        cleanup_tmp_directories=keep is not None,  # left by a save that was killed
        enable_async_checkpointing=jax.default_backend() != "cpu",  # there it doubles the memory
    )
    directory = epath.Path(run_dir).resolve() / "checkpoints"
    if keep is None and not directory.exists():
        raise _missing(run_dir)
    return ocp.CheckpointManager(directory, options=options, handler_registry=registry)


def _read_newest(manager, run_dir, parts):
    broken = {}
    for step in sorted(manager.all_steps(), reverse=True):
        try:
            return *_read(manager, step, parts), list(broken)
        except WrongModel:
            raise
        except Exception as error:  # Orbax raises a bare Exception on arrays it cannot read
            broken[step] = _short(error)
            warnings.warn(f"checkpoint {step} of {run_dir} is broken: {broken[step]}", stacklevel=3)
    if not broken:
        raise _missing(run_dir)
    fix = "delete run_dir/checkpoints to start anew, or restore the files from a copy"
    raise ValueError(f"run_dir={run_dir}: no checkpoint can be read ({broken}): {fix}")


def _short(error):
    return f"{type(error).__name__}: {str(error)[:200]}"


def _missing(run_dir):
    fix = "name the directory of a run that has saved one (runs/NAME)"
    return FileNotFoundError(f"run_dir={run_dir} holds no checkpoint: {fix}")


def _read(manager, step, parts):
    parts = {name: jax.tree.map(_placed, tree) for name, tree in parts.items()}
    saved = manager.item_metadata(step)
    for name, tree in parts.items():
        _compare(f"checkpoint {step}, {name}", _flat(saved[name].tree), _flat(tree))
    restore = lambda tree: ocp.args.PyTreeRestore(
        tree, restore_args=ocp.checkpoint_utils.construct_restore_args(tree)
    )
    args = {name: restore(tree) for name, tree in parts.items()}
    got = manager.restore(step, args=ocp.args.Composite(host=ocp.args.JsonRestore(), **args))
    trees = {name: got[name] for name in parts}
    wrong = [k for k, value in checksums(trees).items() if got.host["checksums"][k] != value]
    if wrong:
        raise ValueError(f"the checksums of {wrong[:3]} do not match what was saved")
    return trees, got.host["host"]


def _compare(what, saved, asked):
    """Raises WrongModel, before any array is read, unless paths, shapes and dtypes agree."""
    shown = lambda leaves, k: f"{leaves[k].dtype}{list(leaves[k].shape)}" if k in leaves else "none"
    keys = sorted(saved.keys() | asked.keys())
    wrong = [k for k in keys if shown(saved, k) != shown(asked, k)]
    if wrong:
        pairs = [f"{k} is {shown(saved, k)}, asked for {shown(asked, k)}" for k in wrong[:3]]
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        fix = "use the model the run was made with, or another run directory"
        raise WrongModel(f"{what}: {'; '.join(pairs)}{more}: {fix}")


def _placed(x):
    """The abstract array x, on the first device if nobody said where."""
    where = x.sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where)


def _parts(state):
    """A TrainState as (params, everything else by path): no optax class reaches the disk."""
    return state.params, _flat(state.replace(params=None))


def _whole(params, rest, like):
    """The inverse of _parts; `like` gives the tree."""
    bare = like.replace(params=None)
    leaves = [rest[path] for path in _flat(bare)]
    return jax.tree.unflatten(jax.tree.structure(bare), leaves).replace(params=params)


def _flat(tree):
    """{path: leaf}, in the order of the tree's leaves."""
    name = functools.partial(jax.tree_util.keystr, simple=True, separator="/")
    return {name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
