"""Takes connections, as many as there are places.

In: a listening socket. Out: a protocol for each connection, or its end.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from web.access.places import Place, Places, Standing

logger = logging.getLogger(__name__)

AGAIN_S = 1.0
"""How long to wait when the system has nothing left for another connection."""


class Acceptor:
    """What asyncio's own server does, but it counts before anything is read, TLS included; and
    when the system has no file left it waits, where asyncio logs 2,048 errors each time.

    Args:
        places: for the connections.
        protocol: makes the protocol of a connection, which leaves its place when it is lost.
        tls: how to speak TLS, if at all.
        handshake_s: how long the handshake may take.
    """

    def __init__(
        self,
        places: Places,
        protocol: Callable[[Place], asyncio.Protocol],
        *,
        tls: ssl.SSLContext | None,
        handshake_s: float,
    ) -> None:
        self._places = places
        self._protocol = protocol
        self._tls = tls
        self._handshake_s = handshake_s
        self._tasks: set[asyncio.Task[None]] = set()

    def listen(self, listener: socket.socket, backlog: int) -> None:
        """Take what comes to `listener`, until `aclose`."""
        listener.setblocking(False)
        listener.listen(backlog)
        self._spawn(self._accept(listener))

    async def aclose(self) -> None:
        """Take no more. Those that are there stay. Idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for number in itertools.count():
            try:
                connection, (address, *_) = await loop.sock_accept(listener)
            except ConnectionError:  # who came has gone again
                pass
            except OSError as error:
                logger.error("no connection can be taken now: %s", error.strerror)
                await asyncio.sleep(AGAIN_S)
            else:
                arrival = _Arrival()
                place = self._places.take(address, arrival)
                if place is None:
                    connection.close()
                else:
                    arrival.task = self._spawn(self._welcome(connection, place))
                    arrival.task.add_done_callback(partial(_welcomed, connection, place))
            if number % 16 == 0:
                await asyncio.sleep(0)  # many that come at once would leave others no time

    async def _welcome(self, connection: socket.socket, place: Place) -> None:
        """The handshake, after which a protocol has the connection and the place."""
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: self._protocol(place),
            connection,
            ssl=self._tls,
            ssl_handshake_timeout=self._handshake_s if self._tls else None,
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Arrival:
    """Holds the place of a connection that has no protocol yet."""

    standing = Standing.STRANGER

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None

    def drop(self) -> None:
        """End the handshake, and with it the connection."""
        if self.task is not None:
            self.task.cancel()


def _welcomed(connection: socket.socket, place: Place, task: asyncio.Task[None]) -> None:
    """Clear up after a connection that came to nothing."""
    error = None if task.cancelled() else task.exception()
    if task.cancelled() or error is not None:
        connection.close()
        place.leave()
    if error is not None and not isinstance(error, OSError):  # no fault of the client
        logger.error("a connection broke off", exc_info=error)
