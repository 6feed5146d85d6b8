"""The watch tells what holds the event loop, and tells the loop's own work from that of others."""

from __future__ import annotations

import asyncio
import gc
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
    assert watch.held.longest_s > 0.08
    assert watch.held.times == 1
    assert watch.late.times == 1


async def test_a_thread_that_keeps_the_interpreter_is_noticed_and_told_apart() -> None:
    letters = ["a"] * 3_000_000  # which are sorted without a pause
    async with LoopWatch() as watch:
        await asyncio.to_thread(sorted, letters)
        await asyncio.sleep(0.02)
    assert watch.late.longest_s > HELD_S
    assert watch.held.times == 0


async def test_to_wait_is_not_to_hold() -> None:
    async with LoopWatch() as watch:
        await asyncio.gather(asyncio.sleep(0.2), asyncio.to_thread(time.sleep, 0.2))
        time.sleep(0.1)  # noqa: ASYNC251 - as if the machine had no time for the program
        await asyncio.sleep(0.02)
    assert watch.late.times == 0


async def test_a_garbage_collection_is_no_work_of_the_loop() -> None:
    circles = [[] for _ in range(400_000)]
    for circle in circles:
        circle.append(circle)
    async with LoopWatch() as watch:
        await asyncio.sleep(0.02)
        gc.collect()
        await asyncio.sleep(0.02)
    assert watch.collected.longest_s > HELD_S
    assert watch.late.longest_s >= watch.collected.longest_s / 2
    assert watch.held.times == 0
