"""How big the body of a request may be, and how long it may take.

In: what gives the body, piece by piece. Out: the same, until it is too much: 413, or too slow: 408.
"""

from __future__ import annotations

import asyncio
import time

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive


def bounded(receive: Receive, most: int) -> Receive:
    """`receive`, until more than `most` bytes have come."""
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise HTTPException(413, f"a request may have up to {most} bytes here")
        return message

    return bounded


def hurried(receive: Receive, each_s: float, all_s: float) -> Receive:
    """`receive`, which gives up when a piece of the body takes `each_s`, or the whole `all_s`."""
    began = time.monotonic()
    whole = False

    async def hurried() -> Message:
        nonlocal whole
        if whole:  # who asks now waits for the client to go
            return await receive()
        within_s = min(each_s, began + all_s - time.monotonic())
        try:
            message = await asyncio.wait_for(receive(), within_s)
        except asyncio.TimeoutError:
            close = {"Connection": "close"}
            raise HTTPException(408, "the body of the request comes too slowly", close) from None
        whole = not message.get("more_body", False)
        return message

    return hurried
