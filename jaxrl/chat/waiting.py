"""Waiting for a coroutine in plain code, which may itself be called from a notebook's cell."""

import asyncio
from concurrent.futures import ThreadPoolExecutor


def wait(coroutine):
    """What the coroutine returns, as by asyncio.run.

    A cell of a notebook runs inside an event loop, where asyncio.run refuses to start another: then
    it runs in a thread. An interrupt still waits for it to end there.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
