"""Channels of any number to one: what somebody said is in it, whichever channel it is in."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from recordings import as_written, codes, read, sound_of, tone, write

from realtime.media import SAMPLE_RATE, Media
from realtime.sources.timeline import AudioTimeline

Channels = npt.NDArray[np.float32]


def voice(seconds: float = 2.0, seed: int = 1) -> Channels:
    """float32 (n,): noise that swells four times a second, as syllables do."""
    n = round(seconds * SAMPLE_RATE)
    swell = np.sin(np.arange(n) / SAMPLE_RATE * 4 * np.pi) ** 2
    return (np.random.default_rng(seed).normal(0, 0.1, n) * swell).astype(np.float32)


def mixed(channels: Channels, layout: str, format: str = "flt") -> list[Media]:
    """What the timeline makes of float32 (channels, n), 20 ms at a time."""
    timeline = AudioTimeline()
    items: list[Media] = []
    for n in range(0, channels.shape[1], 320):
        piece = channels[:, n : n + 320]
        packed = np.ascontiguousarray(piece.T.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(packed, "flt", layout)
        frame.sample_rate = SAMPLE_RATE
        if format != "flt":  # PyAV itself makes no frames of 8 or more planes
            [frame] = av.AudioResampler(format, layout).resample(frame)
        items += timeline.add(frame)
    return [*items, *timeline.finish()]


def power(sound: npt.NDArray[np.float32]) -> float:
    return float(np.mean(np.square(sound[SAMPLE_RATE // 10 :])))


def likeness(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    return float(np.corrcoef(one, other)[0, 1])


@pytest.mark.slow
@pytest.mark.parametrize("format", ["flt", "fltp"])
@pytest.mark.parametrize("count", [*range(1, 17), 24, 32])
def test_any_number_of_like_channels_is_each_of_them(count: int, format: str) -> None:
    one = voice()
    items = mixed(np.tile(one, (count, 1)), f"{count} channels", format)
    assert sound_of(items) == pytest.approx(one, abs=1e-5)
    assert codes(items) == []


@pytest.mark.parametrize("count", [9, 11, 13, 16])
def test_one_channel_of_many_that_somebody_speaks_into_is_heard(count: int) -> None:
    channels = np.zeros((count, 2 * SAMPLE_RATE), np.float32)
    channels[count - 2] = voice()
    items = mixed(channels, f"{count} channels")
    assert power(sound_of(items)) == pytest.approx(power(voice()), rel=0.1)
    assert codes(items) == ["audio.channel"]


@pytest.mark.parametrize("layout", ["ambisonic 1", "ambisonic 2", "ambisonic 3"])
def test_of_ambisonic_sound_the_channel_of_all_directions_is_heard(layout: str) -> None:
    count = av.AudioLayout(layout).nb_channels
    channels = np.stack([voice(seed=n) for n in range(count)])
    assert sound_of(mixed(channels, layout)) == pytest.approx(channels[0], abs=1e-5)


@pytest.mark.parametrize("suffix", ["opus", "webm", "mp4"])
@pytest.mark.parametrize(
    ("layout", "family"),
    [
        *(("ambisonic 1", "2"), ("ambisonic 2", "2"), ("ambisonic 3", "2")),
        *(("4 channels", "255"), ("9 channels", "255"), ("16 channels", "255")),
    ],
)
async def test_ambisonic_opus_is_heard(
    tmp_path: Path, suffix: str, layout: str, family: str
) -> None:
    """From all directions 440 Hz; from the side, which is another channel, 700 Hz more softly."""
    path, length = tmp_path / f"a.{suffix}", 96_000
    channels = np.zeros((av.AudioLayout(layout).nb_channels, length), np.float32)
    channels[:2] = tone(2, 48000)[0], 0.1 * tone(2, 48000, hz=700)[0]
    with av.open(str(path), "w") as out:
        options = {"mapping_family": family}
        stream = out.add_stream("libopus", rate=48000, layout=layout, options=options)
        for n in range(0, length, 960):
            packed = np.ascontiguousarray(channels[:, n : n + 960].T.reshape(1, -1))
            frame = av.AudioFrame.from_ndarray(packed, "flt", layout)
            frame.sample_rate, frame.pts = 48000, n
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    heard = sound_of(await read(path))
    spectrum = np.abs(np.fft.rfft(heard[SAMPLE_RATE // 2 :][:SAMPLE_RATE]))
    assert np.argmax(spectrum) == 440
    assert len(heard) == pytest.approx(2 * SAMPLE_RATE, abs=400)


@pytest.mark.parametrize("layout", ["mono", "stereo", "2.1", "quad", "5.1", "7.1", "7.1.4", "22.2"])
def test_layouts_with_weights_keep_the_loudness_of_what_is_in_every_channel(layout: str) -> None:
    one = voice()
    channels = np.tile(one, (av.AudioLayout(layout).nb_channels, 1))
    assert power(sound_of(mixed(channels, layout))) == pytest.approx(power(one), rel=0.35)


@pytest.mark.parametrize("right", [-1.0, -0.9, -1.1])
def test_channels_that_cancel_each_other_are_heard_and_told(right: float) -> None:
    one = voice()
    items = mixed(np.stack([one, one * np.float32(right)]), "stereo")
    assert power(sound_of(items)) > 0.8 * power(one)
    assert codes(items) == ["audio.channel"]


@pytest.mark.parametrize("right", [1.0, 0.5, 0.0, -0.4])
def test_channels_that_do_not_cancel_are_averaged(right: float) -> None:
    one = voice()
    items = mixed(np.stack([one, one * np.float32(right)]), "stereo")
    assert sound_of(items) == pytest.approx(one * (1 + right) / 2, abs=1e-6)
    assert codes(items) == []


def test_two_people_at_two_microphones_are_both_heard() -> None:
    one, other = voice(seed=1), voice(seed=2)
    items = mixed(np.stack([one, other]), "stereo")
    assert sound_of(items) == pytest.approx((one + other) / 2, abs=1e-6)
    assert codes(items) == []


def test_channels_that_begin_to_cancel_each_other_are_soon_heard_again() -> None:
    one = voice(6)
    right = np.concatenate([one[: len(one) // 2], -one[len(one) // 2 :]])
    heard = sound_of(mixed(np.stack([one, right]), "stereo"))
    assert heard[4 * SAMPLE_RATE :] == pytest.approx(one[4 * SAMPLE_RATE :], abs=1e-6)


def test_after_channels_that_cancelled_the_mix_comes_back() -> None:
    one = voice(4)
    right = np.concatenate([-one[: len(one) // 2], one[len(one) // 2 :]])
    heard = sound_of(mixed(np.stack([one, right]), "stereo"))
    assert heard == pytest.approx(one, abs=1e-6)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 3e38, 9e5, -9.0])
def test_samples_that_are_no_numbers_are_silence_and_told_once(odd: float) -> None:
    sound = voice()[None].copy()
    sound[0, [5, 700, 12_000]] = odd
    items = mixed(sound, "mono")
    expected = voice()
    expected[[5, 700, 12_000]] = 0
    assert np.array_equal(sound_of(items), expected)
    assert codes(items) == ["audio.not_finite"]


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_float_samples_may_have_the_unit_of_integers(bits: int) -> None:
    unit = np.float32(2.0 ** (bits - 1))
    items = mixed(voice()[None] * unit, "mono")
    assert sound_of(items) / unit == pytest.approx(voice(), abs=1e-6)
    assert codes(items) == []


@pytest.mark.parametrize("offset", [0.05, 0.3, -0.9])
def test_a_constant_offset_hides_nothing(offset: float) -> None:
    quiet = voice() / 100
    alone = sound_of(mixed(quiet[None] + np.float32(offset), "mono"))
    assert alone == pytest.approx(quiet, abs=1e-3)
    assert power(alone) == pytest.approx(power(quiet), rel=0.1)
    # Of six channels, one has nothing but an offset.
    channels = np.zeros((6, len(quiet)), np.float32)
    channels[2], channels[5] = voice(), offset
    items = mixed(channels, "6 channels")
    assert likeness(sound_of(items), voice()) > 0.99


def test_sound_without_an_offset_is_not_touched() -> None:
    sound = voice()
    sound[8000:8500] += 0.3  # a "p" that blows into the microphone
    assert np.array_equal(sound_of(mixed(sound[None], "mono")), sound)


async def test_a_file_with_samples_that_are_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sound = tone(1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=SAMPLE_RATE, layout="mono")
        sound[0, 100] = np.nan
        frame = av.AudioFrame.from_ndarray(sound, "flt", "mono")
        frame.sample_rate = SAMPLE_RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    items = await read(path)
    assert np.isfinite(sound_of(items)).all()
    assert codes(items) == ["audio.not_finite"]


@pytest.mark.parametrize("count", [9, 11, 13])
async def test_a_file_of_many_channels(tmp_path: Path, count: int) -> None:
    path = write(tmp_path / "a.wav", [(0, tone(1, channels=count))], layout=f"{count} channels")
    items = await read(path)
    assert sound_of(items) == pytest.approx(as_written(tone(1))[0] / 32768, abs=1e-4)
    assert codes(items) == []
