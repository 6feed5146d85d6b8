"""Files and URLs as sources: exact samples, true times, clear refusals. Real media, made here."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_server import Files, serving
from recordings import (
    Sound,
    as_written,
    codes,
    film,
    frames_of,
    read,
    resampled,
    sound_of,
    tone,
    write,
)
from talks import Talk

from realtime.media import SAMPLE_RATE, AudioBlock, Media, SourceNotice, VideoFrame
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
async def test_timestamps_that_begin_anew_go_on(tmp_path: Path) -> None:
    """As of a stream that was restarted: two recordings from 0, one after the other."""
    for n in (1, 2):
        write(tmp_path / f"{n}.ts", [(0, tone(20, 48000))], 48000, codec="mp2")
    parts = [(tmp_path / f"{n}.ts").read_bytes() for n in (1, 2)]
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    items = await read(tmp_path / "both.ts")
    assert sound_of(items).size / SAMPLE_RATE == pytest.approx(40, abs=0.2)
    assert np.abs(sound_of(items)[30 * SAMPLE_RATE :]).max() > 0.2


@pytest.mark.slow
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


@pytest.mark.slow
async def test_silence_that_a_sender_left_out_is_told_once_and_summed_up(
    sentence: Talk, tmp_path: Path
) -> None:
    """Speech in Opus, without the packets of the pauses: a call with DTX, as a browser records."""
    (text,) = sentence.sentences
    speech = sound_of(await read(sentence.path))[: round(text.end * SAMPLE_RATE)]
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


@pytest.mark.slow
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
