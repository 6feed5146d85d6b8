"""Every limit and address of the server, in one table.

In: options of the command line. Out: `ServerSettings`, checked.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from models.account import data_folder
from models.errors import UsageError

DEFAULT_STORE = data_folder() / "sessions.sqlite"


@dataclass(frozen=True, kw_only=True, slots=True)
class IceServer:
    """A STUN or TURN server by which peers behind routers find each other.

    Attributes:
        urls: such as ``stun:stun.example.org:3478``.
        username, credential: of a TURN server.
    """

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> IceServer:
        """From ``stun:HOST[:PORT]`` or ``turn:USER:PASSWORD@HOST[:PORT]``; stuns, turns as well.

        Raises:
            UsageError: it is neither.
        """
        scheme, _, rest = text.partition(":")
        account, _, host = rest.rpartition("@")
        username, _, credential = account.partition(":")
        if scheme in ("stun", "stuns") and host and not account:
            return cls(urls=(text,))
        if scheme in ("turn", "turns") and host and username and credential:
            return cls(urls=(f"{scheme}:{host}",), username=username, credential=credential)
        shown = re.sub(r":[^:@]*@", ":...@", text)  # a password belongs in no message
        raise UsageError(
            f"{shown} is no ICE server: give stun:HOST:PORT or turn:USER:PASSWORD@HOST:PORT"
        )


def _limit(default: Any, least: float, about: str) -> Any:
    return field(default=default, metadata={"least": least, "about": about})


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What clients may use. Each is an option of the command line: ``--max-upload-mb`` and so on.

    Raises:
        UsageError: a value out of range.
    """

    max_sessions: int | None = _limit(
        None, 1, "Sessions running at once; left out, as many as this machine can hold live."
    )
    max_participants: int = _limit(8, 1, "Guests in one call at once.")
    # Each costs an encoder of its own: with VP8 at 25 pictures a second about 14 % of a core for
    # 360x288 and 28 % for 1280x720, beside the 12 to 16 % that receiving them takes.
    max_viewers: int = _limit(
        16, 1, "How often the host may watch one session by WHEP; each guest may once."
    )
    max_rooms: int = _limit(100, 1, "Calls; the oldest empty one goes when there would be more.")
    max_joins: int = _limit(
        60,
        1,
        "Sessions, uploads and calls that one address may begin, each call's guests apart, and "
        "wrong tokens it may send: so many at once, and then so many a minute.",
    )
    max_upload_mb: int = _limit(2048, 1, "Size of an uploaded recording, in 10^6 bytes.")
    max_media_h: float = _limit(12.0, 0.01, "Hours of media in one session.")
    max_frame_mpx: float = _limit(16.0, 0.1, "Size of one picture, in 10^6 pixels.")
    max_frame_rate: int = _limit(
        120, 1, "Pictures for one second of media that a client of /api/ingest may push."
    )
    max_decoder_mb: int = _limit(
        2048, 256, "Memory of the process that decodes an upload or a URL, in 2^20 bytes."
    )
    # A browser keeps 6 for requests and one more for each session and call that it follows.
    max_connections: int = _limit(
        1000,
        16,
        "Open connections. Beyond it, and where the system allows fewer than twice as many open "
        "files, sooner, those go first whom nobody has let in, then guests.",
    )
    max_connections_per_address: int = _limit(
        200, 8, "Open connections of one address; behind a trusted proxy, requests under way."
    )
    # The page of a guest asks for each of the others at once when they join.
    max_connections_per_guest: int = _limit(
        32, 8, "Requests and WebSockets of one guest of a call, under way at once."
    )
    request_s: float = _limit(
        20.0,
        1,
        "Seconds that a TLS handshake, the head of a request, and its body may each take. An "
        "upload may take longer, but not stand still for idle_s.",
    )
    max_sdp_kb: int = _limit(64, 1, "Size of an SDP offer or fragment, in 2^10 bytes.")
    max_message_kb: int = _limit(
        1024,
        16,
        "Size of one WebSocket message, and of a request without upload, in 2^10 bytes.",
    )
    max_message_rate: int = _limit(
        1000,
        1,
        "Messages a second that a client may send on one WebSocket, in the long run; and pings.",
    )
    max_events: int = _limit(
        100_000,
        100,
        "Events kept of a session; beyond it the passing ones (partial texts, speech lights) of "
        "its older half are forgotten, and if there are none, it is stopped.",
    )
    max_ended: int = _limit(
        50, 0, "Ended sessions kept in memory; older ones are read from the store."
    )
    max_inputs: int = _limit(
        500, 1, "Utterances of a session whose faces and waveform are kept in memory."
    )
    idle_s: float = _limit(
        60.0,
        1,
        "Seconds without media from its publisher after which a session ends, and without a byte "
        "after which an upload does.",
    )
    stuck_s: float = _limit(
        30.0, 1, "Seconds after which a network that gives no answer is given up."
    )

    def __post_init__(self) -> None:
        for limit in fields(self):
            value, least = getattr(self, limit.name), limit.metadata["least"]
            if value is not None and value < least:
                raise UsageError(f"{limit.name} must be at least {least}, not {value}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerSettings:
    """Where the server listens, who may come, and what is kept.

    Attributes:
        host: the address to listen at. On one that others can reach, everything takes a token.
        port: TCP port; 0 takes any that is free.
        token: what the host of this server shows to be let in; None: nothing where only this
            computer can reach the server, else a token that is made at start.
        origins: addresses, such as ``https://emotions.example.org``, under which browsers reach
            this server through a proxy or a tunnel; then, too, everything takes a token.
        trusted_proxies: addresses and networks of proxies. Who they say is their client, by
            X-Forwarded-For and X-Forwarded-Proto, is believed; then, too, everything takes a token.
        guest_hours: how long the link to a call lets people in.
        certificate, key: PEM files for TLS, both or neither.
        self_signed: TLS with a certificate that is made at start.
        allow_paths: folders of this machine, of which files may be named as a source.
        store: the file in which sessions are kept.
        keep_days: after so many days a session is deleted; None: never.
        alone: whether each session shows one person, so that nobody looks for others.
        baseline: whether sessions learn each person's rest, and tell the scores without it as well.
        record: keep, too, a film of each session, and the sound and the faces of each utterance.
        limits: what clients may use.
        ice_servers: for WebRTC; given to the browsers, too.

    Raises:
        UsageError: a value out of range.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    guest_hours: float = 24.0
    certificate: Path | None = None
    key: Path | None = None
    self_signed: bool = False
    allow_paths: tuple[Path, ...] = ()
    store: Path = DEFAULT_STORE
    keep_days: float | None = None
    alone: bool = False
    baseline: bool = False
    record: bool = False
    limits: Limits = Limits()
    ice_servers: tuple[IceServer, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise UsageError(f"port must be 0 to 65535, not {self.port}")
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise UsageError("a token has at least 16 of A to Z, a to z, 0 to 9 and - . _ ~")
        for origin in self.origins:
            if origin_of(origin) is None:
                raise UsageError(f"{origin} is no origin: give https://HOST or https://HOST:PORT")
        for proxy in self.trusted_proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError as error:
                raise UsageError(f"{error}: give a proxy's address, or a network") from None
        if self.guest_hours <= 0:
            raise UsageError(f"guest_hours must be above 0, not {self.guest_hours:g}")
        if self.keep_days is not None and self.keep_days <= 0:
            raise UsageError(f"keep_days must be above 0, not {self.keep_days:g}")
        if (self.certificate is None) != (self.key is None):
            raise UsageError("a certificate and its key go together: give both, as PEM files")
        if self.self_signed and self.certificate is not None:
            raise UsageError("TLS is self-signed or by a certificate that is given: choose one")

    @property
    def open(self) -> bool:
        """Whether nobody needs a token, because only this computer can reach the server."""
        proxied = self.origins or self.trusted_proxies
        return is_loopback(self.host) and self.token is None and not proxied

    @property
    def tls(self) -> bool:
        """Whether the server speaks TLS."""
        return self.self_signed or self.certificate is not None


_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,}")
"""Long enough not to be guessed; of what an address, a cookie and a header hold as it is."""

_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_of(text: str) -> str | None:
    """``http(s)://host[:port]`` as browsers write it; None if `text` is no such address."""
    try:
        parts = urlsplit(text.lower())
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    more = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in _DEFAULT_PORTS or not host or more:
        return None
    host = f"[{host}]" if ":" in host else host
    shown = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host}{shown}"


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
