"""What every run opens, counts, saves and closes, whatever its recipe."""

import contextlib

import jax

from jaxrl.parallel import hosts
from jaxrl.training import metrics, optimizer, setup
from jaxrl.training.checkpoint import Checkpointer, stop_signals
from jaxrl.training.clock import Clock


class Session:
    """A context manager around a loop. Inside it: `state` and `start` (the loop's first index),
    `frozen` (the base under adapters, or None), `clock` (its stages) and `writer` (the records).

    stream: the data's iterator, saved with the state. epochs: updates for each index of the loop.
    """

    def __init__(self, c, base, workdir, stream, *, epochs=1):
        self._c, self._base, self._workdir = c, base, workdir
        self._stream, self._epochs, self._progress = stream, epochs, None
        self._open = contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._enter(stack.enter_context)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *exception):
        return self._open.__exit__(*exception)

    def _enter(self, enter):
        enter(jax.set_mesh(self._base.mesh))
        self._stop = enter(stop_signals())
        saves = self._c.checkpoint
        self._saver = enter(Checkpointer(self._workdir, keep=saves.keep, every=saves.every))
        self.clock = enter(contextlib.closing(Clock()))
        self.frozen = self._base.load_frozen()
        hosts.agree(str(self._saver.latest()), f"the newest checkpoint of {self._workdir}")
        self.state, host = setup.start_or_resume(self._base, self._saver)
        if host:
            self._stream.set_state(host["tasks"])
        self.start = int(self.state.step) // self._epochs
        self.writer = Mute()
        if hosts.first():
            self.writer = enter(metrics.Writer(self._workdir, resume_at=self.start))

    def evaluates(self, done):
        """True where an evaluation is due after `done` steps: at both ends, every eval.every."""
        every = self._c.eval.every
        return done in (0, self._c.steps) or (every > 0 and done % every == 0)

    def record(self, state, i, row, tokens):
        """Saves when due, then writes and shows step i; True if a signal asked to stop.

        tokens: what tokens/per_second counts.
        """
        stop = bool(hosts.largest(self._stop.asked is not None))  # whichever process was asked
        if self._saver.due(i + 1) or stop:
            with self.clock.stage("checkpoint"):
                self.save(state)
        row = row | self.clock.read()
        row["optim/lr"] = optimizer.learning_rate(
            self._base.optimizer, state.step - state.skipped - 1
        )
        row["tokens/per_second"] = tokens / row["time/total"]
        self.writer.update(i, row)
        if hosts.first():
            self._show(i, row)
        return stop

    def _show(self, i, row):
        if self._progress is None:  # only now: a log line of the start would tear the bar
            self._progress = self._open.enter_context(metrics.Progress(self._c.steps))
        self._progress.update(i, row)

    def save(self, state):
        """Saves the state and the place in the data; a state already saved is left alone."""
        self._saver.save(state, {"tasks": self._stream.get_state()})


class Mute:
    """In the place of metrics.Writer in every process but the first."""

    def update(self, *_):
        """Writes nothing."""

    rollouts = evaluation = update
