"""Files and URLs as sources: exact samples, true times, clear refusals. Real media, made here."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing, suppress
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_server import Breaking, Files, serving
from recordings import (
    Sound,
    as_written,
    check,
    codes,
    film,
    follow,
    frames_of,
    read,
    refusal,
    resampled,
    sound_of,
    source_threads,
    take,
    tone,
    write,
)

from models.errors import SourceError
from realtime.media import SAMPLE_RATE, AudioBlock, Media, SourceNotice, VideoFrame
from realtime.sources import open_source
from realtime.sources.decoding import MediaReader
from realtime.sources.timeline import AudioTimeline, Interleaver, media_time

# --- samples ---


async def test_a_16_khz_mono_wav_passes_unchanged(tmp_path: Path) -> None:
    sound = tone(2.345)
    items = await read(write(tmp_path / "a.wav", [(0, sound)]))
    assert np.array_equal(sound_of(items), as_written(sound)[0].astype(np.float32) / 32768)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2, 6])
async def test_chunk_borders_leave_no_trace(tmp_path: Path, rate: int, channels: int) -> None:
    sound = tone(1.5, rate, channels=channels)
    items = await read(write(tmp_path / "a.mkv", [(0, sound)], rate))
    assert np.array_equal(sound_of(items), resampled(sound, rate))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 44100, 48000])
async def test_resampling_keeps_time_and_loudness(tmp_path: Path, rate: int, channels: int) -> None:
    items = await read(write(tmp_path / "a.wav", [(0, tone(1, rate, channels=channels))], rate))
    expected = 0.3 * np.sin(2 * np.pi * 440 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    heard = sound_of(items)
    assert len(heard) == SAMPLE_RATE
    # A delay of one sample would leave an error of 0.05.
    assert np.sqrt(np.mean((heard - expected)[100:-100] ** 2)) < 0.012


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=20))
def test_any_chunks_give_the_same_samples(lengths: list[int]) -> None:
    sound = as_written(tone(sum(lengths) / 44100, 44100, channels=2))
    timeline = AudioTimeline()
    items: list[Media] = []
    for start, stop in itertools.pairwise([0, *itertools.accumulate(lengths)]):
        chunk = np.ascontiguousarray(sound[:, start:stop].T.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(chunk, "s16", "stereo")
        frame.sample_rate = 44100
        items += timeline.add(frame, start / 44100)
    items += timeline.finish()
    whole = tone(sum(lengths) / 44100, 44100, channels=2)
    assert np.array_equal(sound_of(items), resampled(whole, 44100))


async def test_a_change_of_sample_rate_midway_is_followed(tmp_path: Path) -> None:
    parts = []
    for rate in (44100, 22050):
        path = tmp_path / f"{rate}.mp3"
        options = {"write_xing": "0", "id3v2_version": "0"}
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream("libmp3lame", rate=rate, layout="mono")
            frame = av.AudioFrame.from_ndarray(as_written(tone(2, rate)), "s16p", "mono")
            frame.sample_rate = rate
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
        parts.append(path.read_bytes())
    (tmp_path / "both.mp3").write_bytes(b"".join(parts))
    heard = sound_of(await read(tmp_path / "both.mp3"))
    assert len(heard) / SAMPLE_RATE == pytest.approx(4, abs=0.3)
    for second in (1, 3):  # the tone's pitch is the same before and after
        spectrum = np.abs(np.fft.rfft(heard[second * SAMPLE_RATE :][:SAMPLE_RATE]))
        assert np.argmax(spectrum) == pytest.approx(440, abs=2)


# --- time ---


@pytest.mark.parametrize("offset", [0.5, 2.25])
async def test_sound_that_starts_after_the_pictures(tmp_path: Path, offset: float) -> None:
    sound = tone(1)
    path = write(tmp_path / "a.mkv", [(offset, sound)], frames=film(3))
    items = await read(path)
    heard = sound_of(items)
    begin = round(offset * SAMPLE_RATE)
    assert not heard[:begin].any()
    assert np.array_equal(heard[begin:], resampled(sound, SAMPLE_RATE))
    assert frames_of(items)[0].time == 0.0
    assert codes(items) == []


async def test_pictures_that_start_after_the_sound(tmp_path: Path) -> None:
    sound = tone(3)
    path = write(tmp_path / "a.mkv", [(0, sound)], frames=film(2, start=0.7))
    items = await read(path)
    assert np.array_equal(sound_of(items), resampled(sound, SAMPLE_RATE))
    times = [frame.time for frame in frames_of(items)]
    assert times[0] == pytest.approx(0.7, abs=0.002)
    assert len(times) == 11  # 0.7 to 2.66 s touches eleven slots of 0.2 s


async def test_media_time_begins_with_the_first_timestamp(tmp_path: Path) -> None:
    sound = tone(1)
    path = write(tmp_path / "a.mkv", [(5.25, sound)], frames=film(1, start=5))
    items = await read(path)
    assert frames_of(items)[0].time == 0.0
    assert np.flatnonzero(sound_of(items))[0] == pytest.approx(SAMPLE_RATE / 4, abs=2)


async def test_a_gap_in_the_sound_is_filled_and_told(tmp_path: Path) -> None:
    before, after = tone(1), tone(1, hz=700)
    items = await read(write(tmp_path / "a.mkv", [(0, before), (1.5, after)]))
    heard = sound_of(items)
    assert np.array_equal(heard[:16000], resampled(before, SAMPLE_RATE))
    assert not heard[16000:24000].any()
    assert np.array_equal(heard[24000:], resampled(after, SAMPLE_RATE))
    notices = [item for item in items if isinstance(item, SourceNotice)]
    assert [(n.code, n.time) for n in notices] == [("audio.gap", 1.0)]


def timeline_of(pieces: list[tuple[float | None, Sound]]) -> list[Media]:
    timeline = AudioTimeline()
    items: list[Media] = []
    for start, sound in pieces:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), "fltp", "mono")
        frame.sample_rate = SAMPLE_RATE
        items += timeline.add(frame, start)
    return [*items, *timeline.finish()]


@given(st.lists(st.floats(-0.015, 0.015), min_size=50, max_size=50))
def test_jitter_moves_no_sample(jitter: list[float]) -> None:
    sound = tone(1)
    pieces: list[tuple[float | None, Sound]] = [(0.0, sound[:, :320])]
    for n, off in enumerate(jitter[1:], 1):
        pieces.append((n * 0.02 + off, sound[:, n * 320 : n * 320 + 320]))
    items = timeline_of(pieces)
    assert np.array_equal(sound_of(items), sound[0])
    assert codes(items) == []


def test_sound_that_overlaps_is_cut() -> None:
    items = timeline_of([(0.0, tone(1)), (0.5, tone(1, hz=700)), (None, tone(0.1))])
    heard = sound_of(items)
    assert len(heard) == round(1.6 * SAMPLE_RATE)
    assert np.array_equal(heard[:16000], tone(1)[0])
    assert np.array_equal(heard[16000:24000], tone(1, hz=700)[0, 8000:])
    assert codes(items) == []


@given(st.lists(st.tuples(st.booleans(), st.floats(0.001, 0.5)), max_size=60))
def test_merging_sorts_what_is_not_too_far_apart(steps: list[tuple[bool, float]]) -> None:
    merger = Interleaver(hold_s=100)
    pushed: list[Media] = []
    merged: list[Media] = []
    stop = 0
    for is_sound, step in steps:
        if is_sound:
            block = AudioBlock(stop, np.zeros(round(step * SAMPLE_RATE), np.float32))
            stop = block.stop
            merger.push(block)
            merger.audio_s = stop / SAMPLE_RATE
            pushed.append(block)
        else:
            merger.video_s += step
            frame = VideoFrame(merger.video_s, np.zeros((1, 1, 3), np.uint8))
            merger.push(frame)
            pushed.append(frame)
        merged += merger.ready()
    merged += merger.rest()
    assert len(merged) == len(pushed)
    times = [media_time(item) for item in merged]
    assert times == sorted(times)


def test_merging_waits_no_longer_than_its_bound() -> None:
    merger = Interleaver(hold_s=1.0)
    taken: list[Media] = []
    for n in range(100):  # no picture ever comes
        merger.push(AudioBlock(n * 1600, np.zeros(1600, np.float32)))
        merger.audio_s = (n + 1) / 10
        taken += merger.ready()
        assert n - len(taken) < 11
    assert len(taken) >= 89


async def test_timestamps_that_begin_anew_go_on(tmp_path: Path) -> None:
    """As of a stream that was restarted: two recordings from 0, one after the other."""
    for n in (1, 2):
        write(tmp_path / f"{n}.ts", [(0, tone(20, 48000))], 48000, codec="mp2")
    parts = [(tmp_path / f"{n}.ts").read_bytes() for n in (1, 2)]
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    items = await read(tmp_path / "both.ts")
    assert sound_of(items).size / SAMPLE_RATE == pytest.approx(40, abs=0.2)
    assert np.abs(sound_of(items)[30 * SAMPLE_RATE :]).max() > 0.2


@pytest.mark.parametrize(
    ("suffix", "codec", "video_codec"),
    [
        ("opus", "libopus", None),
        ("oga", "flac", None),
        ("flac", "flac", None),
        ("aac", "aac", None),
        ("ts", "mp2", None),
        ("ts", "aac", "libx264"),
        ("mpg", "mp2", "mpeg2video"),
        ("nut", "aac", "mpeg4"),
        ("wav", "pcm_s16le", None),
        ("w64", "pcm_s16le", None),
        ("aiff", "pcm_s16be", None),
        ("au", "pcm_s16be", None),
        ("caf", "pcm_s16le", None),
        ("m4a", "aac", None),
        ("mp4", "aac", "libx264"),
        ("mov", "pcm_s16le", "mpeg4"),
        ("avi", "pcm_s16le", "mpeg4"),
        ("flv", "aac", "libx264"),
        ("asf", "libmp3lame", "mpeg4"),
        ("mkv", "aac", "libx264"),
        ("webm", "libopus", "libvpx"),
    ],
)
async def test_every_piece_of_a_joined_recording_is_heard_where_it_stands(
    tmp_path: Path, suffix: str, codec: str, video_codec: str | None
) -> None:
    """Pieces of 3, 2 and 4 s, each with its clock from 0 and a pitch of its own."""
    pieces = [
        write(
            tmp_path / f"{hz}.{suffix}",
            [(0, tone(seconds, 48000, hz=hz))],
            48000,
            codec=codec,
            frames=film(seconds) if video_codec else (),
            video_codec=video_codec or "mpeg4",
        )
        for seconds, hz in ((3, 440), (2, 700), (4, 900))
    ]
    path = tmp_path / f"joined.{suffix}"
    path.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    items = await read(path)
    heard = sound_of(items)
    assert len(heard) / SAMPLE_RATE == pytest.approx(9, abs=0.15)
    for second, hz in ((1, 440), (3.6, 700), (7, 900)):
        spectrum = np.abs(np.fft.rfft(heard[int(second * SAMPLE_RATE) :][:SAMPLE_RATE]))
        assert np.argmax(spectrum) == pytest.approx(hz, abs=2)
    if video_codec:
        times = [frame.time for frame in frames_of(items)]
        assert len(times) == pytest.approx(45, abs=3)
        assert max(b - a for a, b in itertools.pairwise(times)) < 0.5
    notices = [item for item in items if isinstance(item, SourceNotice)]
    told = [n.message for n in notices if n.code == "source.clocks"]
    if suffix != "aac":  # ADTS has no timestamps
        assert [" 3 clocks" in message for message in told] == [True]


async def test_silence_that_a_sender_left_out_is_told_once_and_summed_up(
    shared: Path, tmp_path: Path
) -> None:
    """Speech in Opus, without the packets of the pauses: a call with DTX, as a browser records."""
    speech = sound_of(await read(shared / "media/speech/LJ001-0002.wav"))
    said = np.tile(np.concatenate((speech, np.zeros(SAMPLE_RATE, np.float32))), 12)
    whole = write(
        tmp_path / "whole.webm", [(0, np.repeat(said, 3)[np.newaxis])], 48000, codec="libopus"
    )
    period, left_out = (len(speech) + SAMPLE_RATE) / SAMPLE_RATE, 0
    with av.open(str(whole)) as container, av.open(str(tmp_path / "dtx.webm"), "w") as out:
        stream = out.add_stream_from_template(container.streams.audio[0])
        for packet in container.demux():
            if packet.pts is None:
                continue
            if float(packet.pts * packet.time_base) % period > len(speech) / SAMPLE_RATE + 0.1:
                left_out += 1
                continue
            packet.stream = stream
            out.mux(packet)
    assert left_out > 500
    items = await read(tmp_path / "dtx.webm")
    assert codes(items) == ["audio.gap"] * 2
    told = [item.message for item in items if isinstance(item, SourceNotice)]
    assert "no sound for 0." in told[0]
    assert "no sound 10 more times" in told[1]
    # Every word is in its place: the loudness of each 0.1 s.
    said, heard = (sound[: 30 * SAMPLE_RATE] for sound in (said, sound_of(items)))
    loudness = [np.std(sound.reshape(-1, SAMPLE_RATE // 10), axis=1) for sound in (said, heard)]
    assert np.corrcoef(loudness)[0, 1] > 0.9


async def test_a_stream_with_discontinuities_is_one_recording(tmp_path: Path) -> None:
    """HLS: the clock of each segment begins anew."""
    playlist = ["#EXTM3U", "#EXT-X-TARGETDURATION:3", "#EXT-X-VERSION:3"]
    for hz in (440, 700, 900):
        sound = tone(3, 48000, hz=hz)
        write(tmp_path / f"{hz}.ts", [(0, sound)], 48000, codec="aac", frames=film(3))
        playlist += ["#EXT-X-DISCONTINUITY", "#EXTINF:3.0,", f"{hz}.ts"]
    (tmp_path / "all.m3u8").write_text("\n".join([*playlist, "#EXT-X-ENDLIST", ""]))
    with serving(partial(Files, directory=str(tmp_path))) as url:
        items = await read(f"{url}/all.m3u8")
    heard = sound_of(items)
    assert len(heard) / SAMPLE_RATE == pytest.approx(9, abs=0.2)
    for second, hz in ((1, 440), (4, 700), (7, 900)):
        spectrum = np.abs(np.fft.rfft(heard[second * SAMPLE_RATE :][:SAMPLE_RATE]))
        assert np.argmax(spectrum) == pytest.approx(hz, abs=2)


# --- pictures ---


async def test_frames_are_thinned_and_true_to_their_time(tmp_path: Path) -> None:
    items = await read(write(tmp_path / "a.mkv", [(0, tone(4))], frames=film(4)))
    frames = frames_of(items)
    assert [round(frame.time, 3) for frame in frames] == [n / 5 for n in range(20)]
    for n, frame in enumerate(frames):
        assert frame.image.shape == (120, 160, 3)
        assert frame.image.mean() == pytest.approx(n * 2 + 20, abs=3)


async def test_of_pictures_coded_alone_those_that_are_kept_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = 0
    see = MediaReader._see

    def counting(reader: MediaReader, picture: av.VideoFrame) -> Iterator[Media]:
        nonlocal decoded
        decoded += 1
        return see(reader, picture)

    monkeypatch.setattr(MediaReader, "_see", counting)
    clip = write(tmp_path / "a.mkv", [(0, tone(20))], frames=film(20), video_codec="mjpeg")
    frames = frames_of(await read(clip))
    assert [round(frame.time, 3) for frame in frames] == [n / 5 for n in range(100)]
    for n, frame in enumerate(frames):
        assert frame.image.mean() == pytest.approx(n * 2 + 20, abs=3)
    assert decoded < 250  # of 500: some are on their way when the first of their slot is there


async def test_a_variable_frame_rate(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.5, 0.51, 0.52, 1.9, 2.0, 2.35, 2.9]
    frames = [(time, (100, 100, 100)) for time in times]
    items = await read(write(tmp_path / "a.mkv", [(0, tone(3))], frames=frames))
    assert [round(f.time, 3) for f in frames_of(items)] == [0.0, 0.5, 1.9, 2.0, 2.35, 2.9]


HALVES = np.array([[[200, 0, 0], [0, 0, 200]]], np.uint8)  # red left, blue right


def write_halves(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """A mp4 of 320 x 160, red left, blue right, to be shown through the matrix (a, b, c, d)."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 320, 160, "yuv420p"
        audio = container.add_stream("aac", rate=16000, layout="mono")
        picture = np.ascontiguousarray(HALVES.repeat(160, 0).repeat(160, 1))
        for _ in range(10):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture)))
        sound = av.AudioFrame.from_ndarray(tone(0.4), "fltp", "mono")
        sound.sample_rate = 16000
        container.mux(audio.encode(sound))
        for stream in (video, audio):
            container.mux(stream.encode())
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44  # the matrix in the first track's header
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("matrix", "red"),
    [
        ((1, 0, 0, 1), "left"),
        ((-1, 0, 0, -1), "right"),  # turned by 180 degrees
        ((-1, 0, 0, 1), "right"),  # mirrored
        ((0, 1, -1, 0), "top"),  # turned clockwise, as phones do it
        ((0, -1, 1, 0), "bottom"),
        ((0, 1, 1, 0), "top"),  # mirrored and turned
    ],
)
async def test_pictures_are_upright(
    tmp_path: Path, matrix: tuple[int, int, int, int], red: str
) -> None:
    items = await read(write_halves(tmp_path / "a.mp4", matrix))
    frame = frames_of(items)[0]
    image = frame.image
    height, width = image.shape[:2]
    assert (width, height) == ((320, 160) if red in ("left", "right") else (160, 320))
    assert frame.scale == 1.0
    part = {
        "left": image[:, : width // 2 - 8],
        "right": image[:, width // 2 + 8 :],
        "top": image[: height // 2 - 8],
        "bottom": image[height // 2 + 8 :],
    }[red]
    assert part.mean(axis=(0, 1)) == pytest.approx([200, 0, 0], abs=12)


async def test_decoded_pictures_are_let_go_without_the_collector_of_cycles(tmp_path: Path) -> None:
    def alive() -> list[object]:
        return [one for one in gc.get_objects() if isinstance(one, av.VideoFrame)]

    path = write_halves(tmp_path / "a.mp4", (0, 1, -1, 0))
    gc.collect()
    gc.disable()
    try:
        of_others = {id(one): one for one in alive()}  # held, so that no other gets their number
        assert frames_of(await read(path))
        deadline = time.monotonic() + 10
        while left := [one for one in alive() if id(one) not in of_others]:
            assert time.monotonic() < deadline, left
            left.clear()
            await asyncio.sleep(0.01)  # the decoder's own picture goes when its thread ends
    finally:
        gc.enable()


async def test_pixels_are_square(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.mkv",
        [(0, tone(1))],
        frames=film(1),
        size=(720, 576),
        aspect=Fraction(16, 11),
    )
    frame = frames_of(await read(path))[0]
    shown = 720 * 16 / 11
    assert frame.image.shape[1] == 640
    assert frame.image.shape[0] == pytest.approx(576 * 640 / shown, abs=1)
    assert frame.scale == pytest.approx(shown / 640, rel=0.001)


async def test_cover_art_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        audio = container.add_stream("aac", rate=16000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic.value
        sound = av.AudioFrame.from_ndarray(tone(1), "fltp", "mono")
        sound.sample_rate = 16000
        picture = np.zeros((64, 64, 3), np.uint8)
        container.mux(cover.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(audio.encode(sound))
        container.mux(audio.encode())
    async with aclosing(await open_source(str(path), "fast")) as source:
        assert not source.has_video
    assert frames_of(await read(path)) == []


@pytest.mark.parametrize(
    ("suffix", "sound_codec", "video_codec"),
    [
        ("mp4", "aac", "libx264"),
        ("mov", "pcm_s16le", "mpeg4"),
        ("mkv", "libopus", "libx264"),
        ("webm", "libopus", "libvpx"),
        ("avi", "libmp3lame", "libx264"),
        ("mpg", "mp2", "mpeg2video"),
        ("ts", "aac", "libx264"),
    ],
)
async def test_containers_of_video(
    tmp_path: Path, suffix: str, sound_codec: str, video_codec: str
) -> None:
    path = write(
        tmp_path / f"a.{suffix}",
        [(0, tone(3, 48000))],
        48000,
        codec=sound_codec,
        frames=film(3),
        video_codec=video_codec,
    )
    items = await read(path)
    assert sound_of(items).size / SAMPLE_RATE == pytest.approx(3, abs=0.15)
    assert len(frames_of(items)) in (15, 16)
    assert codes(items) == []
    for frame in frames_of(items):
        # Ten levels a second; AVI knows the times of frames to two frames only.
        assert frame.image.mean() == pytest.approx(frame.time * 10 + 20, abs=4)


@pytest.mark.parametrize(
    ("suffix", "codec"), [("wav", "pcm_s16le"), ("flac", "flac"), ("mp3", "libmp3lame")]
)
async def test_containers_of_sound(tmp_path: Path, suffix: str, codec: str) -> None:
    path = write(tmp_path / f"a.{suffix}", [(0, tone(3, 48000))], 48000, codec=codec)
    async with aclosing(await open_source(str(path), "fast")) as source:
        assert (source.name, source.has_audio, source.has_video) == (path.name, True, False)
        assert source.duration == pytest.approx(3, abs=0.1)
    assert sound_of(await read(path)).size / SAMPLE_RATE == pytest.approx(3, abs=0.1)


# --- pace, hand-over, stopping ---


async def test_both_paces_deliver_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", [(0.2, tone(1.2, 44100))], 44100, frames=film(1.4))
    fast = await read(path)
    source = await open_source(str(path))
    assert source.live
    live: list[Media] = []
    began = time.perf_counter()
    async with aclosing(source):
        async for item in source:
            live.append(item)
            assert time.perf_counter() - began > media_time(item) - 0.05
    assert time.perf_counter() - began < 60  # however busy the machine is
    assert len(live) == len(fast)
    for one, other in zip(live, fast, strict=True):
        assert type(one) is type(other)
        assert media_time(one) == media_time(other)
        if isinstance(one, AudioBlock) and isinstance(other, AudioBlock):
            assert np.array_equal(one.samples, other.samples)
        if isinstance(one, VideoFrame) and isinstance(other, VideoFrame):
            assert np.array_equal(one.image, other.image)


async def threads_end() -> None:
    for thread in source_threads():  # it ends just after it has told so
        await asyncio.to_thread(thread.join, 60)
    assert source_threads() == []


async def test_a_consumer_that_waits_makes_the_reader_wait(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", [(0, tone(60))])
    async with aclosing(await open_source(str(path), "fast")) as source:
        await asyncio.sleep(0.3)
        assert source._queue.qsize() <= source.HANDOVER_ITEMS  # type: ignore[attr-defined]
        [thread] = source_threads()
        assert thread.is_alive()
    await threads_end()


async def test_closing_ends_a_consumer_that_waits(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", [(0, tone(60))])
    source = await open_source(str(path))
    items: list[Media] = []
    consumer = asyncio.create_task(follow(source, items))
    while not items:  # noqa: ASYNC110 - it is told by nobody
        await asyncio.sleep(0.01)
    await source.aclose()
    await source.aclose()
    await asyncio.wait_for(consumer, 60)
    assert media_time(items[-1]) < 59  # it was not played to its end
    await threads_end()


async def test_a_consumer_that_is_cancelled_leaves_nothing_behind(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", [(0, tone(30))], frames=film(30))
    consumer = asyncio.create_task(take(await open_source(str(path))))
    await asyncio.sleep(0.3)
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    await threads_end()


def test_importing_sources_is_cheap() -> None:
    code = "import sys, realtime.sources; print({'av', 'cv2', 'sounddevice'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- what cannot be opened ---


async def test_files_that_cannot_be_opened(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text, empty, picture = (tmp_path / name for name in ("text.mp4", "empty.mp4", "a.png"))
    text.write_text("This is no video. " * 1000)
    empty.touch()
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (tmp_path / "notes.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    silent = write(tmp_path / "silent.mp4", frames=film(1))
    assert "missing.mp4 does not exist: check" in await refusal(str(tmp_path / "missing.mp4"))
    assert "is a directory: give one file" in await refusal(str(tmp_path))
    assert "text.mp4 is not a sound or video file" in await refusal(str(text))
    assert "empty.mp4 is empty (0 bytes)" in await refusal(str(empty))
    assert "a.png" in await refusal(str(picture))
    assert "notes.srt is not a sound or video file" in await refusal(str(tmp_path / "notes.srt"))
    assert "silent.mp4 has no sound: give" in await refusal(str(silent))
    unheard = write(tmp_path / "unheard.mkv", [(0, tone(1))], 48_000, codec="libopus")
    unheard.write_bytes(unheard.read_bytes().replace(b"A_OPUS", b"A_ODDS"))
    assert "unheard.mkv is in a format that cannot be decoded" in await refusal(str(unheard))
    assert "cannot be opened" in await refusal("a\0b")
    assert "ftp:// cannot be opened: give a file" in await refusal("ftp://example.org/a.mp4")
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="this user may read everything"
)
async def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", [(0, tone(1))])
    path.chmod(0)
    assert "may not be read: change its permissions" in await refusal(str(path))


async def test_a_colon_in_a_name_is_no_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows has no colons in names")
    write(tmp_path / "a.wav", [(0, tone(1))]).rename(tmp_path / "http:a.wav")
    monkeypatch.chdir(tmp_path)
    assert len(sound_of(await read("http:a.wav"))) == SAMPLE_RATE


# --- what breaks midway ---


def cut(path: Path, part: float) -> Path:
    data = path.read_bytes()
    short = path.with_name(f"cut.{path.name}")
    short.write_bytes(data[: int(len(data) * part)])
    return short


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "aac"), ("mkv", "aac"), ("flac", "flac")])
async def test_a_file_cut_off_in_the_middle(
    tmp_path: Path, suffix: str, codec: str, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = write(
        tmp_path / f"a.{suffix}",
        [(0, tone(6, 44100))],
        44100,
        codec=codec,
        frames=() if suffix == "flac" else film(6),
        options={"movflags": "faststart"},
    )
    expected = await read(whole)
    items: list[Media] = []
    async with aclosing(await open_source(str(cut(whole, 0.6)), "fast")) as source:
        with pytest.raises(SourceError, match=r"is cut off: its header promises 6\.\d s"):
            await follow(source, items)
        with pytest.raises(SourceError):  # and says so again to who asks again
            await follow(source, items)
    check(items)
    heard = sound_of(items)
    assert 2 * SAMPLE_RATE < len(heard) < 5 * SAMPLE_RATE
    assert np.array_equal(heard[:-1600], sound_of(expected)[: len(heard) - 1600])
    assert capfd.readouterr().err == ""


async def test_a_file_cut_off_before_its_header(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.mp4", [(0, tone(3))], codec="aac", frames=film(3))
    message = await refusal(str(cut(whole, 0.5)))
    assert "copied whole" in message


async def test_of_sound_in_which_nothing_can_be_decoded_no_end_is_missing(tmp_path: Path) -> None:
    """Opus with a matrix (channel mapping family 3), of which FFmpeg can make nothing."""
    plain = write(tmp_path / "a.webm", [(0, tone(2, 48000))], 48000, codec="libopus")
    path = tmp_path / "b.webm"
    with av.open(str(plain)) as container, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(container.streams.audio[0])
        head = bytes(container.streams.audio[0].codec_context.extradata or b"")
        stream.codec_context.extradata = head[:18] + b"\3\1\0\xff\x7f"
        for packet in container.demux():
            if packet.pts is not None:
                packet.stream = stream
                out.mux(packet)
    items: list[Media] = []
    with pytest.raises(SourceError, match=r"none of the sound in b\.webm could be decoded"):
        async with aclosing(await open_source(str(path), "fast")) as source:
            await follow(source, items)
    assert codes(items) == ["source.corrupt"]


async def test_a_damaged_packet_is_passed_over(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = write(tmp_path / "a.mp4", [(0, tone(6, 44100))], 44100, codec="aac")
    expected = sound_of(await read(whole))
    with av.open(str(whole)) as container:
        packets = [p for p in container.demux() if p.pts is not None and 2 <= p.pts / 44100 < 2.2]
        damaged = [(p.pos, p.size) for p in packets]
    data = bytearray(whole.read_bytes())
    for position, size in damaged:
        data[position : position + size] = b"\xff" * size
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(data)
    items = await read(bad)
    assert codes(items).count("source.corrupt") == 1
    heard = sound_of(items)
    assert len(heard) == pytest.approx(len(expected), abs=2)
    assert not heard[round(2.06 * SAMPLE_RATE) : round(2.14 * SAMPLE_RATE)].any()
    # What comes after the damage sounds when it should, to half a sample.
    assert np.sqrt(np.mean((heard[40000:90000] - expected[40000:90000]) ** 2)) < 0.03
    assert capfd.readouterr().err == ""


async def test_a_stream_that_appears_midway_is_passed_over(tmp_path: Path) -> None:
    sound = write(tmp_path / "a.flv", [(0, tone(12, 44100))], 44100, codec="aac")
    later = write(tmp_path / "b.flv", frames=film(2), video_codec="flv1")
    both = tmp_path / "both.flv"
    both.write_bytes(sound.read_bytes() + later.read_bytes()[13:])  # without its header
    assert np.array_equal(sound_of(await read(both)), sound_of(await read(sound)))


# --- URLs ---


async def test_a_file_over_http_is_that_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", [(0, tone(2))], frames=film(2))
    with serving(partial(Files, directory=str(tmp_path))) as url:
        items = await read(f"{url}/a.mkv")
        message = await refusal(f"{url.replace('//', '//ann:secret@')}/b.mkv")
    assert np.array_equal(sound_of(items), sound_of(await read(path)))
    assert len(frames_of(items)) == 10
    assert "404" in message
    assert "secret" not in message


async def test_what_a_browser_recorded_is_a_recording_over_http_too(tmp_path: Path) -> None:
    """It has neither duration nor index, and the size of its segment is unknown."""
    write(
        tmp_path / "a.webm",
        [(0, tone(3, 48000))],
        48000,
        codec="libopus",
        frames=film(3),
        video_codec="libvpx",
        options={"live": "1"},
    )
    with serving(partial(Files, directory=str(tmp_path))) as url:
        async with aclosing(await open_source(f"{url}/a.webm", "fast")) as source:
            assert (source.live, source.duration) == (False, None)
        items = await read(f"{url}/a.webm")
    assert sound_of(items).size / SAMPLE_RATE == pytest.approx(3, abs=0.05)


async def test_an_unreachable_url_is_refused() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for scheme in ("http", "rtsp"):
        message = await refusal(f"{scheme}://127.0.0.1:{port}/a.mp4")
        assert "connection refused" in message


async def test_a_server_that_answers_and_sends_nothing_is_refused_in_time() -> None:
    handler = type("Hanging", (Breaking,), {"data": b"", "hang": True})
    with serving(handler) as url:
        assert "did not answer within 1 s" in await refusal(f"{url}/live", timeout_s=1.0)


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
async def test_a_server_that_never_answers_is_refused_in_time(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        began = time.perf_counter()
        url = f"{scheme}://127.0.0.1:{mute.getsockname()[1]}/a.mp4"
        assert "did not answer within 1 s" in await refusal(url, timeout_s=1.0)
        assert time.perf_counter() - began < 60  # however busy the machine is


async def test_a_stream_that_falls_silent_ends_with_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ts", [(0, tone(5, 48000))], 48000, codec="mp2")
    handler = type("Hanging", (Breaking,), {"data": path.read_bytes(), "hang": True})
    items: list[Media] = []
    with serving(handler) as url:
        async with aclosing(await open_source(f"{url}/live", timeout_s=2)) as source:
            assert source.live
            with pytest.raises(SourceError, match="broke off: no answer in time"):
                await follow(source, items)
    assert sound_of(items).size / SAMPLE_RATE > 4


class RtspCamera(socketserver.StreamRequestHandler):
    """The least of an RTSP server: 3 s of a tone as G.711 in RTP, interleaved in the connection."""

    def handle(self) -> None:
        while request := self._request():
            method = request[0].split()[0]
            number = next(line for line in request if line.lower().startswith("cseq"))
            headers, body = [number], b""
            if method == "DESCRIBE":
                body = (
                    b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=tone\r\nt=0 0\r\n"
                    b"m=audio 0 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=control:sound\r\n"
                )
                headers += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
            elif method == "SETUP":
                headers += ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1"]
            elif method == "OPTIONS":
                headers += ["Public: DESCRIBE, SETUP, PLAY, TEARDOWN"]
            self._send("\r\n".join(["RTSP/1.0 200 OK", *headers, "", ""]).encode() + body)
            if method == "PLAY":
                return self._play()

    def _request(self) -> list[str]:
        lines = []
        while line := self.rfile.readline().decode().strip():
            lines.append(line)
        return lines

    def _play(self) -> None:
        encoder = av.CodecContext.create("pcm_mulaw", "w")
        encoder.sample_rate, encoder.layout, encoder.format = 8000, "mono", "s16"
        sound = as_written(tone(3, 8000))
        for n in range(150):
            frame = av.AudioFrame.from_ndarray(sound[:, n * 160 : n * 160 + 160], "s16", "mono")
            frame.sample_rate, frame.pts = 8000, n * 160
            payload = b"".join(bytes(packet) for packet in encoder.encode(frame))
            rtp = struct.pack(">BBHII", 0x80, 0, n, n * 160, 1) + payload
            self._send(struct.pack(">cBH", b"$", 0, len(rtp)) + rtp)
            time.sleep(0.015)

    def _send(self, data: bytes) -> None:
        with suppress(ConnectionError):  # the player may have gone
            self.wfile.write(data)


async def test_an_rtsp_stream_is_live() -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), RtspCamera) as server:
        threading.Thread(target=server.serve_forever).start()
        items: list[Media] = []
        url = f"rtsp://127.0.0.1:{server.server_address[1]}/camera"
        async with aclosing(await open_source(url, "fast", timeout_s=5)) as source:
            assert (source.live, source.duration, source.has_video) == (True, None, False)
            await follow(source, items)
        server.shutdown()
    check(items)
    heard = sound_of(items)
    assert len(heard) == 3 * SAMPLE_RATE
    assert np.sqrt(np.mean((heard - resampled(tone(3, 8000), 8000)) ** 2)) < 0.01


# --- the real clips ---


@pytest.mark.parametrize(
    ("clip", "seconds", "frames", "shape"),
    [
        ("talker_512.mp4", 8.0, 40, (512, 512, 3)),
        ("talker_700.mp4", 6.11, 31, (640, 640, 3)),
        ("talker_portrait_hevc.mp4", 20.04, 101, (640, 360, 3)),
        ("two_people_interview.mp4", 17.54, 88, (360, 640, 3)),
        ("many_faces_1080p.mp4", 4.21, 21, (360, 640, 3)),
        ("no_face.mp4", 3.97, 20, (360, 640, 3)),
        ("speech/jfk.flac", 11.0, 0, None),
        ("speech/LJ001-0002.wav", 1.9, 0, None),
    ],
)
async def test_real_clips(
    shared: Path, clip: str, seconds: float, frames: int, shape: tuple[int, int, int] | None
) -> None:
    items = await read(shared / "media" / clip)
    assert sound_of(items).size / SAMPLE_RATE == pytest.approx(seconds, abs=0.02)
    assert len(frames_of(items)) == frames
    assert {frame.image.shape for frame in frames_of(items)} == ({shape} if shape else set())
    assert codes(items) == []


async def test_the_clip_without_sound_is_refused(shared: Path) -> None:
    message = await refusal(str(shared / "media" / "no_audio_track.mp4"))
    assert "no_audio_track.mp4 has no sound" in message
