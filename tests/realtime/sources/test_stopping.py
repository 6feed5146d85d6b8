"""A stop works within a second, whatever a source waits for, in every kind of source."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import pytest
from aiortc import MediaStreamTrack
from clips import beginning_of
from media_server import Breaking, serving
from recordings import GENEROUS, film, follow, tone, write
from rtsp_server import STEPS, rtsp_camera
from starting import Program
from talks import Talk
from virtual_microphone import virtual_microphone

from realtime.media import FrameThinner, Media
from realtime.sources import Isolation, Source, open_source
from realtime.sources.pushed import PushedSource
from realtime.sources.webcam import WebcamSource
from realtime.sources.webrtc import WebRTCSource

IN_PROCESS_AND_OUT = pytest.mark.parametrize("isolation", [None, GENEROUS], ids=["in", "out"])


async def stops_at_once(source: Source, *, after_s: float = 0.5) -> None:
    """Follow `source` until it waits; then it must end for whoever follows it."""
    items: list[Media] = []
    following = asyncio.create_task(follow(source, items))
    await asyncio.sleep(after_s)
    assert not following.done(), "it does not wait"
    began = time.perf_counter()
    closing = asyncio.create_task(source.aclose())
    await asyncio.wait_for(following, 1)
    await closing
    assert time.perf_counter() - began < 1


def pausing(path: Path) -> Path:
    """A second of sound and pictures, and one picture 50 s later."""
    return write(path, [(0, tone(1))], frames=[*film(1), (50.0, (100, 100, 100))])


@pytest.mark.slow
@IN_PROCESS_AND_OUT
async def test_a_recording_at_live_pace(tmp_path: Path, isolation: Isolation | None) -> None:
    path = pausing(tmp_path / "a.mkv")
    await stops_at_once(await open_source(str(path), "live", isolation=isolation), after_s=1.5)


@contextlib.contextmanager
def hanging(data: bytes) -> Iterator[str]:
    with serving(type("Hanging", (Breaking,), {"data": data, "hang": True})) as url:
        yield url


@pytest.mark.slow
@IN_PROCESS_AND_OUT
async def test_a_server_that_sends_nothing_more(
    tmp_path: Path, isolation: Isolation | None
) -> None:
    path = write(tmp_path / "a.ts", [(0, tone(5, 48000))], 48000, codec="mp2")
    with hanging(path.read_bytes()) as url:
        source = await open_source(f"{url}/live", timeout_s=30, isolation=isolation)
        await stops_at_once(source)


@IN_PROCESS_AND_OUT
async def test_a_server_that_never_answers(isolation: Isolation | None) -> None:
    with hanging(b"") as url:
        await is_not_opened_any_more(f"{url}/a", isolation)


@pytest.mark.parametrize("step", STEPS[:-1])
@IN_PROCESS_AND_OUT
async def test_an_rtsp_server_that_does_not_go_on(step: str, isolation: Isolation | None) -> None:
    with rtsp_camera(hangs_at=step) as url:
        await is_not_opened_any_more(url, isolation)


@pytest.mark.slow
@IN_PROCESS_AND_OUT
async def test_an_rtsp_server_that_sends_nothing_more(isolation: Isolation | None) -> None:
    with rtsp_camera(hangs_at="RTP") as url:
        await stops_at_once(await open_source(url, timeout_s=30, isolation=isolation), after_s=2)


async def is_not_opened_any_more(url: str, isolation: Isolation | None) -> None:
    """Give up what a server keeps from being opened."""
    opening = asyncio.create_task(open_source(url, timeout_s=30, isolation=isolation))
    await asyncio.sleep(1)
    opening.cancel()
    began = time.perf_counter()
    await asyncio.wait([opening], timeout=5)
    assert opening.cancelled()
    assert time.perf_counter() - began < 1


@pytest.mark.slow
async def test_a_camera_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that stalls, which OpenCV reads as it reads a camera, stands in for one."""
    path = write(tmp_path / "a.ts", frames=film(3), video_codec="mpeg2video")
    capture = cv2.VideoCapture
    with hanging(path.read_bytes()) as url:
        monkeypatch.setattr(cv2, "VideoCapture", lambda *_: capture(f"{url}/camera.ts"))
        source = WebcamSource(
            microphone="off",
            camera="0",
            thinner=FrameThinner(),
            microphone_retry_s=10,
        )
        await source.start()
        await stops_at_once(source, after_s=1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="PulseAudio in user space is Linux's")
async def test_a_microphone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with virtual_microphone(tmp_path) as microphone:
        for name, value in microphone.env.items():
            monkeypatch.setenv(name, value)
        await stops_at_once(await open_source("webcam", camera="off"))
        hangs = await open_source("webcam", camera="off")
        microphone.hang()
        await stops_at_once(hangs)


class Mute(MediaStreamTrack):
    """A peer's track on which nothing ever comes."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    async def recv(self) -> None:
        await asyncio.sleep(3600)


async def test_a_peer_that_sends_nothing() -> None:
    source = WebRTCSource("Ada", Mute("audio"), Mute("video"), idle_s=60)
    source.start()
    await stops_at_once(source)


async def test_a_client_that_pushes_nothing() -> None:
    await stops_at_once(PushedSource("a", has_audio=True, has_video=True))


POLITE = [
    signal.SIGINT,
    *([signal.SIGTERM, signal.SIGHUP] if sys.platform != "win32" else []),
]


@pytest.mark.slow
@pytest.mark.parametrize("polite", POLITE, ids=lambda s: s.name)
def test_a_command_that_waits_for_the_pace(
    talk: Talk, tmp_path: Path, polite: signal.Signals
) -> None:
    begun = beginning_of(talk.path, 2.5, tmp_path / "talk.mp4")
    clip = joined_with_a_late_picture(begun, tmp_path / "late.mkv")
    program = Program("watch", clip, "--events", "-")
    for line in program.stdout:
        if json.loads(line)["type"] == "speech.started":
            break
    time.sleep(4)  # the sound is over, and the last picture is due in 40 s
    program.send_signal(polite)
    began = time.perf_counter()
    out, _ = program.communicate(30)
    events = [json.loads(line) for line in out.splitlines()]
    assert program.returncode == 0
    assert events[-1]["type"] == "session.ended"
    assert events[-1]["reason"] == "stopped"
    assert time.perf_counter() - began < 5  # what was said is still analysed


def joined_with_a_late_picture(talk: Path, to: Path) -> Path:
    with av.open(str(talk)) as container, av.open(str(to), "w") as out:
        streams = {s.index: out.add_stream_from_template(s) for s in container.streams}
        last = None
        for packet in container.demux():
            if packet.pts is None:
                continue
            kind = packet.stream.type
            packet.stream = streams[packet.stream_index]
            if kind == "video" and packet.is_keyframe and last is None:
                last = bytes(packet), packet.stream, packet.time_base
            out.mux(packet)
        assert last is not None
        data, stream, time_base = last
        late = av.Packet(data)
        late.stream, late.time_base = stream, time_base
        late.pts = late.dts = int(50 / time_base)
        out.mux(late)
    return to
