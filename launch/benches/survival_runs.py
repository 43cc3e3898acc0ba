"""Real runs of launch.train to be broken: started, watched, killed, resumed, compared."""

import collections
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import tokenizers as hf
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from jaxrl.data.tokenizers import Tokenizer
from jaxrl.models import checkpoints, decoder, spec
from jaxrl.training import checkpoint, metrics
from launch.benches.survival_config import GROUP, PROMPTS, UPDATES

ROOT = pathlib.Path(__file__).parents[2]
MODEL = decoder.Config(V=264, D=16, L=2, H=4, K=2, N=4, F=32, context=64)
PATIENCE = 600  # seconds for anything that takes a few
CLOCK = ("time/", "tokens/per_second", "compile/count", "run/")  # what two equal runs may differ in


class Lab:
    """A folder with a tiny random model, a cache of compiled programs, and the runs made in it."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        rng = np.random.default_rng(0)
        draw = lambda s: rng.normal(scale=0.3, size=s.shape).astype(np.float32)
        params = jax.tree.map(draw, decoder.specs(MODEL), is_leaf=spec.is_spec)
        checkpoints.save(params, MODEL, _bytes(), self.folder / "model")

    def run(self, name, *settings, where=None, devices=1, **environment):
        """A run of that name, not started. settings: KEY=VALUE of its config."""
        command = [sys.executable, "-m", "launch.train"]
        command += ["--config=launch/benches/survival_config.py"]
        command += [f"--config.model.checkpoint={self.folder / 'model'}"]
        command += [f"--config.{setting}" for setting in settings]
        environment |= {
            "JAX_PLATFORMS": "cpu",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compiles are most of these runs
            "PYTHONFAULTHANDLER": "1",  # what hangs says where when it is aborted
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
            "JAX_COMPILATION_CACHE_DIR": str(self.folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        return Run((where or self.folder) / name, tuple(command), environment)


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (negative: the signal), and all that it printed."""

    code: int
    output: str


@dataclasses.dataclass(frozen=True)
class Run:
    """A run directory and the command that makes it, or goes on with it."""

    workdir: pathlib.Path
    command: tuple[str, ...]
    environment: dict[str, str]

    def start(self):
        """The process, running."""
        return subprocess.Popen(
            [*self.command, f"--workdir={self.workdir}"],
            cwd=ROOT,
            env=os.environ | self.environment | {"SURVIVAL_RUN": str(self.workdir)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self):
        """Starts it and waits for its end."""
        return ended(self.start())

    def rows(self, name="metrics"):
        """The whole lines of one of its records."""
        return metrics.read_rows(self.workdir / f"{name}.jsonl")[0]

    def total(self, name):
        """Sum of a metric over the run."""
        return sum(row[name] or 0 for row in self.rows())

    def saved(self):
        """Steps of its checkpoints, oldest first."""
        return sorted(int(p.name) for p in self._checkpoints() if p.name.isdigit())

    def saving(self):
        """True while a checkpoint is under way."""
        return any("tmp" in p.name for p in self._checkpoints())

    def host(self, step):
        """What a checkpoint says of itself: place in the data, a checksum of every array."""
        return json.loads((self.workdir / "checkpoints" / str(step) / "host/metadata").read_text())

    def params(self):
        """The parameters of the newest checkpoint, on the host."""
        abstract = spec.abstract(decoder.specs(MODEL))
        return jax.device_get(checkpoint.load_params(self.workdir, abstract)[0])

    def processes(self):
        """How many processes of this run are alive, workers included (Linux)."""
        mark = f"SURVIVAL_RUN={self.workdir}\0".encode()
        return sum(mark in _environ(pid) for pid in os.listdir("/proc") if pid.isdigit())

    def _checkpoints(self):
        folder = self.workdir / "checkpoints"
        return list(folder.iterdir()) if folder.exists() else []


def ended(process):
    """Waits for the end of a process; one that hangs is made to say where, and fails."""
    try:
        output, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        output, _ = process.communicate()
    return Ended(process.returncode, output)


def await_(true, process):
    """Waits until true(); False if the process ends first. Looks often: a save takes 50 ms."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if true():
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    raise TimeoutError(f"nothing happened for {PATIENCE} s in {process.args}")


def kill(process):
    """kill -9, and the end of it."""
    process.send_signal(signal.SIGKILL)
    process.communicate()


def differences(run, whole):
    """What sets a finished run apart from the uninterrupted one, in words; [] = nothing.

    Compared: parameters bit for bit; checksums of every array, optimizer included; place in the
    data; all three records, the clock and `run/` apart; how often each task was consumed.
    """
    found = []
    equal = jax.tree.map(lambda x, y: x.tobytes() == y.tobytes(), run.params(), whole.params())
    found += [] if all(jax.tree.leaves(equal)) else ["parameters differ"]
    if run.host(UPDATES) != whole.host(UPDATES):
        found.append("the last checkpoints differ")
    found += [f"{n}.jsonl differs" for n in RECORDS if _still(run, n) != _still(whole, n)]
    steps = [row["step"] for row in run.rows()]
    found += [] if steps == list(range(UPDATES)) else [f"updates {steps}"]
    tasks = collections.Counter(row["task"] for row in run.rows("rollouts"))
    if tasks != dict.fromkeys(range(UPDATES * PROMPTS), GROUP):
        found.append("some task was not consumed exactly once")
    return found


RECORDS = ("metrics", "rollouts", "eval")


def _still(run, name):
    rows = run.rows(name)
    return [{k: v for k, v in row.items() if not k.startswith(CLOCK)} for row in rows]


def _environ(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # gone, or not ours
        return b""


def _bytes():
    """A tokenizer of one token a byte."""
    pieces = ["<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    core = hf.Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken("<end>", special=True, normalized=False)])
    return Tokenizer(core, (0,), bos_id=None, pad_id=0, chat_template=None)
