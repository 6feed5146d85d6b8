"""Names that hold anything become text on one line."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.naming import shown


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"talk.mp4", "talk.mp4"),
        ("grün 日本 🎬.mp4".encode(), "grün 日本 🎬.mp4"),
        (b"gr\xfcn.mp4", "gr\ufffdn.mp4"),
        (b"\xff\xfe.wav", "\ufffd\ufffd.wav"),
        (b"two\nlines\r.wav", "two\\x0alines\\x0d.wav"),
        (b"\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\u202egpj.exe".encode(), "\\u202egpj.exe"),
        ("a\u200fb\u061c\u200e.wav".encode(), "a\\u200fb\\u061c\\u200e.wav"),
        (b"[/bold] :smile:", "[/bold] :smile:"),
        (b"\xed\xa0\x80.wav", "\ufffd\ufffd\ufffd.wav"),  # a surrogate, as CESU-8 has it
    ],
)
def test_a_name_is_shown(name: bytes, text: str) -> None:
    assert shown(os.fsdecode(name)) == text


@given(st.binary(max_size=50))
def test_any_name_can_be_encoded_and_stays_on_its_line(name: bytes) -> None:
    text = shown(os.fsdecode(name))
    text.encode()
    assert len(text.splitlines()) <= 1
    assert text.isprintable() or all(c.isprintable() or c.isspace() or ord(c) > 0xFF for c in text)
