"""Results sent by OSC (Open Sound Control), as programs for stage, sound and video read it.

In: events. Out: one UDP bundle for each utterance.
"""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from models.emotions import NEUTRAL
from models.errors import UsageError
from realtime.events import Event, UtteranceResult


class OscOutlet:
    """Sends each result to one address.

    Args:
        address: ``HOST:PORT``.

    Attributes:
        problem: why nothing can be sent any more, in half a line; None as long as it can.

    Raises:
        UsageError: python-osc is not installed, or the address is none.
    """

    def __init__(self, address: str) -> None:
        try:
            import pythonosc.osc_bundle_builder  # noqa: F401 - only whether it is there
        except ImportError as error:
            raise UsageError(
                "--osc needs python-osc, which is not installed: pip install python-osc"
            ) from error
        self.problem: str | None = None
        self._name = f"OSC to {address}"
        family, self._to = _resolved(address)
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def send(self, event: Event) -> None:
        """Send an event, if it is a result."""
        if self.problem is None and isinstance(event, UtteranceResult):
            try:
                self._socket.sendto(bundle_of(event), self._to)
            except BlockingIOError:
                pass  # the system is busy: a packet is lost, as any packet of UDP may be
            except OSError as error:
                self.problem = f"{self._name} cannot be sent ({error.strerror or error})"

    def close(self) -> None:
        """Close the socket. Idempotent."""
        self._socket.close()


def bundle_of(result: UtteranceResult) -> bytes:
    """The OSC bundle of a result; the messages in it are told in realtime/README.md."""
    from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
    from pythonosc.osc_message_builder import OscMessageBuilder

    bundle = OscBundleBuilder(IMMEDIATELY)

    def add(name: str, *values: str | int | float) -> None:
        message = OscMessageBuilder(f"/emotion/{name}")
        for value in values:
            message.add_arg(value)
        bundle.add_content(message.build())

    add("utterance", result.utterance, result.start, result.end)
    add("speaker", result.speaker.name if result.speaker else "")
    add("transcript", result.transcript.text)
    for emotion, score in result.emotions.items():
        add(f"score/{emotion}", score)
    if result.neutral is not None:
        add(f"score/{NEUTRAL}", result.neutral)
    add("expressed", *result.expressed)
    return bytes(bundle.build().dgram)


def _resolved(address: str) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """Family and socket address of ``HOST:PORT``, looked up once: `sendto` would do so each time.

    Raises:
        UsageError: it is none, or there is no such host.
    """
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or address != parts.netloc or "@" in address:
        raise UsageError(f"{address} is no HOST:PORT: give --osc an address such as 127.0.0.1:9000")
    try:
        family, _, _, _, to = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except OSError as error:
        raise UsageError(f"--osc: {host} is no known host ({error.strerror})") from None
    return family, (str(to[0]), int(to[1]))
