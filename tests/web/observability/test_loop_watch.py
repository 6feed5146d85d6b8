"""The watch tells what holds the event loop, and nothing else."""

from __future__ import annotations

import asyncio
import time

from web.observability.loop_watch import HELD_S, LoopWatch


def busy(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


async def test_a_callback_that_holds_the_loop_is_noticed() -> None:
    async with LoopWatch() as watch:
        await asyncio.sleep(0.02)
        busy(0.1)
        await asyncio.sleep(0.02)
    assert watch.longest_s > 0.08
    assert watch.times == 1


async def test_a_thread_that_keeps_the_interpreter_is_noticed() -> None:
    letters = ["a"] * 3_000_000  # which are sorted without a pause
    async with LoopWatch() as watch:
        await asyncio.to_thread(sorted, letters)
        await asyncio.sleep(0.02)
    assert watch.longest_s > HELD_S


async def test_to_wait_is_not_to_hold() -> None:
    async with LoopWatch() as watch:
        await asyncio.gather(asyncio.sleep(0.2), asyncio.to_thread(time.sleep, 0.2))
        time.sleep(0.1)  # noqa: ASYNC251 - as if the machine had no time for the program
        await asyncio.sleep(0.02)
    assert watch.times == 0
