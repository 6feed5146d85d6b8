"""A webcam's parts: real PortAudio on a virtual microphone, real OpenCV on a file of frames."""

from __future__ import annotations

import asyncio
import ctypes.util
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from checkout import require_or_skip
from talks import Talk
from virtual_microphone import VirtualMicrophone, virtual_microphone

from models.errors import SourceError, UsageError
from realtime.media import SAMPLE_RATE, AudioBlock, Media, SourceNotice, VideoFrame
from realtime.sources import Device, Source, list_devices, open_source
from realtime.sources.devices import choose

pytestmark = pytest.mark.slow


@pytest.fixture
def microphone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualMicrophone]:
    if not sys.platform.startswith("linux"):
        pytest.skip("PulseAudio in user space is Linux's")
    with virtual_microphone(tmp_path) as plugged_in:
        for name, value in plugged_in.env.items():
            monkeypatch.setenv(name, value)
        yield plugged_in


@pytest.fixture
def camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever camera is asked for: a file, 800 red frames, 160 x 120, which OpenCV reads alike."""
    import av
    import cv2

    path = tmp_path / "camera.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuvj420p"
        red = np.zeros((120, 160, 3), np.uint8)
        red[..., 0] = 255
        for _ in range(800):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(red)))
        container.mux(stream.encode())
    capture = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda target, backend: capture(str(path)))


async def take(source: Source, until: Callable[[Media], bool]) -> list[Media]:
    """What the source delivers until an item that satisfies `until`, or its end."""
    items: list[Media] = []
    await follow(source, items, until)
    return items


async def follow(
    source: Source, items: list[Media], until: Callable[[Media], bool] = lambda item: False
) -> None:
    """Add to `items` what the source delivers."""
    async for item in source:
        items.append(item)
        if until(item):
            break


def heard(items: list[Media]) -> npt.NDArray[np.float32]:
    blocks = [item for item in items if isinstance(item, AudioBlock)]
    for before, block in itertools.pairwise(blocks):
        assert block.start == before.stop
    assert blocks[0].start == 0
    return np.concatenate([block.samples for block in blocks])


def codes(items: list[Media]) -> list[str]:
    return [item.code for item in items if isinstance(item, SourceNotice)]


def seconds(count: float) -> Callable[[Media], bool]:
    return lambda item: isinstance(item, AudioBlock) and item.stop >= count * SAMPLE_RATE


def noticed(code: str) -> Callable[[Media], bool]:
    return lambda item: isinstance(item, SourceNotice) and item.code == code


def likeness(heard: npt.NDArray[np.float32], said: npt.NDArray[np.float32]) -> float:
    """The peak of the normalised cross-correlation: 1.0 where `heard` contains `said` unchanged."""
    size = 1 << (len(heard) + len(said)).bit_length()
    both = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(said, size)), size)
    at = int(np.argmax(both[: len(heard)]))
    part = heard[at : at + len(said)]
    return float(both[at] / (np.linalg.norm(part) * np.linalg.norm(said)))


async def test_what_is_said_is_heard(
    microphone: VirtualMicrophone, sentence: Talk, decode: Callable[[Path], Any]
) -> None:
    said = decode(sentence.path)
    async with aclosing(await open_source("webcam", camera="off")) as source:
        assert (source.name, source.has_audio, source.has_video) == ("microphone", True, False)
        await take(source, seconds(0.2))
        microphone.play(said)
        items = await take(source, seconds(4.5))
    blocks = [item for item in items if isinstance(item, AudioBlock)]
    sound = np.concatenate([block.samples for block in blocks])
    assert likeness(sound, said) > 0.95
    assert codes(items) == []


async def test_a_microphone_is_chosen_by_index_or_name(microphone: VirtualMicrophone) -> None:
    known = await asyncio.to_thread(list_devices)
    default = next(d for d in known if d.kind == "microphone" and d.default)
    for wanted in (str(default.index), default.name.upper()):
        async with aclosing(await open_source("webcam", camera="off", microphone=wanted)) as source:
            await take(source, seconds(0.1))
    with pytest.raises(UsageError, match=r'"trombone" names no device.*default'):
        await open_source("webcam", camera="off", microphone="trombone")


async def test_a_microphone_that_vanishes_ends_the_source(microphone: VirtualMicrophone) -> None:
    items: list[Media] = []
    async with aclosing(
        await open_source("webcam", camera="off", microphone_retry_s=1.5)
    ) as source:
        items += await take(source, seconds(0.5))
        microphone.pull_out()
        began = time.monotonic()
        with pytest.raises(SourceError, match=r"microphone .* is lost"):
            await follow(source, items)
    assert time.monotonic() - began < 15
    assert codes(items) == ["microphone.lost"]
    assert len(heard(items)) >= SAMPLE_RATE // 2


async def test_a_microphone_that_comes_back_is_used_again(microphone: VirtualMicrophone) -> None:
    async with aclosing(await open_source("webcam", camera="off")) as source:
        items = await take(source, seconds(0.5))
        reached = time.monotonic()
        microphone.pull_out()
        items += await take(source, noticed("microphone.lost"))
        await asyncio.to_thread(microphone.plug_in)
        items += await take(source, noticed("audio.gap"))
        media_s = 0.5 + time.monotonic() - reached + 1.0
        items += await take(source, seconds(media_s))
        passed = time.monotonic() - reached
    assert codes(items) == ["microphone.lost", "microphone.back", "audio.gap"]
    heard(items)
    # The timeline goes on as if the microphone had been there: silence fills its absence.
    assert media_s - 0.5 == pytest.approx(passed, abs=0.7)


async def test_sound_lost_to_a_stalled_session_becomes_silence(
    microphone: VirtualMicrophone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.sources.microphone.QUEUE_S", 0.5)
    async with aclosing(await open_source("webcam", camera="off")) as source:
        items = await take(source, seconds(0.2))
        reached = time.monotonic()
        await asyncio.sleep(4.5)  # 64 blocks and half a second may wait: 2.6 s
        items += await take(source, noticed("audio.gap"))
        media_s = 0.2 + time.monotonic() - reached + 1.0
        items += await take(source, seconds(media_s))
        passed = time.monotonic() - reached
    heard(items)
    assert media_s - 0.2 == pytest.approx(passed, abs=0.7)


async def test_a_camera_is_seen_and_its_loss_survived(
    microphone: VirtualMicrophone, camera: None
) -> None:
    async with aclosing(await open_source("webcam:7")) as source:
        assert source.has_video
        items = await take(source, noticed("camera.lost"))
        after = await take(source, seconds(len(heard(items)) / SAMPLE_RATE + 0.5))
    frames = [item for item in items if isinstance(item, VideoFrame)]
    assert len(frames) >= 3
    for frame in frames:
        assert (frame.image.shape, frame.scale) == ((120, 160, 3), 1.0)
        assert frame.image.mean(axis=(0, 1)) == pytest.approx([254, 0, 0], abs=8)
    slots = [int(frame.time * 5 + 1e-6) for frame in frames]
    assert slots == sorted(set(slots))
    assert any(isinstance(item, AudioBlock) for item in after)
    assert not [thread for thread in threading.enumerate() if thread.name == "camera"]


async def test_a_camera_that_comes_back_is_seen_again(
    microphone: VirtualMicrophone, camera: None
) -> None:
    async with aclosing(await open_source("webcam:7")) as source:
        before = await take(source, noticed("camera.lost"))
        between = await take(source, noticed("camera.back"))
        after = await take(source, lambda item: isinstance(item, VideoFrame))
    lost, back = before[-1], between[-1]
    assert isinstance(lost, SourceNotice)
    assert isinstance(back, SourceNotice)
    assert lost.time < back.time
    assert not any(isinstance(item, VideoFrame) for item in between[:-1])
    assert isinstance(after[-1], VideoFrame)
    assert lost.time < after[-1].time
    heard([*before, *between, *after])  # and no sample is missing


async def test_a_camera_alone(camera: None) -> None:
    items: list[Media] = []
    async with aclosing(await open_source("webcam", camera="7", microphone="off")) as source:
        assert (source.has_audio, source.has_video) == (False, True)
        with pytest.raises(SourceError, match="camera is lost"):
            await follow(source, items)
    assert sum(isinstance(item, VideoFrame) for item in items) >= 3
    assert codes(items) == ["camera.lost"]


async def test_without_a_camera_the_session_goes_by_ear(microphone: VirtualMicrophone) -> None:
    if any(device.kind == "camera" for device in list_devices()):
        pytest.skip("this machine has a camera")
    async with aclosing(await open_source("webcam")) as source:
        assert not source.has_video
        items = await take(source, seconds(0.2))
    assert codes(items) == ["camera.missing"]


@pytest.mark.parametrize(
    "wanted",
    ["97", "9" * 30, "/no/such/camera", "no such camera", "/dev/null", "/dev/zero", "a\0b"],
)
async def test_a_camera_that_was_asked_for_must_be_there(
    wanted: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match=r"camera .* cannot be opened|names no device"):
        await open_source("webcam", camera=wanted, microphone="off")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "wanted",
    ["{}/a.avi", "{}/link.avi", "{}/dangling", "{}/fifo", "{}", "file://{}/a.avi",
     "rtsp://192.0.2.1/1", "http://192.0.2.1/a.avi", "concat://{}/a.avi"],
)  # fmt: skip
async def test_what_opencv_would_decode_is_no_camera(tmp_path: Path, wanted: str) -> None:
    (tmp_path / "a.avi").write_bytes(b"RIFF" * 100)
    (tmp_path / "link.avi").symlink_to(tmp_path / "a.avi")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "fifo")
    wanted = wanted.format(tmp_path)
    with pytest.raises(UsageError, match=r"is no camera: .*/dev/video0") as error:
        await open_source(f"webcam:{wanted}", microphone="off")
    assert wanted in str(error.value)


async def test_without_a_microphone_the_remedy_is_told(
    capfd: pytest.CaptureFixture[str],
) -> None:
    if ctypes.util.find_library("portaudio") is None:
        require_or_skip("PortAudio (Debian: libportaudio2)")
    if any(device.kind == "microphone" for device in list_devices()):
        pytest.skip("this machine has a microphone")
    with pytest.raises(UsageError, match=r"no microphone was found: .*--microphone off"):
        await open_source("webcam")
    assert capfd.readouterr().err == ""


async def test_without_portaudio_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    if not sys.platform.startswith("linux"):
        pytest.skip("elsewhere PortAudio comes with its Python package")
    with pytest.raises(UsageError, match="libportaudio2"):
        await open_source("webcam")


async def test_both_off_is_refused() -> None:
    with pytest.raises(UsageError, match="both off"):
        await open_source("webcam", camera="off", microphone="off")


async def test_a_file_has_no_devices(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave out the devices"):
        await open_source(str(tmp_path / "a.wav"), microphone="1")


def test_choosing() -> None:
    inner = Device("microphone", 0, "Built-in Audio", True)
    usb = Device("microphone", 3, "USB Audio", False)
    plain = Device("microphone", 4, "Audio", False)
    devices = [inner, usb, plain]
    assert choose(devices, "3") is usb
    assert choose(devices, "built") is inner
    assert choose(devices, "audio") is plain  # all of a name goes before a part of one
    with pytest.raises(
        UsageError, match=r'"udio" names several devices: .*0 \(Built-in Audio\), 3'
    ):
        choose(devices, "udio")
    with pytest.raises(UsageError, match=r"no device: .*4 "):
        choose(devices, "7")
