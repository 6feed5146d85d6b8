"""Parts of the real clips, for tests that need several utterances but not all of them."""

from __future__ import annotations

from pathlib import Path

import av


def beginning_of(clip: Path, seconds: float, to: Path) -> Path:
    """The first seconds of a clip, packet by packet as they are, in a file at `to`."""
    with av.open(str(clip)) as container, av.open(str(to), "w") as out:
        streams = {s.index: out.add_stream_from_template(s) for s in container.streams}
        for packet in container.demux():
            # The last packet of each stream is empty.
            if packet.pts is not None and packet.pts * packet.time_base < seconds:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    return to


def readers_in_turn(folder: Path, turns: int) -> list[tuple[str, Path]]:
    """LibriSpeech's readers in turn, so many times each: who reads, and another clip every time."""
    clips: dict[str, list[Path]] = {}
    for clip in sorted(folder.glob("*.flac")):
        clips.setdefault(clip.name.split("-")[0], []).append(clip)
    return [(who, of[turn]) for turn in range(turns) for who, of in clips.items()]
