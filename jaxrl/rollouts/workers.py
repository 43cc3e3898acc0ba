"""Envs in worker processes: a step that hangs, crashes or eats memory costs a reward, not the run.

Each worker is a fresh interpreter (no fork: the parent runs JAX threads) that imports the env, not
JAX and not the parent's main module. The usual process pools were left out on purpose: in each
spawned worker they run the main module again, which costs a launcher's seconds and 200 MB of JAX.
This guards against accidents, not malice: a worker can still write files and use the network.
"""

import math
import numbers
import os
import queue
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from jaxrl.envs import table
from jaxrl.envs.base import Failure

START_SECONDS = 120  # for importing and building the env, which no call's limit includes
OUT_OF_MEMORY = 77  # a worker's exit code
LARGEST = 3.4e38  # rewards travel as float32: a larger one would arrive as infinity


class EnvPool:
    """`workers` processes that step the env called `name`; `env` is the same env in this process.

    A call gets `seconds` of wall time and `memory_mb` more than the loaded env has (Linux only). A
    worker that breaks either is killed with all it started, and replaced.
    """

    def __init__(self, name, params, *, workers=2, seconds=10.0, memory_mb=1024):
        if workers < 1 or seconds <= 0 or memory_mb <= 0:
            raise ValueError(
                f"workers = {workers!r}, seconds = {seconds!r}, memory_mb = {memory_mb!r}: "
                "all must be positive"
            )
        self.env = table.build(name, params)
        len(self.env)  # a bad task file or an empty split is refused here, before any compute
        make = lambda: _Worker((name, dict(params), seconds, memory_mb))
        self._workers = [make() for _ in range(workers)]  # they start side by side
        self._idle = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="env")

    def step(self, states, actions):
        """env.step on each pair, in order: a list of Step, with a Failure where a call has none."""
        pairs = zip(states, actions, strict=True)
        return [asked.result() for asked in [self.submit("step", *pair) for pair in pairs]]

    def submit(self, method, state, argument):
        """The Future of env.step or env.use (its Step, its pair), or of a Failure."""
        return self._threads.submit(self._call, (method, state, argument))

    def _call(self, request):
        worker = self._idle.get()
        try:
            return worker.call(request)
        finally:
            self._idle.put(worker)

    def close(self):
        """Kills the workers. Safe to call twice."""
        for worker in self._workers:
            worker.close()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class _Worker:
    """One process and its pipe, used by one thread at a time; close() may come from another."""

    def __init__(self, setup: tuple[str, Mapping[str, Any], float, float]):
        self.setup = setup
        self.lock = threading.Lock()
        self.closed = False
        self.start()

    def start(self):
        """A fresh process, not waited for."""
        with self.lock:
            if self.closed:
                raise RuntimeError("the env pool is closed")
            self.pipe, theirs = Pipe()
            self.ready = False
            command = f"from jaxrl.rollouts import workers; workers.serve({theirs.fileno()})"
            paths = [p or os.getcwd() for p in sys.path]
            limits = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
            self.process = subprocess.Popen(
                [sys.executable, "-c", command],
                env=os.environ | limits | {"PYTHONPATH": os.pathsep.join(paths)},
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the parent; and one kill takes the children
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # scorers print
                stderr=subprocess.DEVNULL,
            )
            theirs.close()
            self.pipe.send(self.setup)

    def call(self, request):
        """The Step, or a Failure after which a fresh process stands ready."""
        try:
            self.wait()
            self.pipe.send(request)
        except ConnectionError:  # died idle, so it is not this request's doing
            self.restart()
            self.wait()
            self.pipe.send(request)
        seconds = self.setup[2]
        if not self.pipe.poll(seconds):
            self.restart()
            return Failure("timeout", f"no result after {seconds} s")
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionError):
            return Failure("crash", self.restart())

    def wait(self):
        """Returns once the env is built; an env that cannot be built in a worker ends the run."""
        if self.ready:
            return
        try:
            trouble = self.pipe.recv() if self.pipe.poll(START_SECONDS) else "it took too long"
        except (EOFError, ConnectionError):
            trouble = f"the process ended, exit code {self.process.wait()}"
        if trouble:
            raise RuntimeError(f"env {self.setup[0]!r} could not be built in a worker: {trouble}")
        self.ready = True

    def restart(self):
        """Kills and replaces the process; says how it had ended."""
        self.kill()
        self.pipe.close()
        code = self.process.returncode
        self.start()
        return "out of memory" if code == OUT_OF_MEMORY else f"exit code {code}"

    def kill(self):
        """Ends the process and whatever it started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it and all its children are gone
        self.process.wait()

    def close(self):
        """Ends the process; a call that waits for it sees a closed pool."""
        with self.lock:
            if not self.closed:
                self.closed = True
                self.kill()


def serve(descriptor):
    """A worker's whole life: build the env, then answer requests until the parent hangs up."""
    os.set_inheritable(descriptor, False)
    pipe = Connection(descriptor)
    name, params, seconds, memory_mb = pipe.recv()
    try:
        env = table.build(name, params)
    except Exception as e:
        pipe.send(f"{type(e).__name__}: {e}")
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit_memory(memory_mb)
    requests = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, requests), daemon=True).start()
    pipe.send("")
    while True:
        request = requests.get()
        _limit_cpu(seconds)
        reply = _answer(env, *request)
        try:
            pipe.send(reply)
        except (TypeError, AttributeError, ValueError) as e:  # pickle's; nothing was sent yet
            pipe.send(Failure("error", f"the step cannot be sent: {e}"))


def _listen(pipe, requests):
    try:
        while True:
            requests.put(pipe.recv())
    finally:
        os._exit(0)  # the parent is gone: end even in the middle of a call


def _answer(env, method, state, argument):
    try:
        step = getattr(env, method)(state, argument)
        if method != "step":
            return step
        reward = step.reward
        if not isinstance(reward, numbers.Real) or not abs(reward) <= LARGEST:  # NaN is neither
            return Failure("not_a_number", f"reward {reward!r:.200}")
        return step._replace(reward=float(reward))
    except MemoryError:
        os._exit(OUT_OF_MEMORY)  # what still works after it is anyone's guess
    except BaseException as e:  # SystemExit too: a scorer's wish to exit is a failure of the scorer
        return Failure("error", f"{type(e).__name__}: {e}"[:300])


def _limit_memory(memory_mb):
    if sys.platform != "linux":
        return
    with open("/proc/self/statm") as f:
        used = int(f.read().split()[0]) * resource.getpagesize()
    _set_soft(resource.RLIMIT_AS, used + int(memory_mb * 2**20))


def _limit_cpu(seconds):
    """A hang that holds the interpreter lock, with the parent gone, ends by this alone."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _set_soft(resource.RLIMIT_CPU, math.ceil(usage.ru_utime + usage.ru_stime + 2 * seconds + 1))


def _set_soft(kind, limit):
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
