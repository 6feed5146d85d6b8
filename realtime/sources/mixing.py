"""From the channels of a recording to the one that is analysed.

In: decoded audio of any format, with any number of channels. Out: float32 mono samples at the same
rate, and in words what was odd about them.
"""

from __future__ import annotations

import math
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.audio.resampler import AudioResampler
from av.filter import Graph

from realtime.media import Samples

MOST = 8.0
"""Full scale is 1. A float sample beyond this, 18 dB above, is no sound but a damaged number, as
are infinities and what is not a number: left in, one of 10^6 made the detector of speech deaf for
40 s. Unless a quarter of a frame is beyond full scale: then the file has the unit of integers."""

MOST_INTEGER = 2.0**32
"""The same for float samples in the unit of integers, of up to 32 bits."""

OFFSET = 0.02
"""A constant part of a channel beyond this, -34 dBFS, is taken away. It would hide quiet speech: of
speech with peaks of -50 dBFS and an offset of 0.05 nothing was heard. Speech stays below, so that
sound without an offset is not touched at all."""

LOST = 0.05
"""Where the mix has less than this part of the power of the loudest channel (-13 dB), the channels
cancel each other, or are too many for the one that somebody speaks into. Two channels of which one
is silent give 0.25; speech that is only in the centre of 5.1 gives 0.086."""

MEMORY_S = 0.25
"""Over what time powers are compared, with exponential decay: a syllable. Where channels begin to
cancel each other, three times as much is lost."""

OFFSET_MEMORY_S = 1.0
"""Over what time the constant part of a channel is measured, with exponential decay."""

AUDIBLE = 1e-7
"""Mean power, -70 dBFS, below which a choice would follow noise."""

_MOST_PLANES = 7
"""With more, PyAV reads beyond their pointers."""

Channels = npt.NDArray[np.float32]
"""float32 (channels, n)."""

Offsets = npt.NDArray[np.float64]
"""float64 (channels,): the mean of each channel over the last `OFFSET_MEMORY_S`."""


class Downmixer:
    """Mixes channels to one: with FFmpeg's weights for their layout, or evenly without.

    Where the mix loses the sound, because the channels cancel each other, the loudest channel takes
    its place until the mix is audible again. Samples that are no numbers become 0, and a constant
    offset of a channel is taken away. What comes out depends on the frames alone.
    """

    def __init__(self) -> None:
        self._format: tuple[int, str, str] | None = None
        self._packer: AudioResampler | None = None
        self._weights: list[float] = []
        self._mix_energy = 0.0
        self._energies = np.zeros(1)
        self._chosen: int | None = None
        self._told: set[str] = set()

    def mix(self, frame: av.AudioFrame) -> tuple[Samples, dict[str, str]]:
        """Mono samples, float32 (n,), and what is to be told: code to message, each code once."""
        if _format(frame) != self._format:
            self._begin(frame)
        channels = self._unpack(frame)
        odd: dict[str, str] = {}
        numbers = self._numbers(np.abs(channels))
        if not numbers.all():
            channels = np.where(numbers, channels, np.float32(0))
            odd["audio.not_finite"] = "the sound has samples that are no numbers: taken for silence"
        channels = self._without_offset(channels, frame.sample_rate)
        mono = channels[0]
        if len(channels) > 1:
            mono = self._mix(channels, frame.sample_rate)
            if self._chosen is not None:
                odd["audio.channel"] = (
                    f"mixed, the {len(channels)} channels lose their sound: "
                    f"channel {self._chosen + 1} is heard alone"
                )
        news = {code: message for code, message in odd.items() if code not in self._told}
        self._told.update(news)
        return mono, news

    def _begin(self, frame: av.AudioFrame) -> None:
        self._format = _format(frame)
        self._packer = None
        # PyAV knows no 64-bit samples either.
        many_planes = frame.format.is_planar and frame.layout.nb_channels > _MOST_PLANES
        if many_planes or frame.format.name in ("s64", "s64p"):
            self._packer = AudioResampler("flt", frame.layout, frame.sample_rate)
        self._weights = _weights(frame.layout)
        self._integers = self._has_offset = False
        self._offsets: Offsets | None = None
        self._mix_energy, self._energies = 0.0, np.zeros(len(self._weights))
        self._chosen = None

    def _unpack(self, frame: av.AudioFrame) -> Channels:
        if self._packer is not None:
            frame.pts = None
            [frame] = self._packer.resample(frame)
        packed: npt.NDArray[Any] = frame.to_ndarray()
        if not frame.format.is_planar:
            packed = packed.reshape(-1, len(self._weights)).T
        if packed.dtype == np.uint8:
            packed = packed.astype(np.float32) - 128
            return np.ascontiguousarray(packed / 128, np.float32)
        if packed.dtype.kind == "i":
            return np.ascontiguousarray(packed / -float(np.iinfo(packed.dtype).min), np.float32)
        with np.errstate(over="ignore"):  # of float64; what overflows is no sample
            return np.ascontiguousarray(packed, np.float32)

    def _numbers(self, magnitudes: Channels) -> npt.NDArray[np.bool_]:
        """Which samples can be sound."""
        numbers: npt.NDArray[np.bool_] = magnitudes < (MOST_INTEGER if self._integers else MOST)
        if not self._integers and not numbers.all():
            possible = magnitudes[magnitudes < MOST_INTEGER]
            if len(possible) and np.percentile(possible, 75) > 1:
                self._integers = True
                return self._numbers(magnitudes)
        return numbers

    def _without_offset(self, channels: Channels, rate: int) -> Channels:
        """`channels` without what is constant in them, if that is much."""
        means = channels.mean(axis=1, dtype=np.float64)
        length = channels.shape[1]
        if self._offsets is None:
            # A frame may begin in the middle of a vowel; an offset alone hardly moves in 20 ms.
            constant = np.abs(means) > 3 * channels.std(axis=1, dtype=np.float64)
            self._offsets = np.where(constant & (length >= rate // 50), means, 0.0)
        before = self._offsets
        self._offsets = means + (before - means) * math.exp(-length / (OFFSET_MEMORY_S * rate))
        self._has_offset = self._has_offset or bool((np.abs(self._offsets) > OFFSET).any())
        if not self._has_offset or self._integers:
            return channels
        return channels - np.linspace(before, self._offsets, length, axis=1, dtype=np.float32)

    def _mix(self, channels: Channels, rate: int) -> Samples:
        # Not by a product of matrices, whose rounding depends on how many samples there are.
        mix = np.zeros(channels.shape[1], np.float32)
        for weight, channel in zip(self._weights, channels, strict=True):
            mix += np.float32(weight) * channel
        decay = math.exp(-len(mix) / (MEMORY_S * rate))
        self._mix_energy = decay * self._mix_energy + _energy(mix)
        self._energies = decay * self._energies + [_energy(channel) for channel in channels]
        loudest = int(np.argmax(self._energies))
        if self._energies[loudest] > AUDIBLE * MEMORY_S * rate:
            part = self._mix_energy / self._energies[loudest]
            if self._chosen is None and part < LOST:
                self._chosen = loudest
            elif self._chosen is not None and part > 2 * LOST:
                self._chosen = None
        return mix if self._chosen is None else channels[self._chosen]


def _format(frame: av.AudioFrame) -> tuple[int, str, str]:
    return frame.sample_rate, frame.format.name, frame.layout.name


def _energy(samples: Samples) -> float:
    return float(np.sum(np.square(samples, dtype=np.float64)))


def _weights(layout: av.AudioLayout) -> list[float]:
    """How much of each channel goes into the mix; the sum of two like channels is each of them."""
    count = layout.nb_channels
    if layout.name.startswith("ambisonic"):
        return [1.0] + [0.0] * (count - 1)  # the first channel hears all directions alike
    # FFmpeg has its weights inside: a click in each channel, one after the other, brings them out.
    clicks = av.AudioFrame.from_ndarray(
        np.eye(count, dtype=np.float32).reshape(1, -1), "flt", layout
    )
    clicks.sample_rate = 48_000
    graph = Graph()
    source = graph.add(
        "abuffer",
        sample_rate="48000",
        sample_fmt="flt",
        channel_layout=layout.name,
        time_base="1/48000",
    )
    # Without rematrix_maxval the mix of two equal channels is 1.41 times as loud as each.
    mix = graph.add("aresample", "rematrix_maxval=1")
    mono = graph.add("aformat", sample_fmts="flt", channel_layouts="mono")
    sink = graph.add("abuffersink")
    try:
        source.link_to(mix)
        mix.link_to(mono)
        mono.link_to(sink)
        graph.configure()
        graph.push(clicks)
        graph.push(None)
        mixed = graph.pull()
        assert isinstance(mixed, av.AudioFrame)
        return [float(weight) for weight in mixed.to_ndarray()[0]]
    except (av.error.FFmpegError, ValueError):  # it has no weights for this layout
        return [1 / count] * count
