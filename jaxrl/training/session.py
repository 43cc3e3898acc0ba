"""What every run opens, counts, saves and closes, whatever its recipe."""

import contextlib

import jax

from jaxrl.parallel import hosts
from jaxrl.training import checkpoint, metrics, optimizer, setup
from jaxrl.training.checkpoint import Checkpointer, Stopped, stop_signals
from jaxrl.training.clock import Clock


class Session:
    """A context manager around a loop. Inside it: `state` and `start` (the loop's first index),
    `frozen` (the base under adapters, or None), `clock` (its stages) and `writer` (the records). A
    Stopped that leaves it ends there, with the state of the last recorded step saved.

    stream: the data's iterator, saved with the state. epochs: updates for each index of the loop.
    breaks: False where the stream's state is too dear to take at each step; `at_once` then is idle.
    """

    def __init__(self, c, base, workdir, stream, *, epochs=1, breaks=True):
        self._c, self._base, self._workdir = c, base, workdir
        self._stream, self._epochs, self._progress = stream, epochs, None
        self._breaks = breaks
        self._recorded = None  # (state, host) of the last step
        self._events = {}  # what befell the run before its next row
        self._open = contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._enter(stack.enter_context)
            self._open = stack.pop_all()
        return self

    def __exit__(self, kind, *rest):
        with self._open:
            if kind is not None and issubclass(kind, Stopped):
                if self._recorded:
                    self._saver.save(*self._recorded)
                return True
        return False

    def _enter(self, enter):
        enter(jax.set_mesh(self._base.mesh))
        self._stop = enter(stop_signals())
        saves = self._c.checkpoint
        self._saver = enter(Checkpointer(self._workdir, keep=saves.keep, every=saves.every))
        self.clock = enter(contextlib.closing(Clock()))
        self.frozen = self._base.load_frozen()
        self._frozen_sum = sum(checkpoint.checksums(self.frozen or {}).values()) % 2**32
        hosts.agree(str(self._saver.latest()), f"the newest checkpoint of {self._workdir}")
        self.state, host = setup.start_or_resume(self._base, self._saver)
        if host:
            self._check_frozen(host["frozen"])
            self._stream.set_state(host["tasks"])
        self.start = int(self.state.step) // self._epochs
        self.writer = Mute()
        if hosts.first():
            self.writer = enter(metrics.Writer(self._workdir, resume_at=self.start))
        self._events = _befell(host, self.writer.dropped, self._saver.broken)

    def at_once(self):
        """`Stop.at_once`: a context in which a signal ends the run there."""
        return self._stop.at_once() if self._breaks else contextlib.nullcontext()

    def evaluates(self, done):
        """True where an evaluation is due after `done` steps: at both ends, every eval.every."""
        every = self._c.eval.every
        return done in (0, self._c.steps) or (every > 0 and done % every == 0)

    def record(self, state, i, row, tokens):
        """Writes and shows step i, then saves when due; True if a signal asked to stop.

        In this order: a run killed between the two does step i again. The other way round its row
        would be missing. tokens: what tokens/per_second counts.
        """
        row = row | self._events | self.clock.read()
        self._events = dict.fromkeys(self._events, 0)
        row["optim/lr"] = optimizer.learning_rate(
            self._base.optimizer, state.step - state.skipped - 1
        )
        row["tokens/per_second"] = tokens / row["time/total"]
        self.writer.update(i, row)
        if hosts.first():
            self._show(i, row)
        if self._breaks:
            self._recorded = state, self._host()
        stop = bool(hosts.largest(self._stop.asked is not None))  # whichever process was asked
        if self._saver.due(i + 1) or stop:
            with self.clock.stage("checkpoint"):
                self.save(state)
        return stop

    def _show(self, i, row):
        if self._progress is None:  # only now: a log line of the start would tear the bar
            self._progress = self._open.enter_context(metrics.Progress(self._c.steps))
        self._progress.update(i, row)

    def save(self, state):
        """Saves the state and the place in the data; a state already saved is left alone."""
        self._saver.save(state, self._host())

    def _host(self):
        return {"tasks": self._stream.get_state(), "frozen": self._frozen_sum}

    def _check_frozen(self, saved):
        """Adapters on a base that is not theirs would train on without a word."""
        if saved != self._frozen_sum:
            name = self._c.model.checkpoint
            raise ValueError(
                f"model.checkpoint={name!r}: other weights than when --workdir={self._workdir} "
                "began: restore them, or give another --workdir"
            )


class Mute:
    """In the place of metrics.Writer in every process but the first."""

    dropped = ()

    def update(self, *_):
        """Writes nothing."""

    rollouts = tournaments = evaluation = update


def _befell(host, dropped, broken):
    """The counters of a start. Those in rows that a kill has cost are carried over."""
    carried = lambda name: sum(row.get(name, 0) for row in dropped)
    return {
        "run/resumed": carried("run/resumed") + bool(host or dropped),
        "run/redone": carried("run/redone") + len(dropped),
        "run/broken_checkpoints": carried("run/broken_checkpoints") + len(broken),
    }
