"""The server at work: from settings to a page that answers, until Ctrl-C.

In: settings, how to load the models, perhaps a first source. Out: the address, once it answers.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import webbrowser
from collections.abc import Awaitable, Callable
from contextlib import suppress

import uvicorn

from models.errors import UsageError
from realtime.analysis import UtteranceAnalyzer
from realtime.sources import Source
from web.app import create_app
from web.errors import ApiError
from web.hub import Hub
from web.settings import ServerSettings

LAST_WORD_S = 1
"""How long those who follow a session have to be told its end."""

GRACE_S = 5
"""How long, after that, open connections have to close."""

PONG_S = 60
"""How long a client may take to answer a ping. A quick one that pushes media answers late: behind
what it has pushed, which is read no faster than it is analysed."""


def serve(
    settings: ServerSettings,
    load: Callable[[], UtteranceAnalyzer],
    *,
    told: Callable[[str], None],
    browser: bool,
    first: Callable[[Hub], Awaitable[Source]] | None = None,
) -> None:
    """Serve until Ctrl-C or a polite kill, which ends the sessions before the server.

    Args:
        load: gives the models; called in a thread.
        told: is told the dashboard's address once it answers.
        browser: whether to open one there.
        first: opens the source of a session that begins with the server.

    Raises:
        UsageError: the port cannot be had, or the first source cannot be opened.
    """
    with _listen(settings) as listener, suppress(KeyboardInterrupt):
        asyncio.run(_serve(listener, settings, load, told, browser, first))


async def _serve(
    listener: socket.socket,
    settings: ServerSettings,
    load: Callable[[], UtteranceAnalyzer],
    told: Callable[[str], None],
    browser: bool,
    first: Callable[[Hub], Awaitable[Source]] | None,
) -> None:
    app = create_app(settings, load)
    hub: Hub = app.state.hub
    server = Server(app, hub)

    async def greet() -> None:
        await server.up.wait()
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"http://{host}:{listener.getsockname()[1]}/"
        if first is not None:
            try:
                source = await first(hub)
                hosted = await hub.begin(source, kind="source", name=source.name)
            except ApiError as error:
                raise UsageError(error.message) from error
            address += f"#session={hosted.id}"
        told(address)
        if browser:
            # A thread: some browsers block until they are closed.
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    def settle(greeting: asyncio.Task[None]) -> None:
        if not greeting.cancelled() and greeting.exception():
            server.should_exit = True

    greeting = asyncio.create_task(greet())
    greeting.add_done_callback(settle)
    await server.serve(sockets=[listener])
    greeting.cancel()  # stopped before the first source was there
    with suppress(asyncio.CancelledError):
        await greeting


class Server(uvicorn.Server):
    """uvicorn, whose clients are told how their sessions ended before it goes.

    Attributes:
        up: set once it listens.
    """

    def __init__(self, app: object, hub: Hub) -> None:
        super().__init__(
            uvicorn.Config(
                app,  # type: ignore[arg-type]
                ws="websockets-sansio",
                ws_max_size=hub.settings.limits.max_message_kb * 1024,
                ws_per_message_deflate=False,  # media is compressed already, events are small
                ws_ping_timeout=PONG_S,
                timeout_graceful_shutdown=GRACE_S,
                log_config=None,
                access_log=False,
            )
        )
        self.up = asyncio.Event()
        self._hub = hub

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            # Whoever reads nothing for so long is cut off; a mere close would wait for ever.
            for listener in sockets or ():
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PONG_S * 1000)
        await super().startup(sockets)
        self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the sessions, then the connections."""
        for server in self.servers:
            server.close()
        await self._hub.aclose()
        if self.server_state.tasks:  # of which most end with the sessions they tell of
            await asyncio.wait(self.server_state.tasks, timeout=LAST_WORD_S)
        await super().shutdown(sockets)


def _listen(settings: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise UsageError(
            f"port {settings.port} of {settings.host} cannot be used ({error.strerror}): "
            "end what uses it, or choose another with --port"
        ) from None
