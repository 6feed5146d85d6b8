"""Every limit and address of the server, in one table.

In: options of the command line. Out: `ServerSettings`, checked.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from models.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class IceServer:
    """A STUN or TURN server by which peers behind routers find each other.

    Attributes:
        urls: such as ``stun:stun.example.org:3478``.
        username, credential: of a TURN server.
    """

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = None

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


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerSettings:
    """What the server may use, and where it listens.

    Attributes:
        host: an address of this computer alone, such as 127.0.0.1 or localhost.
        port: TCP port; 0 takes any that is free.
        max_sessions: sessions running at once; None: as many as this machine can hold live, as
            measured when the models are loaded.
        max_ended: ended sessions whose results are kept; the oldest are forgotten.
        max_upload_mb: size of an uploaded recording, in 10^6 bytes.
        max_message_kb: size of one WebSocket message from a client, in 2^10 bytes.
        max_events: events kept of a session. Beyond it the passing ones (partial texts, speech
            lights) of its older half are forgotten; if there are none, it is stopped.
        max_inputs: utterances of a session whose faces and waveform are kept.
        idle_s: seconds without media from its publisher after which a session ends.
        ice_servers: for WebRTC; given to the browsers, too.

    Raises:
        UsageError: a value out of range, or an address that others could reach.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    max_sessions: int | None = None
    max_ended: int = 50
    max_upload_mb: int = 2048
    max_message_kb: int = 1024
    max_events: int = 100_000
    max_inputs: int = 500
    idle_s: float = 60.0
    ice_servers: tuple[IceServer, ...] = ()

    def __post_init__(self) -> None:
        if not _is_loopback(self.host):
            raise UsageError(
                f"{self.host} can be reached by others, and there is no access control yet: "
                "use 127.0.0.1, ::1 or localhost"
            )
        if not 0 <= self.port <= 65535:
            raise UsageError(f"port must be 0 to 65535, not {self.port}")
        for name, least in (
            ("max_sessions", 1),
            ("max_ended", 0),
            ("max_upload_mb", 1),
            ("max_message_kb", 16),
            ("max_events", 100),
            ("max_inputs", 1),
            ("idle_s", 1),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name} must be at least {least}, not {value}")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
