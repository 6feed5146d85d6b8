"""Results by OSC, as python-osc's own server receives them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from found import FAILED, result
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import BlockingOSCUDPServer

from models.emotions import EMOTIONS
from models.errors import UsageError
from realtime.outlets.osc import OscOutlet

SPEAKER = {"id": 1, "name": "Ann", "by": "both", "confidence": 0.9}


class Heard:
    """A server of python-osc on this machine, and what it has heard, in order."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, list[Any]]] = []
        dispatcher = Dispatcher()
        dispatcher.set_default_handler(lambda name, *values: self._take(name, [*values]))
        self.server = BlockingOSCUDPServer(("127.0.0.1", 0), dispatcher)
        self.server.timeout = 60
        self.address = f"127.0.0.1:{self.server.server_address[1]}"

    def _take(self, name: str, values: list[Any]) -> None:
        self.messages.append((name, values))

    def take(self) -> list[tuple[str, list[Any]]]:
        """What one packet told."""
        self.messages = []
        self.server.handle_request()
        return self.messages


@pytest.fixture
def heard() -> Iterator[Heard]:
    heard = Heard()
    yield heard
    heard.server.server_close()


def test_a_result_is_one_bundle(heard: Heard) -> None:
    outlet = OscOutlet(heard.address)
    outlet.send(FAILED)  # which has no scores to send
    outlet.send(result(3, "good news", 0.75, speaker=SPEAKER))
    told = heard.take()
    assert told[:3] == [
        ("/emotion/utterance", [3, 4.5, 5.75]),
        ("/emotion/speaker", ["Ann"]),
        ("/emotion/transcript", ["good news"]),
    ]
    names = [f"/emotion/score/{name}" for name in (*EMOTIONS, "neutral")]
    assert [name for name, _ in told[3:]] == [*names, "/emotion/expressed"]
    scores = [value for _, (value,) in told[3:-1]]
    assert scores == pytest.approx([0.75, *[0.1] * 5, 0.25], abs=1e-6)
    assert told[-1] == ("/emotion/expressed", ["happiness"])
    outlet.close()


def test_nothing_said_and_nothing_expressed(heard: Heard) -> None:
    outlet = OscOutlet(heard.address.replace("127.0.0.1", "localhost"))
    outlet.send(result(1, "", 0.25))
    told = dict(heard.take())
    assert told["/emotion/transcript"] == told["/emotion/speaker"] == [""]
    assert told["/emotion/expressed"] == []
    outlet.close()


def test_what_cannot_be_sent_is_told_and_ends_nothing() -> None:
    outlet = OscOutlet("255.255.255.255:9")  # to all, which a socket may not without being allowed
    outlet.send(result(1, "a", 0.25))
    assert outlet.problem
    assert "255.255.255.255:9" in outlet.problem
    outlet.send(result(2, "b", 0.25))
    outlet.close()


@pytest.mark.parametrize(
    "address",
    ["", "9000", "127.0.0.1", "127.0.0.1:", "a:b", "a:70000", "a:0", "osc://a:1", "[::1:1"],
)
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        OscOutlet(address)


def test_an_unknown_host() -> None:
    with pytest.raises(UsageError, match="nowhere"):
        OscOutlet("nowhere.invalid:9000")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pythonosc.osc_bundle_builder", None)
    with pytest.raises(UsageError, match=r"pip install python-osc"):
        OscOutlet("127.0.0.1:9000")
