"""Small recordings that are odd as the field's are, made for a test of a talk or a sentence."""

from __future__ import annotations

import struct
import wave
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from recordings import Sound, as_written, write
from talks import Talk


def nine_channels(sound: Sound, path: Path) -> None:
    """All alike, and nothing says where they stand."""
    with wave.open(str(path), "wb") as file:
        file.setparams((9, 2, 16_000, 0, "NONE", ""))
        file.writeframes(as_written(np.tile(sound, (9, 1))).T.tobytes())


def left_only(sound: Sound, path: Path) -> None:
    write(path, [(0, np.vstack([sound, np.zeros_like(sound)]))], codec="flac")


def opposite_phase(sound: Sound, path: Path) -> None:
    """The mean of both channels is silence."""
    write(path, [(0, np.vstack([sound, -sound]))], codec="flac")


def no_duration(talk: Talk, path: Path) -> None:
    """As browsers record it: neither a duration nor an index."""
    _copied(talk.path, path, options={"live": "1"})


def paused_recorder(talk: Talk, path: Path) -> None:
    """The header promises 3 s more than there are."""
    _copied(talk.path, path)
    data = path.read_bytes()
    at = data.index(b"\x44\x89\x88") + 3  # Duration, 8 bytes
    (duration_ms,) = struct.unpack_from(">d", data, at)
    path.write_bytes(data[:at] + struct.pack(">d", duration_ms + 3000) + data[at + 8 :])


def restarted_clock(talk: Talk, path: Path) -> None:
    """Joined of two pieces, each with its clock from 0."""
    _copied(talk.path, path)
    path.write_bytes(path.read_bytes() * 2)


def clock_jumps_ahead(talk: Talk, path: Path) -> None:
    """By ten minutes, between the first sentence and the second."""
    first, second = talk.sentences[:2]
    pause_s = (first.end + second.start) / 2
    _copied(talk.path, path, later_s=lambda time_s: 600 if time_s > pause_s else 0)


def _copied(
    clip: Path,
    path: Path,
    *,
    options: dict[str, str] | None = None,
    later_s: Callable[[float], int] = lambda time_s: 0,
) -> None:
    """Copy a clip, packet by packet, into another container; some packets with later times."""
    with av.open(str(clip)) as source, av.open(str(path), "w", options=options or {}) as target:
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is None or packet.pts is None:
                continue
            shift = round(later_s(float(packet.dts * packet.time_base)) / packet.time_base)
            packet.dts, packet.pts = packet.dts + shift, packet.pts + shift
            packet.stream = streams[packet.stream_index]
            target.mux(packet)
