"""The server at work: from settings to a page that answers, until Ctrl-C.

In: settings, how to load the models, perhaps a first source. Out: the address, once it answers.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
import threading
import webbrowser
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import uvicorn

from models.errors import UsageError
from realtime.analysis import Analyzer
from realtime.sources import Source
from web.access.acceptor import Acceptor
from web.access.keys import Keys
from web.access.places import Place, Places, affordable, allow_open_files
from web.access.protocols import HttpProtocol, WebSocketProtocol
from web.access.tls import context_of
from web.app import create_app
from web.errors import ApiError
from web.observability.logs import sum_up_repeats
from web.sessions.hub import Hub
from web.settings import ServerSettings, is_loopback, origin_of

logger = logging.getLogger(__name__)

LAST_WORD_S = 1
"""How long those who follow a session have to be told its end."""

GRACE_S = 5
"""How long, after that, open connections have to close."""

PONG_S = 60
"""How long a client may take to answer a ping. A quick one that pushes media answers late: behind
what it has pushed, which is read no faster than it is analysed."""


def serve(
    settings: ServerSettings,
    load: Callable[[], Analyzer],
    *,
    told: Callable[[str], None],
    browser: bool,
    first: Callable[[Hub], Awaitable[Source]] | None = None,
) -> None:
    """Serve until Ctrl-C, a polite kill or a hangup, which ends the sessions before the server.

    Args:
        load: gives the models; called in a thread.
        told: is told the dashboard's address once it answers, with the token that opens it.
        browser: whether to open one there.
        first: opens the source of a session that begins with the server.

    Raises:
        UsageError: the port cannot be had, the certificate cannot be read, or the first source
            cannot be opened.
    """
    allow_open_files()
    sum_up_repeats()
    tls, fingerprint = context_of(settings)
    if fingerprint is not None:
        logger.warning(
            "browsers warn of a certificate that nobody vouches for: before you trust it, see that "
            "its SHA-256 fingerprint is %s",
            fingerprint,
        )
    elif tls is None and not is_loopback(settings.host) and not _https(settings):
        logger.warning(
            "without TLS browsers give this server's pages no camera, and the network can read the "
            "token: use --tls self-signed, or --tls CERTIFICATE,KEY"
        )
    with _listen(settings) as listener, suppress(KeyboardInterrupt):
        asyncio.run(_serve(listener, settings, load, tls, told, browser, first))


async def _serve(
    listener: socket.socket,
    settings: ServerSettings,
    load: Callable[[], Analyzer],
    tls: ssl.SSLContext | None,
    told: Callable[[str], None],
    browser: bool,
    first: Callable[[Hub], Awaitable[Source]] | None,
) -> None:
    app = create_app(settings, load)
    hub: Hub = app.state.hub
    keys: Keys = app.state.keys
    server = Server(app, hub, tls)

    async def greet() -> None:
        await server.up.wait()
        address = _address(settings, listener.getsockname()[1])
        if keys.token is not None:
            address += f"?token={keys.token}"
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

    def __init__(self, app: object, hub: Hub, tls: ssl.SSLContext | None = None) -> None:
        limits = hub.settings.limits
        proxies = hub.settings.trusted_proxies
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]
            http=HttpProtocol,
            ws=WebSocketProtocol.limited_to(limits.max_message_rate),
            ws_max_size=limits.max_message_kb * 1024,
            ws_per_message_deflate=False,  # media is compressed already, events are small
            ws_ping_timeout=PONG_S,
            timeout_graceful_shutdown=GRACE_S,
            proxy_headers=bool(proxies),  # of nobody else: limits go by who really connects
            forwarded_allow_ips=[*proxies],
            log_config=None,
            access_log=False,  # in which tokens would stand
        )
        config.load()
        super().__init__(config)
        self.up = asyncio.Event()
        self._hub = hub
        most = affordable(limits.max_connections)
        self._acceptor = Acceptor(
            Places(most, limits.max_connections_per_address, proxies),
            self._protocol,
            tls=tls,
            handshake_s=limits.request_s,
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """While this lasts, a hangup ends the server, as SIGTERM does, unless nohup is in force."""
        hangup = getattr(signal, "SIGHUP", None)  # which Windows has not
        main = threading.current_thread() is threading.main_thread()
        if hangup is None or not main or signal.getsignal(hangup) is signal.SIG_IGN:
            with super().capture_signals():
                yield
            return
        before = signal.signal(hangup, self.handle_exit)
        try:
            with super().capture_signals():
                yield
        finally:
            signal.signal(hangup, before)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            # Whoever reads nothing for so long is cut off; a mere close would wait for ever.
            for listener in sockets or ():
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PONG_S * 1000)
        await super().startup(sockets=[])  # the application; connections are taken here:
        for listener in sockets or ():
            self._acceptor.listen(listener, self.config.backlog)
        self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the sessions, then the connections."""
        await self._acceptor.aclose()
        await self._hub.aclose()
        if self.server_state.tasks:  # of which most end with the sessions they tell of
            await asyncio.wait(self.server_state.tasks, timeout=LAST_WORD_S)
        await super().shutdown(sockets)

    def _protocol(self, place: Place) -> HttpProtocol:
        return HttpProtocol(
            place=place,
            request_s=self._hub.settings.limits.request_s,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )


def _https(settings: ServerSettings) -> bool:
    """Whether a proxy or a tunnel speaks TLS for this server."""
    return any(origin.lower().startswith("https:") for origin in settings.origins)


def _address(settings: ServerSettings, port: int) -> str:
    """Where a browser finds the dashboard: from elsewhere, if that is what the server is for."""
    if settings.origins:
        return f"{origin_of(settings.origins[0])}/"
    host = settings.host
    if host in ("", "0.0.0.0", "::"):
        host = _outward("::1" if ":" in host else "127.0.0.1")
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.tls else 'http'}://{shown}:{port}/"


def _outward(otherwise: str) -> str:
    """The address that this machine has for others; without a network, `otherwise`."""
    family, elsewhere = (
        (socket.AF_INET6, "2001:db8::1") if ":" in otherwise else (socket.AF_INET, "192.0.2.1")
    )
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))  # which sends nothing, but chooses the address
            return str(probe.getsockname()[0])
    except OSError:
        return otherwise


def _listen(settings: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise UsageError(
            f"port {settings.port} of {settings.host} cannot be used ({error.strerror}): "
            "end what uses it, or choose another with --port"
        ) from None
