"""The server's settings: what they refuse, and how ICE servers are written."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from models.errors import UsageError
from web.settings import IceServer, Limits, ServerSettings, origin_of


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"port": 70000}, "70000"),
        ({"token": "short"}, "at least 16"),
        ({"token": "a token with spaces"}, "at least 16"),
        ({"origins": ("example.org",)}, "example.org is no origin"),
        ({"origins": ("https://example.org/path",)}, "example.org/path is no origin"),
        ({"origins": ("ftp://example.org",)}, "ftp://example.org is no origin"),
        ({"origins": ("https://ada@example.org",)}, "ada@example.org is no origin"),
        ({"origins": ("https://example.org:port",)}, "example.org:port is no origin"),
        ({"trusted_proxies": ("proxy.example",)}, "proxy.example.*give a proxy's address"),
        ({"trusted_proxies": ("10.0.0.1/8",)}, "10.0.0.1/8.*or a network"),
        ({"guest_hours": 0}, "guest_hours"),
        ({"keep_days": 0}, "keep_days"),
        ({"certificate": Path("a.pem")}, "go together"),
        ({"key": Path("a.pem")}, "go together"),
        ({"certificate": Path("a"), "key": Path("b"), "self_signed": True}, "choose one"),
    ],
)
def test_settings_out_of_range_are_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named) as told:
        ServerSettings(**options)
    assert "\n" not in str(told.value)
    assert options.get("token", "secret") not in str(told.value)


@pytest.mark.parametrize(
    ("options", "open"),
    [
        ({}, True),
        ({"host": "localhost"}, True),
        ({"host": "127.1.2.3"}, True),
        ({"host": "::1"}, True),
        ({"self_signed": True}, True),
        ({"host": "0.0.0.0"}, False),
        ({"host": ""}, False),
        ({"host": "192.168.0.1"}, False),
        ({"host": "example.org"}, False),
        ({"token": "correct-horse-battery"}, False),
        ({"origins": ("https://example.org",)}, False),
        ({"trusted_proxies": ("127.0.0.1",)}, False),
    ],
)
def test_a_server_is_open_where_only_this_computer_comes(
    options: dict[str, Any], open: bool
) -> None:
    assert ServerSettings(**options).open is open


def test_secrets_are_not_shown() -> None:
    turn = IceServer.parse("turn:ada:opensesame@turn.example.org")
    settings = ServerSettings(token="correct-horse-battery", ice_servers=(turn,))
    assert "correct-horse" not in repr(settings)
    assert "opensesame" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://Example.org", "https://example.org"),
        ("https://example.org:443/", "https://example.org"),
        ("http://example.org:443", "http://example.org:443"),
        ("http://[::1]:80", "http://[::1]"),
        ("http://[::1", None),
        ("https://", None),
        ("null", None),
    ],
)
def test_origins_are_compared_as_browsers_write_them(text: str, origin: str | None) -> None:
    assert origin_of(text) == origin


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
