"""Files in pieces are what their parts are."""

from __future__ import annotations

from realtime.formats.pieces import PIECE, in_pieces


def test_pieces_are_whole_and_none_is_empty() -> None:
    parts = ["", "ä" * 10, b"", b"x" * PIECE, "\ud800", "end"]
    pieces = [*in_pieces(parts)]
    assert [len(piece) for piece in pieces] == [20 + PIECE, 4]
    assert b"".join(pieces) == "ä".encode() * 10 + b"x" * PIECE + b"?end"
    assert [*in_pieces([])] == [*in_pieces(["", b""])] == []
