"""Where recordings begin that were joined end to end, as by ``cat a.mp4 b.mp4 > c.mp4``.

In: a file. Out: byte offsets. Only headers are read, and never more than `MAX_READS` of them; but
FLAC, which has no sizes, is read whole.
FFmpeg ends silently with the first recording of these formats, or goes on with its codecs. Others,
which it reads on its own as one recording with several clocks (MPEG, MP3 ...), are one here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, Literal, TypeAlias

from realtime.sources import matroska

MAX_PIECES = 100
"""So many recordings of one file are opened; the last takes what comes after it."""

MAX_READS = 200_000
"""Tags of FLV are small: these are about 50 minutes, and take up to two seconds."""


def starts(file: BinaryIO) -> list[int]:
    """Where each recording in `file` begins, in bytes; ``[0]`` where there is one, or it is not
    known, because the format has no sizes or is damaged.
    """
    content = _Content(file)
    found = [0]
    try:
        end = _format(content.head(0))
        while end is not None and len(found) < MAX_PIECES:
            at = end(content, found[-1])
            end = _format(content.head(at))
            if end is None or at <= found[-1]:  # sizes that are damaged lead anywhere
                break
            found.append(at)
    except _Enough:
        pass
    return found


class _Content:
    """Reads anywhere in a file, `MAX_READS` times."""

    def __init__(self, file: BinaryIO) -> None:
        self.size = file.seek(0, 2)
        self._file = file
        self._reads = 0

    def read(self, at: int, count: int) -> bytes:
        """Up to `count` bytes from `at`; fewer at the end."""
        self._reads += 1
        if self._reads > MAX_READS:
            raise _Enough
        if at >= self.size:  # perhaps by more than a seek can take
            return b""
        self._file.seek(at)
        return self._file.read(count)

    def head(self, at: int) -> bytes:
        """What tells whether a recording begins at `at`."""
        return self.read(at, _HEAD_BYTES)

    def number(self, at: int, count: int, order: Literal["big", "little"] = "big") -> int:
        """The unsigned number of `count` bytes at `at`."""
        return int.from_bytes(self.read(at, count), order)


class _Enough(Exception):  # noqa: N818 - it is no error
    """Raised when as much was read as may be."""


# --- where a recording that begins at `start` ends, by its own account ----------------------------


def _riff(content: _Content, start: int) -> int:
    """WAV and AVI; a long AVI goes on in further parts."""
    at = start
    while True:
        size = content.number(at + 4, 4, "little")
        if content.read(at, 4) in (b"RF64", b"BW64") and content.read(at + 12, 4) == b"ds64":
            size = content.number(at + 20, 8, "little")
        at = _padded(content, at + 8 + size)
        if content.read(at, 4) != b"RIFF" or content.read(at + 8, 4) != b"AVIX":
            return at


def _aiff(content: _Content, start: int) -> int:
    return _padded(content, start + 8 + content.number(start + 4, 4))


def _padded(content: _Content, end: int) -> int:
    """The even number that follows, unless whoever wrote the file forgot the padding."""
    return end if end % 2 == 0 or _format(content.head(end)) else end + 1


def _au(content: _Content, start: int) -> int:
    return start + content.number(start + 4, 4) + content.number(start + 8, 4)


def _w64(content: _Content, start: int) -> int:
    return start + (content.number(start + 16, 8, "little") + 7) // 8 * 8


def _caf(content: _Content, start: int) -> int:
    at = start + 8
    while at < content.size and not _format(content.head(at)):
        at += 12 + content.number(at + 4, 8)  # -1, which is to the end, is beyond it
    return at


def _asf(content: _Content, start: int) -> int:
    at = start
    while at == start or not _format(content.head(at)):
        size = content.number(at + 16, 8, "little")
        if size < 24:
            return content.size
        at += size
    return at


def _flv(content: _Content, start: int) -> int:
    at = start + content.number(start + 5, 4) + 4
    while (head := content.head(at)) and not _format(head):
        at += 11 + int.from_bytes(head[1:4], "big") + 4
    return at


def _ogg(content: _Content, start: int) -> int:
    """Each of its streams begins with a page that says so, all of them before any other page."""
    at, begun = start, False
    while (page := content.read(at, 27 + 255)).startswith(b"OggS") and len(page) > 27:
        first = bool(page[5] & _FIRST_PAGE)
        if begun and first:
            return at
        begun = begun or not first
        segments = page[26]
        at += 27 + segments + sum(page[27 : 27 + segments])
    # Where it is damaged FFmpeg looks for the next page.
    return content.size if page and not _format(page) else at


_FIRST_PAGE = 2


def _wavpack(content: _Content, start: int) -> int:
    """Of its blocks, the first of a recording has sample 0, and begins its channels."""
    at = start
    while (head := content.head(at)).startswith(b"wvpk"):
        sample, flags = (int.from_bytes(head[n : n + 4], "little") for n in (16, 24))
        if at > start and sample == 0 and flags & _FIRST_CHANNELS:
            return at
        at += 8 + int.from_bytes(head[4:8], "little")
    return _after_tag(content, at)


_FIRST_CHANNELS = 0x800


def _flac(content: _Content, start: int) -> int:
    """It has no sizes. The next one is looked for, by the eight bytes with which each begins."""
    at = start + 1
    while len(chunk := content.read(at, _CHUNK)) >= len(_FLACS[0]):
        found = [place for magic in _FLACS if (place := chunk.find(magic)) >= 0]
        if found:
            return at + min(found)
        at += len(chunk) - len(_FLACS[0]) + 1
    return content.size


_FLACS = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")

_CHUNK = 1 << 20


def _tta(content: _Content, start: int) -> int:
    """A table tells the size of each of its frames."""
    rate, samples = content.number(start + 10, 4, "little"), content.number(start + 14, 4, "little")
    frames = -(-samples // max(1, rate * 256 // 245))
    table = content.read(start + 22, min(4 * frames, _LARGEST_TABLE))
    sizes = (int.from_bytes(table[n : n + 4], "little") for n in range(0, len(table), 4))
    return _after_tag(content, start + 22 + len(table) + 4 + sum(sizes))


_LARGEST_TABLE = 1 << 22
"""Bytes, of twelve days."""


def _after_tag(content: _Content, at: int) -> int:
    """Where the names (APEv2) end that may follow a recording."""
    if content.read(at, 8) != b"APETAGEX":
        return at
    return at + 32 + content.number(at + 12, 4, "little")


def _voc(content: _Content, start: int) -> int:
    at = start + content.number(start + 20, 2, "little")
    while content.number(at, 1):  # 0 is the end, also that of the file
        at += 4 + content.number(at + 1, 3, "little")
    return at + 1


def _matroska(content: _Content, start: int) -> int:
    at = start
    while at == start or not _format(content.head(at)):
        head = content.head(at)
        if len(head) < 12:
            return content.size
        _, after, length = matroska.element(head, 0)
        if length is None:  # where it ends FFmpeg finds out
            return content.size
        at += after + length
    return at


def _mp4(content: _Content, start: int) -> int:
    """A second ``ftyp`` begins another recording, unless it begins a segment of the same.

    Servers of live streams repeat ``ftyp`` and ``moov`` before each segment: then they are the
    same, and the time of its track goes on.
    """
    at = start
    again: int | None = None  # where a further ``ftyp`` is that may be another recording's
    moov = b""
    times: dict[bytes, int] = {}
    while head := content.head(at):
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size < 8:  # 0: to the end of the file
            return content.size
        if kind == b"ftyp":
            again = at if moov else None
        elif kind == b"moov":
            ours = content.read(at, min(size, _LARGEST_MOOV))
            if again is not None and ours != moov:
                return again
            moov = ours
        elif kind == b"moof":
            track, time = _fragment(content.read(at, 256))
            if again is not None and time <= times.get(track, -1):
                return again
            again, times[track] = None, time
        elif kind == b"mdat" and again is not None:
            return again
        elif _format(head):
            return at
        at += size
    return at


def _fragment(moof: bytes) -> tuple[bytes, int]:
    """Of a fragment of an MP4, its first track and when it begins."""
    track, time = moof.find(b"tfhd") + 8, moof.find(b"tfdt") + 4
    width = 8 if moof[time : time + 1] == b"\1" else 4
    return moof[track : track + 4], int.from_bytes(moof[time + 4 : time + 4 + width], "big")


_LARGEST_MOOV = 1 << 16
"""Bytes of it that are compared: of a fragmented recording it is smaller."""

_End: TypeAlias = Callable[[_Content, int], int]

_FORMATS: tuple[tuple[bytes, int, bytes, _End], ...] = (
    # How the recording begins, and what is there after so many bytes.
    (b"", 4, b"ftyp", _mp4),
    (b"RIFF", 8, b"WAVE", _riff),
    (b"RF64", 8, b"WAVE", _riff),
    (b"BW64", 8, b"WAVE", _riff),
    (b"RIFF", 8, b"AVI ", _riff),
    (b"\x1a\x45\xdf\xa3", 0, b"", _matroska),
    (b"OggS", 0, b"", _ogg),
    (b"FLV\1", 0, b"", _flv),
    (b"FORM", 8, b"AIF", _aiff),
    (b"caff\0\1", 0, b"", _caf),
    (b"riff\x2e\x91\xcf\x11", 24, b"wave", _w64),
    (b"fLaC", 0, b"", _flac),
    (b"wvpk", 0, b"", _wavpack),
    (b"TTA1", 0, b"", _tta),
    (b"Creative Voice File\x1a", 0, b"", _voc),
    (b".snd", 0, b"", _au),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", 0, b"", _asf),
)


_HEAD_BYTES = 28


def _format(head: bytes) -> _End | None:
    """How to find the end of a recording that begins so; None if none does that is known."""
    for magic, offset, kind, end in _FORMATS:
        if head.startswith(magic) and head[offset:].startswith(kind):
            return end
    return None
