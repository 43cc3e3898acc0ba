"""An engine in a thread of its own: requests come from any thread or event loop, as futures."""

import asyncio
import queue
import threading
from concurrent.futures import Future

from jaxrl.sampling.engine import Request


class Driver:
    """A context manager around an Engine that nobody else touches meanwhile.

    An error of the engine, unlike one of a request, reaches all requests under way and all later
    ones.
    """

    def __init__(self, engine):
        self._engine, self._orders = engine, queue.SimpleQueue()
        self._futures, self._error = {}, None  # Job -> its Future
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._orders.put(None)
        self._thread.join()

    def submit(self, request):
        """The Future of a request's Job; cancelling it cancels the request."""
        future = Future()
        self._orders.put(lambda: self._begin(request, future))
        return future

    async def draw(self, ids, max_new, law, seed, stop=()):
        """The Job of one request, awaited."""
        request = Request(tuple(ids), max_new, law, stop, seed)
        return await asyncio.wrap_future(self.submit(request))

    def load(self, params):
        """Other weights for all later requests. None may be under way (RuntimeError)."""
        done = Future()
        self._orders.put(lambda: self._settle(done, lambda: self._engine.load(params)))
        done.result()

    def _run(self):
        while self._obey():
            try:
                self._engine.step()
            except Exception as error:  # of the device: nothing of this engine is to be trusted
                self._error = error
            self._hand_over()

    def _obey(self):
        """Carries out what was ordered, and waits for orders while nothing is under way."""
        while not self._futures or not self._orders.empty():
            order = self._orders.get()
            if order is None:
                for future in self._futures.values():
                    future.cancel()
                return False
            order()
        return True

    def _begin(self, request, future):
        if self._error:
            future.set_exception(self._error)
            return
        try:
            self._futures[self._engine.submit(request)] = future
        except ValueError as error:
            future.set_exception(error)

    def _hand_over(self):
        for job, future in list(self._futures.items()):
            if self._error or job.ending:
                del self._futures[job]
                self._settle(future, lambda job=job: job)
            elif future.cancelled():
                del self._futures[job]
                self._engine.cancel(job)

    def _settle(self, future, result):
        """Gives a future its result, or the error that came instead."""
        if not future.set_running_or_notify_cancel():
            return
        try:
            if self._error:
                raise self._error
            future.set_result(result())
        except Exception as error:
            future.set_exception(error)
