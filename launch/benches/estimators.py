"""Every advantage estimator from 1e3 to 1e7 rows, against memory bandwidth and loops.

    python -m launch.bench estimators [--peer=verl]

Groups of 2 to 64 samples in random order. A row is a sample; of an estimator that goes token by
token, a token. The floor is the rate at which its arguments are read and its result is written at
the machine's bandwidth. The peer is verl's own code (peers_verl.py), and for estimators that verl
lacks a plain loop in numpy (loops.py); it is timed on PEER_ROWS at most, as its rate does not grow
with the batch. Last, what eight devices compute differently from one.
"""

import contextlib
import functools
import time

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxrl.algos import estimators
from jaxrl.records import Signals
from launch.benches import loops, peers_verl, tables

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
PEER_ROWS = 20_000
TOKENS = 64  # of a response
ENVS = 16


def run(peer):
    """Yields the rows of the bench."""
    if peer not in (None, "verl"):
        raise ValueError(f"--peer={peer}: the estimators' peer is verl; or leave --peer out")
    with contextlib.suppress(RuntimeError):  # too late: something has computed already
        jax.config.update("jax_num_cpu_devices", 8)
    # Who waits for a call needs no second thread to make it; waking one costs more than a thousand
    # rows. Off a CPU the setting does nothing.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    bandwidth = tables.read_bandwidth()
    for name in estimators.ESTIMATORS:
        if "mask" not in estimators.ESTIMATORS[name].needs:
            even = functools.partial(make, sizes=np.full(64, 16))
            yield _row(name, even, 1024, peer, bandwidth, f"{name}, B = 1,024, n = 16")
        for rows in SIZES:
            yield _row(name, make, rows, peer, bandwidth, f"{name}, B = {rows:,}")
    yield tables.Row("largest difference, eight devices and one", _difference(), "absolute")


def make(seed, name, rows, sizes=None):
    """Signals for one estimator: numpy arrays, only the fields it needs."""
    line, rng = estimators.ESTIMATORS[name], np.random.default_rng(seed)
    tokens = "mask" in line.needs
    B = max(rows // TOKENS, 2) if tokens else rows
    if sizes is None:
        sizes = rng.integers(2, 65, B // 2)
        sizes = sizes[: np.searchsorted(np.cumsum(sizes), B) + 1]
    group = rng.permutation(np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)[:B])
    f32 = lambda *shape: rng.random(shape, np.float32)
    fields = {
        "parts": lambda: f32(B, 2),
        "greedy": lambda: f32(B),
        "rank": lambda: rng.integers(0, 8, B).astype(np.int32),
        "plan": lambda: f32(B),
        "evidence": lambda: rng.integers(1, 6, B).astype(np.float32),
        "formatted": lambda: rng.random(B) < 0.9,
        "env": lambda: group % np.int32(ENVS),
        "state": lambda: group,
        "round": lambda: np.ones(B, np.int32),
        "rounds": lambda: rng.integers(1, 9, B).astype(np.int32),
        "returns": lambda: f32(B),
        # Read by the loss mask, not by the advantages.
        "lot": lambda: f32(B),
        "turn": lambda: np.ones((B, 1), np.int32),
        "mask": lambda: rng.random((B, TOKENS), np.float32) < 0.9,
        "values": lambda: f32(B, TOKENS),
        "log_ratio": lambda: f32(B, TOKENS) / 10,
        "logp": lambda: -f32(B, TOKENS),
        "squares": lambda: f32(B, TOKENS),
    }
    return Signals(
        rewards=f32(B),
        group=group,
        length=rng.integers(1, 512, B).astype(np.int32),
        num_groups=len(sizes),
        num_envs=ENVS,
        num_states=len(sizes),
        **{field: fields[field]() for field in line.needs},
    )


def _row(name, draw, rows, peer, bandwidth, case):
    c = estimators.EstimatorConfig(name=name)
    host = draw(0, name, rows)
    placed = jax.device_put(host, jax.devices()[0])
    program = jax.jit(estimators.estimate, static_argnums=1).lower(placed, c).compile()
    memory = program.memory_analysis()
    moved = memory.argument_size_in_bytes + memory.output_size_in_bytes
    ours = lambda: program(placed)
    seconds = tables.timed(ours, 5 if rows > 10**6 else 21)
    rate, floor = rows / seconds, rows / (moved / bandwidth)
    if not peer:
        return tables.Row(case, rate, "rows/s", floor=floor)
    few = min(rows, PEER_ROWS)
    theirs = few / _peer_seconds(name, host if few == rows else make(0, name, few))
    label = "verl" if name in peers_verl.NAMES else "numpy loop"
    return tables.Row(case, rate, "rows/s", label, theirs, floor)


def _peer_seconds(name, signals, repeats=3):
    """The fastest of a few calls: the kinder measure to a loop on a busy machine."""
    verls = name in peers_verl.NAMES
    loop = peers_verl.estimator(name, signals) if verls else lambda: loops.LOOPS[name](signals)
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        loop()
        best = min(best, time.perf_counter() - start)
    return best


def _difference():
    """Over all estimators, with rows sharded eight ways; NaN if there are no eight devices."""
    if len(jax.devices()) < 8:
        return float("nan")
    auto = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((8,), ("data",), axis_types=auto, devices=jax.devices()[:8])
    rows = NamedSharding(mesh, P("data"))
    estimate = jax.jit(estimators.estimate, static_argnums=1)
    worst = 0.0
    for name in estimators.ESTIMATORS:
        c, host = estimators.EstimatorConfig(name=name), make(1, name, 4096 * 8)
        one = np.asarray(estimate(host, c))
        eight = np.asarray(estimate(jax.tree.map(lambda x: jax.device_put(x, rows), host), c))
        worst = max(worst, float(np.abs(one - eight).max()))
    return worst
