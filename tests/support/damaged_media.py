"""Damaged media files, uploaded to a real server: each ends in a result or in a clear error.

    python tests/support/damaged_media.py --files 500 --seed 1

Makes them from the clips in ../shared: cut off, bits flipped, two spliced, headers damaged, garbage
put in, under a wrong name. Tells how they ended, and what memory, threads and handles it took.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import psutil
from checkout import REPO
from processes import decoders
from web_client import Client, serving

from web.sessions.uploads import PREFIX
from web.settings import Limits, ServerSettings

AT_ONCE = 3
LONGEST_S = 600.0
"""For one file to come to its end, on a machine that has other work to do."""

LIMITS = Limits(max_sessions=AT_ONCE, max_media_h=0.5)
"""Less media than usual: a damaged timestamp may stand for an hour of silence."""

VIDEOS = ("talker_700.mp4", "talker_512.mp4", "two_people_interview.mp4", "no_face.mp4")
ODD_VIDEOS = ("many_faces_1080p.mp4", "talker_portrait_hevc.mp4", "no_audio_track.mp4")
CONTAINERS = (".mkv", ".ts", ".mov", ".flv")
SOUNDS = ("speech/LJ001-0002.wav", "speech/LJ001-0004.wav", "speech/jfk.flac")

Clip = tuple[str, bytes]


# --- the files ---


def clips(paths: Sequence[Path]) -> list[Clip]:
    """Name and content of the clips; of the first four also in other containers."""
    with tempfile.TemporaryDirectory() as folder:
        others = [
            _remux(path, Path(folder) / f"{path.stem}{suffix}")
            for path, suffix in zip(paths, CONTAINERS, strict=False)
        ]
        return [(path.name, path.read_bytes()) for path in (*paths, *others)]


def damaged(rng: random.Random, number: int, from_clips: list[Clip]) -> Clip:
    """A damaged file: one clip, damaged in one way, or whole but under a wrong name."""
    way = rng.choice(list(WAYS))
    name, data = rng.choice(from_clips)
    stem, _, suffix = name.rpartition(".")
    if way == "wrong name":
        suffix = rng.choice([s for s in ("mp4", "wav", "mp3", "mkv", "jpg", "txt") if s != suffix])
    other = rng.choice(from_clips)[1]
    return f"{number:04d}-{way.replace(' ', '-')}-{stem}.{suffix}", WAYS[way](rng, data, other)


def _cut_off(rng: random.Random, data: bytes, _: bytes) -> bytes:
    return data[: rng.randrange(1, len(data))]


def _flip_bits(rng: random.Random, data: bytes, _: bytes) -> bytes:
    flipped = bytearray(data)
    for _ in range(round(10 ** rng.uniform(0, 4))):
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def _splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.randrange(1, len(data))] + other[rng.randrange(len(other)) :]


def _damage_header(rng: random.Random, data: bytes, _: bytes) -> bytes:
    # An MP4 has its header where "moov" is, which may be at its end.
    start = max(0, data.find(b"moov"))
    damaged = bytearray(data)
    for _ in range(rng.randrange(1, 40)):
        at = min(len(data) - 1, start + rng.randrange(4096))
        damaged[at] = rng.choice([0, 0xFF, rng.randrange(256)])
    return bytes(damaged)


def _insert_garbage(rng: random.Random, data: bytes, _: bytes) -> bytes:
    at, length = rng.randrange(len(data)), round(10 ** rng.uniform(1, 5))
    resume = at + rng.choice([0, length])  # put between, or over what was there
    return data[:at] + rng.randbytes(length) + data[resume:]


def _leave(rng: random.Random, data: bytes, _: bytes) -> bytes:
    return data


WAYS: dict[str, Callable[[random.Random, bytes, bytes], bytes]] = {
    "cut off": _cut_off,
    "bits flipped": _flip_bits,
    "spliced": _splice,
    "header": _damage_header,
    "garbage": _insert_garbage,
    "wrong name": _leave,
}


def _remux(clip: Path, into: Path) -> Path:
    with av.open(str(clip)) as source, av.open(str(into), "w") as target:
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    return into


# --- the server ---


@dataclass
class Report:
    """What came of it.

    Attributes:
        ends: how the uploads ended, and how many so.
        faults: what must not be, one line each.
        memory: resident memory in 10^6 bytes: before, midway, after.
        slowest_s: of the upload that took longest, until its end.
    """

    ends: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    slowest_s: float = 0.0


async def upload_all(
    paths: Sequence[Path],
    *,
    files: int,
    seed: int,
    told: Callable[[str], None] = lambda _: None,
) -> Report:
    """Upload `files` damaged clips to a server, a few at a time, and look at what they leave.

    The first of `paths` is also uploaded as it is.
    """
    rng = random.Random(seed)
    made_from = clips(paths)
    report = Report()
    good = paths[0]
    with _own_uploads() as uploads:
        async with serving(ServerSettings(limits=LIMITS)) as client:
            # As many at once as later: what the server then keeps ready is no loss.
            expected = (await asyncio.gather(*[_results(client, good) for _ in range(AT_ONCE)]))[0]
            assert expected
            before = _Held()
            report.memory.append(before.memory_mb)
            for half in (range(files // 2), range(files // 2, files)):
                todo = iter([damaged(rng, number, made_from) for number in half])
                await asyncio.gather(*[_work(client, todo, report, told) for _ in range(AT_ONCE)])
                report.memory.append(_Held().memory_mb)
            if await _results(client, good) != expected:
                report.faults.append("a good clip has other results than before")
            report.faults += _Held().beyond(before)
            report.faults += [f"left behind: {path}" for path in uploads()]
    return report


async def _work(
    client: Client, todo: Iterator[Clip], report: Report, told: Callable[[str], None]
) -> None:
    for name, data in todo:
        began = time.monotonic()
        try:
            end = await asyncio.wait_for(_end_of(client, name, data), LONGEST_S)
        except Exception as error:
            end = "fault"
            report.faults.append(f"{name}: {error!r}")
        took_s = time.monotonic() - began
        report.ends[end] += 1
        report.slowest_s = max(report.slowest_s, took_s)
        told(f"{took_s:6.1f} s  {name}: {end}")


async def _end_of(client: Client, name: str, data: bytes) -> str:
    """How the upload ended; `AssertionError` if in another way than is documented."""
    answer = await client.http.post("/api/sessions", files={"video": (name, data)})
    if answer.status_code == 400:
        assert set(answer.json()) == {"error"}
        error = answer.json()["error"]
        assert error["code"] == "unreadable_source", error
        return "refused: " + _kind_of(error["message"], name)
    assert answer.status_code == 201, answer.text
    events = await client.events(answer.json()["id"])
    warnings = {event["code"]: event["message"] for event in events if event["type"] == "warning"}
    assert events[-1]["type"] == "session.ended"
    assert "session.failed" not in warnings
    assert "utterance.failed" not in {event["type"] for event in events}
    if events[-1]["reason"] == "end":
        return "analysed" + (", damage told" if "source.corrupt" in warnings else "")
    assert events[-1]["reason"] == "source_error"
    return "broke off: " + _kind_of(warnings["source.error"], name)


_KINDS = (
    "not a sound or video file",
    "has no sound",
    "is cut off",
    "cannot be decoded",
    "could be decoded",
    "damaged and cannot be read further",
    "are allowed",
    "is allowed",
    "takes more memory",
    "was stuck",
    "crashed",
    "broke off",
)


def _kind_of(message: str, name: str) -> str:
    """Which of the documented messages it is, each of which names the file in one line."""
    assert "\n" not in message, message
    assert name in message, message
    kinds = [kind for kind in _KINDS if kind in message]
    assert kinds, message
    return kinds[0]


async def _results(client: Client, clip: Path) -> list[dict[str, Any]]:
    """The results of a clip, without what differs from run to run."""
    events = await client.events((await client.upload(clip)).json()["id"])
    results = [event for event in events if event["type"] == "utterance.result"]
    for result in results:
        # At full speed a result is told as soon as it is there, between whatever is heard then.
        del result["session"], result["latency"], result["seq"]
    return results


class _Held:
    """What this process holds at a moment."""

    def __init__(self) -> None:
        gc.collect()
        process = psutil.Process()
        self.memory_mb = process.memory_info().rss / 1e6
        self.handles = process.num_fds() if os.name == "posix" else process.num_handles()
        self.decoders = [decoder.pid for decoder in decoders()]
        self.threads = [t.name for t in threading.enumerate() if t.name.startswith("source ")]

    def beyond(self, before: _Held) -> list[str]:
        """What there is too much of, compared with `before`, one line each."""
        faults = [f"decoder {pid} is still there" for pid in self.decoders]
        faults += [f"thread {name!r} is still there" for name in self.threads]
        if self.handles > before.handles + 5:
            faults.append(f"{self.handles} open handles, of which {before.handles} were there")
        if self.memory_mb > before.memory_mb + 200:
            faults.append(f"{self.memory_mb:.0f} MB resident, {before.memory_mb:.0f} before")
        return faults


@contextmanager
def _own_uploads() -> Iterator[Callable[[], list[Path]]]:
    """Let uploads lie in a folder of their own; gives what lists those that are there."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        try:
            yield lambda: [*Path(folder).glob(f"{PREFIX}*")]
        finally:
            tempfile.tempdir = before


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    media = REPO.parent / "shared" / "media"
    paths = [media / name for name in VIDEOS + ODD_VIDEOS + SOUNDS]
    began = time.monotonic()
    report = asyncio.run(upload_all(paths, files=options.files, seed=options.seed, told=_tell))
    lines = [f"{options.files} files in {time.monotonic() - began:.0f} s"]
    lines += [f"the slowest took {report.slowest_s:.1f} s"]
    lines += [f"{count:5d}  {end}" for end, count in report.ends.most_common()]
    lines += ["resident MB before, midway, after: "]
    lines[-1] += ", ".join(f"{mb:.0f}" for mb in report.memory)
    lines += [f"FAULT  {fault}" for fault in report.faults]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
