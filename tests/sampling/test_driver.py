"""The engine's thread: whatever befalls a request or the engine, every future gets an answer."""

import asyncio
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest
import tiny
from tiny_engine import SECONDS, Scripted, make, requests, until

from jaxrl.sampling.driver import Driver
from jaxrl.sampling.engine import Request


def test_many_threads_each_get_their_own():
    def ask(number):
        ask = [Request((number, i), 1 + (number + i) % 5) for i in range(20)]
        jobs = [future.result(SECONDS) for future in [driver.submit(r) for r in ask]]
        return all(
            job.request is r and len(job.tokens) == r.max_new
            for job, r in zip(jobs, ask, strict=True)
        )

    with Driver(Scripted()) as driver, ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))


def test_an_event_loop_awaits_and_cancels():
    """A cancelled await ends its request and no other."""
    engine = Scripted(steps=0)

    async def run():
        waits = [asyncio.wrap_future(driver.submit(Request((i,), 9))) for i in range(3)]
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.wait(tasks[1:2])
        engine.allowed.release(100)
        return await asyncio.gather(*tasks, return_exceptions=True)

    with Driver(engine) as driver:
        first, cancelled, last = asyncio.run(run())
    assert isinstance(cancelled, asyncio.CancelledError)
    assert len(first.tokens) == len(last.tokens) == 9
    assert [job.request.tokens for job in engine.cancelled] == [(1,)]


def test_what_is_drawn_is_heard_in_pieces_and_whole_before_the_end():
    heard = []
    with Driver(Scripted()) as driver:
        future = driver.submit(Request((5,), 7), heard.append)
        future.add_done_callback(lambda _: heard.append("done"))
        assert future.result(SECONDS).ending == "length"
    assert heard == [[0, 1, 2], [3, 4, 5], [6], "done"]


def test_a_listener_that_raises_ends_its_request_alone():
    def broken(tokens):
        raise KeyError("listener")

    engine = Scripted()
    with Driver(engine) as driver:
        bad, good = driver.submit(Request((1,), 9), broken), driver.submit(Request((2,), 9))
        with pytest.raises(KeyError, match="listener"):
            bad.result(SECONDS)
        assert len(good.result(SECONDS).tokens) == 9
    assert [job.request.tokens for job in engine.cancelled] == [(1,)]


def test_a_constraint_at_its_limits_is_an_error_of_its_request_alone():
    """An answer that breaks off there would pass for a whole one."""

    class Broken(Scripted):
        def step(self):
            first = next(iter(self.jobs))
            super().step()
            if first.request.tokens == (1,):
                first.ending = first.ending and "broken"

    with Driver(Broken()) as driver:
        bad, good = driver.submit(Request((1,), 3)), driver.submit(Request((2,), 9))
        with pytest.raises(RuntimeError, match="reached its limits"):
            bad.result(SECONDS)
        assert good.result(SECONDS).ending == "length"


def test_a_refused_request_is_told_and_the_others_go_on():
    with Driver(Scripted()) as driver:
        bad, good = driver.submit(Request((), 3)), driver.submit(Request((2,), 3))
        with pytest.raises(ValueError, match="0 tokens"):
            bad.result(SECONDS)
        assert len(good.result(SECONDS).tokens) == 3


def test_a_request_cancelled_before_it_is_refused_does_not_stop_the_thread():
    """Telling it so raised, the thread died of it, and all waited for ever."""
    engine = Scripted(steps=0)
    with Driver(engine) as driver:
        first = driver.submit(Request((1,), 2))  # holds the thread in a step
        bad = driver.submit(Request((), 3))
        assert bad.cancel()
        last = driver.submit(Request((2,), 2))
        engine.allowed.release(100)
        assert first.result(SECONDS) and last.result(SECONDS)


def test_an_error_of_the_engine_reaches_all():
    class Broken(Scripted):
        def step(self):
            super().step()
            if len(self.jobs) == 3:
                raise RuntimeError("the device is gone")

    engine = Broken(steps=0)
    with Driver(engine) as driver:
        futures = [driver.submit(Request((i,), 50)) for i in range(3)]
        engine.allowed.release(100)
        for future in [*futures, driver.submit(Request((9,), 1))]:
            with pytest.raises(RuntimeError, match="the device is gone"):
                future.result(SECONDS)
        with pytest.raises(RuntimeError, match="the device is gone"):
            driver.load({})


def test_leaving_ends_what_is_under_way():
    engine = Scripted(steps=0)
    driver = Driver(engine)
    with pytest.raises(RuntimeError, match="not open"):
        driver.submit(Request((1,), 9))
    with driver:
        futures = [driver.submit(Request((i,), 9)) for i in range(3)]
        assert futures[0].cancel()
        engine.allowed.release()
    with pytest.raises(CancelledError):
        futures[0].result(SECONDS)
    for future in futures[1:]:
        with pytest.raises(RuntimeError, match="left while"):
            future.result(SECONDS)
    assert not engine.jobs
    with pytest.raises(RuntimeError, match="not open"):
        driver.submit(Request((1,), 9))
    with pytest.raises(RuntimeError, match="not open"):
        driver.load({})


def test_weights_are_refused_while_a_request_is_under_way():
    engine = Scripted(steps=0)
    with Driver(engine) as driver, ThreadPoolExecutor(1) as pool:
        future = driver.submit(Request((1,), 10_000))
        loading = pool.submit(driver.load, {"weights": 1})
        while not loading.done():
            engine.allowed.release()
        with pytest.raises(RuntimeError, match="under way"):
            loading.result()
        assert future.cancel() and engine.loaded is None
        engine.allowed.release(10_000)
        until(lambda: engine.cancelled)
        driver.load({"weights": 2})
    assert engine.loaded == {"weights": 2}


def test_a_real_engine_draws_in_its_thread_what_it_draws_in_ours():
    asked = requests()
    want = [job.tokens for job in make().run(asked)]
    with Driver(make()) as driver, ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda r: driver.submit(r).result(SECONDS).tokens, asked))
        driver.load(tiny.params(seed=1))
        other = driver.submit(asked[0]).result(SECONDS)
    assert got == want and other.tokens != want[0]
