"""The server's settings: what they refuse, and how ICE servers are written."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from models.errors import UsageError
from web.settings import IceServer, Limits, ServerSettings


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"host": "0.0.0.0"}, "0.0.0.0"),
        ({"host": "example.org"}, "example.org"),
        ({"port": 70000}, "70000"),
    ],
)
def test_settings_out_of_range_are_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        ServerSettings(**options)


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_limits_out_of_range_are_named(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        Limits(**{name: -1})


def test_ice_servers_are_read_from_words() -> None:
    assert IceServer.parse("stun:stun.example.org:3478") == IceServer(
        urls=("stun:stun.example.org:3478",)
    )
    assert IceServer.parse("turns:ada:p@ss:word@turn.example.org:5349") == IceServer(
        urls=("turns:turn.example.org:5349",), username="ada", credential="p@ss:word"
    )
    for wrong in ("turn:turn.example.org", "http://example.org", "stun:", "turn:ada:secret@"):
        with pytest.raises(UsageError) as told:
            IceServer.parse(wrong)
        assert "secret" not in str(told.value)
