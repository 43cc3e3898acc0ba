"""An engine in a thread of its own: requests come from any thread or event loop, as futures."""

import asyncio
import dataclasses
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future

from jaxrl.sampling.requests import Request

LIMITS = "the automaton of the request's constraint has reached its limits: give a simpler one"


@dataclasses.dataclass(eq=False)
class _Work:
    """Who waits for a job, and how much of it has been told."""

    future: Future
    hear: Callable | None
    told: int = 0


class Driver:
    """A context manager around an Engine that nobody else touches meanwhile.

    An error of the engine, unlike one of a request, reaches all requests under way and all later
    ones. Leaving ends what is under way: those futures hold a RuntimeError.
    """

    def __init__(self, engine):
        self._engine, self._orders = engine, queue.SimpleQueue()
        self._under_way, self._error = {}, None  # Job -> _Work
        self._open, self._lock = False, threading.Lock()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def __enter__(self):
        self._open = True
        self._thread.start()
        return self

    def __exit__(self, *_):
        with self._lock:
            self._open = False
            self._orders.put(None)
        self._thread.join()

    def submit(self, request, hear=None):
        """The Future of a request's Job; cancelling it cancels the request.

        hear(tokens): called in the engine's thread with what was drawn since the last call, all of
        it before the future is done. What it raises ends the request.
        """
        work = _Work(Future(), hear)
        self._order(lambda: self._begin(request, work))
        return work.future

    async def draw(self, ids, max_new, law, seed, stop=()):
        """The Job of one request, awaited."""
        request = Request(tuple(ids), max_new, law, stop, seed)
        return await asyncio.wrap_future(self.submit(request))

    def load(self, params):
        """Other weights for all later requests. None may be under way (RuntimeError)."""
        done = Future()
        self._order(lambda: _settle(done, lambda: self._load(params)))
        done.result()

    def _order(self, order):
        with self._lock:  # nothing comes after the None that ends the thread
            if not self._open:
                raise RuntimeError("the engine's driver is not open: use it inside `with driver:`")
            self._orders.put(order)

    def _run(self):
        while self._obey():
            try:
                self._engine.step()
            except Exception as error:  # of the device: nothing of this engine is to be trusted
                self._error = error
            self._hand_over()

    def _obey(self):
        """Carries out what was ordered, and waits for orders while nothing is under way."""
        while not self._under_way or not self._orders.empty():
            order = self._orders.get()
            if order is None:
                left = RuntimeError("the engine's driver was left while the request was under way")
                for job, work in list(self._under_way.items()):
                    self._end(job, work, left)
                return False
            order()
        return True

    def _load(self, params):
        self._check()
        self._engine.load(params)

    def _begin(self, request, work):
        try:
            self._check()
            self._under_way[self._engine.submit(request)] = work
        except Exception as error:  # of this request alone
            _settle(work.future, lambda error=error: _throw(error))

    def _check(self):
        if self._error:
            raise self._error

    def _hand_over(self):
        for job, work in list(self._under_way.items()):
            try:
                self._check()
                _tell(job, work)
                if job.ending == "broken":
                    raise RuntimeError(LIMITS)
            except Exception as error:
                self._end(job, work, error)
            else:
                if job.ending or work.future.cancelled():
                    self._end(job, work)

    def _end(self, job, work, error=None):
        del self._under_way[job]
        if not (job.ending or self._error):
            self._engine.cancel(job)
        _settle(work.future, lambda: _throw(error) if error else job)


def _tell(job, work):
    new = job.tokens[work.told :]
    if work.hear and new:
        work.told += len(new)
        work.hear(new)


def _settle(future, result):
    """Gives a future what result() returns or raises, unless its owner has cancelled it."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(result())
    except Exception as error:
        future.set_exception(error)


def _throw(error):
    raise error
