"""tiny.config as a file for launch.train, --config=tests/tiny_run.py:CHECKPOINT, and two processes.

The run is one in which processes that kept to themselves would show: advantages are whitened over
the batch, and read the figures of each token; groups without a signal are sampled again.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

import tiny

ROOT = Path(__file__).parents[1]


def get_config(checkpoint):
    """Every update is saved; a large ε, or Adam would amplify the rounding."""
    changes = {"checkpoint.every": 1, "checkpoint.keep": 9, "optimizer.eps": 1e-3}
    changes |= {"advantage.name": "vtrace", "advantage.whiten": True}
    changes |= {"rollout.zero_variance": "resample", "rollout.rounds": 2}
    changes |= {"eval.params.size": 10}  # its second batch leaves one of two processes without
    c = tiny.config(checkpoint, **changes)
    c.env.params = {"size": 16, "dull": 5}
    return c


def start_two(checkpoint, workdir, *flags, cache, config=__file__):
    """Both processes of launch.train, two devices each; their output goes to WORKDIR.0 and .1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "launch.train", f"--workdir={workdir}"]
    command += [f"--config={config}:{checkpoint}", *flags]
    command += [f"--coordinator=127.0.0.1:{port}", "--processes=2"]
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "2",
        "JAX_DEFAULT_MATMUL_PRECISION": "highest",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    started = []
    for i in range(2):
        with open(f"{workdir}.{i}", "w") as out:
            one = [*command, f"--process={i}"]
            started.append(subprocess.Popen(one, cwd=ROOT, env=env, stdout=out, stderr=out))
    return started


def wait(processes, seconds):
    """Their exit codes; those still alive after so many seconds are killed first."""
    try:
        return [p.wait(seconds) for p in processes]
    finally:
        for p in processes:
            p.kill()
            p.wait()
