"""A microphone, through PortAudio.

In: a device. Out: chunks of its samples as they were captured, each with its place in time.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from models.errors import UsageError
from realtime.media import Samples
from realtime.sources.devices import Device, choose, quiet_stderr

QUEUE_S = 30.0
"""How much may wait for a busy session before sound is lost: 6 MB at 48 kHz."""

CHUNK_S = 0.02

_portaudio = threading.Lock()  # its functions may not be called from two threads at once
_open_streams = 0

OFF = "switch it off with --microphone off"


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one callback brought.

    Attributes:
        samples: float32 (n,), mono, at the device's rate.
        arrived: when its last sample was here, on the clock of `time.monotonic`.
        after_loss: samples before it were lost.
    """

    samples: Samples
    arrived: float
    after_loss: bool


def microphones() -> list[Device]:
    """The microphones of the system's default sound interface; `UsageError` without PortAudio.

    Only of the default one, because others (on Windows) list the same microphones again.
    """
    with _portaudio:
        sd = _sounddevice()
        if not _open_streams:  # PortAudio looks for devices only when it starts
            sd._terminate()
            sd._initialize()
        default = sd.default.device[0]
        host = sd.query_devices(default)["hostapi"] if default >= 0 else sd.default.hostapi
        return [
            Device("microphone", device["index"], device["name"], device["index"] == default)
            for device in sd.query_devices()
            if device["max_input_channels"] > 0 and device["hostapi"] == host
        ]


def choose_microphone(wanted: str | None) -> Device:
    """The microphone that is meant, the default one for None; `UsageError` if there is none."""
    devices = microphones()
    if not devices:
        raise UsageError(f"no microphone was found: plug one in, or {OFF}")
    if wanted is not None:
        return choose(devices, wanted)
    return next((device for device in devices if device.default), devices[0])


class Microphone:
    """An open microphone; used by one thread.

    Args:
        wanted: its index or part of its name; None: the default one.
    """

    def __init__(self, wanted: str | None) -> None:
        self.name = ""
        self.rate = 0  # Hz, the device's own
        self._wanted = wanted
        self._stream: Any = None
        self._chunks: queue.Queue[Chunk] = queue.Queue(round(QUEUE_S / CHUNK_S))
        self._lost = False

    def open(self) -> None:
        """Begin to capture; `UsageError` if no device lets us.

        May be called again after a loss: by then the system may know the device under another
        index, or have another default.
        """
        global _open_streams
        self.close()
        device = choose_microphone(self._wanted)
        with _portaudio, quiet_stderr():
            sd = _sounddevice()
            try:
                rate = int(sd.query_devices(device.index)["default_samplerate"])
                self._stream = _open_stream(sd, device.index, rate, self._captured)
                _open_streams += 1
                self._stream.start()
            except (sd.PortAudioError, ValueError) as error:
                raise UsageError(
                    f"the microphone {device.name} cannot be opened ({error.args[0]}): "
                    f"close what else uses it, choose another, or {OFF}"
                ) from error
        self.name, self.rate = device.name, rate

    def read(self, timeout_s: float) -> Chunk | None:
        """The next chunk; None if none came in time."""
        try:
            return self._chunks.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def close(self) -> None:
        """Stop capturing; idempotent."""
        global _open_streams
        if self._stream is None:
            return
        with _portaudio:
            self._stream.close(ignore_errors=True)
            _open_streams -= 1
        self._stream = None
        self._lost = True  # should it be opened again

    def _captured(self, data: Any, _count: int, _time: object, status: Any) -> None:
        """Take what PortAudio captured; runs in its thread, which must never wait."""
        lost = self._lost or status.input_overflow
        samples = data.mean(axis=1, dtype=np.float32)  # a copy: PortAudio takes `data` back
        try:
            self._chunks.put_nowait(Chunk(samples, time.monotonic(), lost))
            self._lost = False
        except queue.Full:
            self._lost = True


def _open_stream(sd: ModuleType, index: int, rate: int, callback: Any) -> Any:
    def opened(channels: int) -> Any:
        return sd.InputStream(
            device=index,
            channels=channels,
            samplerate=rate,
            blocksize=round(rate * CHUNK_S),
            dtype="float32",
            callback=callback,
        )

    try:
        return opened(1)
    except sd.PortAudioError:  # some interfaces of Windows give stereo microphones only as stereo
        return opened(2)


def _sounddevice() -> ModuleType:
    try:
        with quiet_stderr():
            import sounddevice
    except OSError as error:
        raise UsageError(
            "the microphone needs the PortAudio library, which is not on this machine: install "
            f"it (Debian, Ubuntu: apt install libportaudio2), or {OFF}"
        ) from error
    module: ModuleType = sounddevice
    return module
