"""Where the time of an update goes, and how many programs it compiled."""

import contextlib
import threading
import time

import jax

COMPILED = "/jax/core/compile/backend_compile_duration"


class Clock:
    """Sums seconds by stage, of any thread; `read` returns them as metrics and starts over."""

    def __init__(self):
        self._start, self._stages, self._compiled = time.monotonic(), {}, 0
        self._lock = threading.Lock()
        jax.monitoring.register_event_duration_secs_listener(self._listen)

    @contextlib.contextmanager
    def stage(self, name):
        """Adds the time spent inside to the stage `name` (sample, score, update, ...)."""
        start = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._stages[name] = self._stages.get(name, 0.0) + time.monotonic() - start

    def read(self):
        """{"time/...": seconds, "compile/count": programs} since the last reading."""
        now = time.monotonic()
        with self._lock:
            stages, self._stages = self._stages, {}
        out = {f"time/{name}": seconds for name, seconds in stages.items()}
        out |= {"time/total": now - self._start, "compile/count": self._compiled}
        self._start, self._compiled = now, 0
        return out

    def close(self):
        """Stops listening to the compiler."""
        jax.monitoring.unregister_event_duration_listener(self._listen)

    def _listen(self, event, _seconds, **_):
        self._compiled += event == COMPILED
