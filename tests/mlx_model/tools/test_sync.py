"""Tools for a script: one event loop for all its threads."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from mlx_model.tools import sync


def test_threads_that_begin_together_have_one_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a tool keeps belongs to the loop of its first call, and would find another one at its second."""
    both, real = threading.Barrier(2), asyncio.new_event_loop

    def slowly() -> asyncio.AbstractEventLoop:
        with suppress(threading.BrokenBarrierError):  # where the other one waits elsewhere
            both.wait(0.3)
        return real()

    async def mine() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    monkeypatch.setattr(asyncio, "new_event_loop", slowly)
    sync._begun.cache_clear()
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: sync.wait_for(mine()), range(2))
    assert one is other
