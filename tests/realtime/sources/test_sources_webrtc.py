"""The tracks of a real peer, over a real connection on this machine, as a source."""

from __future__ import annotations

import asyncio
import fractions
import itertools
import math
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import av
import numpy as np
import numpy.typing as npt
import pytest
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpSender
from aiortc.mediastreams import MediaStreamError
from webrtc_client import nothing_left, peer, until

from models.errors import SourceError
from realtime.media import SAMPLE_RATE, AudioBlock, Media, SourceNotice, VideoFrame
from realtime.sources import webrtc
from realtime.sources.webrtc import WebRTCSource

pytestmark = pytest.mark.slow

RATE = 48_000
PACKET = RATE // 50


class Machine(MediaStreamTrack):
    """A camera or microphone whose every moment is known.

    Every second it shines, or sounds, for half a second, at the same moments of its clock.

    Attributes:
        off: while True, it gives nothing; its clock goes on.
        pc: the connection over which it sends.
    """

    def __init__(self, kind: str, began: float, *, size: tuple[int, int] = (320, 240)) -> None:
        super().__init__()
        self.kind = kind
        self.off = False
        self.pc: RTCPeerConnection | None = None
        self._began = began
        self._size = size
        self._count: itertools.count[int] | None = None

    async def recv(self) -> av.AudioFrame | av.VideoFrame:
        while True:
            if self.readyState != "live":
                raise MediaStreamError
            rate = 50 if self.kind == "audio" else 25
            if self._count is None:  # what nobody took before is past
                self._count = itertools.count(math.ceil((now() - self._began) * rate))
            n = next(self._count)
            time = n / rate
            await asyncio.sleep(self._began + time - now())
            if not self.off:
                return self._sound(n) if self.kind == "audio" else self._picture(n, time)

    def _sound(self, n: int) -> av.AudioFrame:
        t = (n * PACKET + np.arange(PACKET)) / RATE
        tone = np.where(t % 1 < 0.5, np.sin(2 * np.pi * 500 * t), 0) * 16_000
        frame = av.AudioFrame.from_ndarray(tone.astype(np.int16)[None], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = (
            RATE,
            n * PACKET,
            fractions.Fraction(1, RATE),
        )
        return frame

    def _picture(self, n: int, time: float) -> av.VideoFrame:
        width, height = self._size
        light = 230 if time % 1 < 0.5 else 20
        frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), light, np.uint8), "rgb24")
        frame.pts, frame.time_base = n, fractions.Fraction(1, 25)
        return frame


@asynccontextmanager
async def connected(
    *machines: Machine, idle_s: float = 60, max_frame_mpx: float = 1
) -> AsyncIterator[WebRTCSource]:
    """The source of what `machines` send over a connection of two peers."""
    there, here = peer(), peer()
    for machine in machines:
        there.addTransceiver(machine, "sendonly")
        machine.pc = there
    await there.setLocalDescription(await there.createOffer())
    await here.setRemoteDescription(there.localDescription)
    await here.setLocalDescription(await here.createAnswer())
    await there.setRemoteDescription(here.localDescription)
    await until(lambda: here.connectionState == "connected")
    tracks = {receiver.track.kind: receiver.track for receiver in here.getReceivers()}
    source = WebRTCSource(
        "test",
        tracks.get("audio"),
        tracks.get("video"),
        idle_s=idle_s,
        max_frame_mpx=max_frame_mpx,
    )
    source.start()
    try:
        yield source
    finally:
        await source.aclose()
        await there.close()
        await here.close()


def now() -> float:
    return asyncio.get_running_loop().time()


async def take(source: WebRTCSource, done: Callable[[Media], bool]) -> list[Media]:
    items: list[Media] = []
    async for item in source:
        items.append(item)
        if done(item):
            break
    return items


def heard_until(time_s: float) -> Callable[[Media], bool]:
    return lambda item: isinstance(item, AudioBlock) and item.stop >= time_s * SAMPLE_RATE


def sound_of(items: Iterable[Media]) -> npt.NDArray[np.float32]:
    blocks = [item for item in items if isinstance(item, AudioBlock)]
    assert blocks[0].start == 0
    for before, block in itertools.pairwise(blocks):
        assert block.start == before.stop
    return np.concatenate([block.samples for block in blocks])


def frames_of(items: Iterable[Media]) -> list[VideoFrame]:
    return [item for item in items if isinstance(item, VideoFrame)]


def codes_of(items: Iterable[Media]) -> list[str]:
    return [item.code for item in items if isinstance(item, SourceNotice)]


def loud_at(sound: npt.NDArray[np.float32], begin_s: float, end_s: float) -> bool:
    part = sound[round(begin_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)]
    return float(np.sqrt(np.mean(part**2))) > 0.05


async def test_sound_and_pictures_share_one_timeline() -> None:
    async with nothing_left():
        began = now()
        async with connected(Machine("audio", began), Machine("video", began)) as source:
            items = await take(source, heard_until(6))
        assert codes_of(items) == []
        sound = sound_of(items)
        loudness = np.sqrt(np.mean(sound[: len(sound) // 320 * 320].reshape(-1, 320) ** 2, axis=1))
        onsets = np.flatnonzero((loudness[1:] > 0.1) & (loudness[:-1] < 0.05)) * 0.02 + 0.02
        assert len(onsets) >= 4
        frames = frames_of(items)
        for frame in frames:
            phase = (frame.time - onsets[0]) % 1
            if 0.12 < phase < 0.38 or 0.62 < phase < 0.88:
                assert (frame.image.mean() > 128) == (phase < 0.5), f"at {frame.time} s"
        times = [frame.time for frame in frames]
        assert times == sorted(times)
        assert all(round(b - a, 1) >= 0.1 for a, b in itertools.pairwise(times))
        assert 4 * 5 <= len(frames) <= 6 * 5 + 2


async def test_pictures_are_reduced_before_they_are_converted() -> None:
    began = now()
    async with connected(
        Machine("audio", began), Machine("video", began, size=(1280, 720))
    ) as source:
        items = await take(source, lambda item: isinstance(item, VideoFrame))
    (frame,) = frames_of(items)
    assert frame.image.shape == (360, 640, 3)
    assert frame.scale == 2


async def test_sound_alone() -> None:
    async with connected(Machine("audio", now())) as source:
        assert (source.has_audio, source.has_video) == (True, False)
        items = await take(source, heard_until(2))
    assert loud_at(sound_of(items), 0, 2)


async def test_pictures_alone() -> None:
    async with connected(Machine("video", now())) as source:
        assert (source.has_audio, source.has_video) == (False, True)
        items = await take(source, lambda item: isinstance(item, VideoFrame) and item.time > 2)
    frames = frames_of(items)
    assert len(frames) == len(items)
    assert 8 <= len(frames) <= 12


async def test_a_microphone_that_never_speaks_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webrtc, "MISSING_S", 1.0)
    began = now()
    microphone = Machine("audio", began)
    microphone.off = True
    async with connected(microphone, Machine("video", began)) as source:
        items = await take(source, lambda item: isinstance(item, VideoFrame) and item.time > 1)
        assert not source.has_audio
    assert codes_of(items) == ["microphone.missing"]


async def test_a_gap_becomes_silence_and_a_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "LOST_S", 1.0)
    began = now()
    microphone = Machine("audio", began)
    async with connected(microphone, Machine("video", began)) as source:
        before = await take(source, heard_until(2))
        microphone.off = True
        between = await take(
            source, lambda item: isinstance(item, SourceNotice) and item.code == "microphone.lost"
        )
        await asyncio.sleep(1)
        microphone.off = False
        after = await take(
            source, lambda item: isinstance(item, SourceNotice) and item.code == "microphone.back"
        )
        rest = await take(source, heard_until(7))
    items = [*before, *between, *after, *rest]
    assert sorted(codes_of(items)) == ["audio.gap", "microphone.back", "microphone.lost"]
    sound = sound_of(items)
    assert loud_at(sound, 0, 1)
    assert not loud_at(sound, 2.7, 3.5)
    assert loud_at(sound, 5.5, 7)
    assert len(frames_of(items)) > 20, "pictures go on without sound"


async def test_a_paused_person_is_neither_heard_nor_seen() -> None:
    began = now()
    async with connected(Machine("audio", began), Machine("video", began)) as source:
        before = await take(source, heard_until(2))
        source.paused = True
        # What had come before may still be on its way to us.
        await take(source, heard_until(2.5))
        paused = await take(source, heard_until(4.5))
        source.paused = False
        after = await take(source, heard_until(7))
    assert frames_of(before)
    assert frames_of(paused) == []
    silence = [item for item in paused if isinstance(item, AudioBlock)]
    assert silence[0].start >= 2.5 * SAMPLE_RATE - 512
    assert max(float(np.abs(block.samples).max()) for block in silence) < 1e-3
    assert codes_of([*paused, *after]) == [], "a pause is the person's wish, not a fault"
    assert frames_of(after)
    assert any(np.abs(b.samples).max() > 0.1 for b in after if isinstance(b, AudioBlock))


async def test_who_reads_too_slowly_loses_but_is_never_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webrtc, "HELD_SOUNDS", 50)  # 1 s
    monkeypatch.setattr(webrtc, "HELD_FRAMES", 3)
    began = now()
    async with connected(Machine("audio", began), Machine("video", began)) as source:
        await take(source, heard_until(0.5))
        await asyncio.sleep(4)
        asked = now()
        items = await take(source, heard_until(5))
        assert now() - asked < 2, "what had come was there at once"
    assert codes_of(items) == ["audio.gap"]
    stops = [item.stop for item in items if isinstance(item, AudioBlock)]
    assert stops[-1] >= 5 * SAMPLE_RATE, "the clock goes on over what was lost"
    late = [frame for frame in frames_of(items) if frame.time < 4]
    assert len(late) <= 3


class Discontinuous(Machine):
    """A microphone whose sender leaves out silence, as Opus does with DTX."""

    async def recv(self) -> av.AudioFrame | av.VideoFrame:
        while not (sound := await super().recv()).to_ndarray().any():
            pass
        return sound


async def test_a_sender_that_leaves_out_silence_is_told_once_and_summed_up() -> None:
    microphone = Discontinuous("audio", now())
    async with connected(microphone) as source:
        items = await take(source, heard_until(5))
        assert microphone.pc is not None
        await microphone.pc.close()
        items += await asyncio.wait_for(take(source, lambda item: False), 20)
    told = [item.message for item in items if isinstance(item, SourceNotice)]
    assert len(told) == 2
    assert "no sound for 0.5" in told[0]
    assert re.match(r"no sound [345] more times, (1\.[5-9]|2\.[0-6]) s in all", told[1])
    # Where something was said it is heard: half of each second, after the first.
    peaks = np.abs(sound_of(items)[: 4 * SAMPLE_RATE].reshape(-1, SAMPLE_RATE // 20)).max(axis=1)
    assert (peaks > 0.1).mean() == pytest.approx(0.5, abs=0.12)


async def test_the_end_of_the_tracks_is_the_end() -> None:
    began = now()
    microphone = Machine("audio", began)
    async with connected(microphone, Machine("video", began)) as source:
        await take(source, heard_until(1))
        assert microphone.pc is not None
        await microphone.pc.close()
        rest = await asyncio.wait_for(take(source, lambda item: False), 20)
    assert codes_of(rest) == []


async def test_a_peer_that_falls_silent_for_good_is_given_up() -> None:
    microphone = Machine("audio", now())
    async with connected(microphone, idle_s=2) as source:
        await take(source, heard_until(1))
        microphone.off = True
        with pytest.raises(SourceError, match="test has sent nothing for 2 s"):
            await asyncio.wait_for(take(source, lambda item: False), 20)


async def test_pictures_that_are_too_big_end_it() -> None:
    camera = Machine("video", now(), size=(640, 480))
    async with connected(Machine("audio", now()), camera, max_frame_mpx=0.3) as source:
        with pytest.raises(SourceError, match=r"640 x 480: at most 0.3 million pixels"):
            await asyncio.wait_for(take(source, lambda item: False), 60)


async def test_closing_ends_whoever_waits() -> None:
    async with nothing_left(), connected(Machine("audio", now())) as source:
        await take(source, heard_until(0.5))
        waiting = asyncio.create_task(take(source, lambda item: False))
        await asyncio.sleep(0.2)
        await source.aclose()
        await asyncio.wait_for(waiting, 5)
        await source.aclose()


async def test_a_lost_connection_is_told() -> None:
    async with connected(Machine("audio", now())) as source:
        await take(source, heard_until(0.5))
        source.end("the connection was lost")
        with pytest.raises(SourceError, match="the connection was lost"):
            await take(source, lambda item: False)


def test_senders_reach_us_with_the_codecs_of_browsers() -> None:
    """Which is all aiortc has; a change there must be noticed."""
    for kind, codecs in (("audio", {"opus"}), ("video", {"VP8", "H264"})):
        known = {c.mimeType.split("/")[1] for c in RTCRtpSender.getCapabilities(kind).codecs}
        assert codecs <= known
