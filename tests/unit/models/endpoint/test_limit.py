"""The number of calls in flight follows what the server bears."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from harness.models.endpoint.limit import AdaptiveLimit


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_an_overload_halves_and_success_brings_back_one_a_round() -> None:
    async def test() -> None:
        limit = AdaptiveLimit(8)
        now = asyncio.get_running_loop().time()
        limit.overloaded(now)
        limit.overloaded(now)  # of the same round: sent before the limit was cut
        assert limit.window == 4.0
        for _ in range(4):
            limit.succeeded()
        assert 4.8 < limit.window < 5.0
        for _ in range(200):
            limit.succeeded()
        assert limit.window == 8.0
        for _ in range(9):
            await asyncio.sleep(0.001)
            limit.overloaded(asyncio.get_running_loop().time())
        assert limit.window == 1.0

    run(test)


def test_places_are_given_in_order_and_no_more_than_there_are() -> None:
    async def test() -> None:
        limit, order, most = AdaptiveLimit(2), list[int](), 0

        async def call(number: int) -> None:
            nonlocal most
            async with limit:
                most = max(most, limit.in_flight)
                order.append(number)
                await asyncio.sleep(0)

        await asyncio.gather(*map(call, range(7)))
        assert (order, most, limit.in_flight) == (list(range(7)), 2, 0)

    run(test)


def test_a_caller_that_gives_up_leaves_its_place_to_the_next() -> None:
    async def test() -> None:
        limit = AdaptiveLimit(1)
        await limit.__aenter__()
        waiting = [asyncio.ensure_future(limit.__aenter__()) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        await limit.__aexit__()
        await asyncio.wait_for(waiting[1], 1)
        last = asyncio.ensure_future(limit.__aenter__())
        await asyncio.sleep(0)
        await limit.__aexit__()
        last.cancel()  # with a place that it has just been given
        with pytest.raises(asyncio.CancelledError):
            await last
        assert limit.in_flight == 0

    run(test)


def test_a_pause_that_the_server_asks_for_holds_for_everyone() -> None:
    async def test() -> None:
        limit, loop = AdaptiveLimit(4), asyncio.get_running_loop()
        limit.overloaded(loop.time(), pause=0.03)
        began = loop.time()
        async with limit:
            assert loop.time() - began >= 0.025
        limit.overloaded(loop.time(), pause=60.0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await limit.__aenter__()
        assert limit.in_flight == 0

    run(test)
