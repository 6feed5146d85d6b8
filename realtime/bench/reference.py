"""The plain way to do what this program does, to measure the program by.

In: a recording. Out: its utterances. Each step waits for the one before it: decode the file, VAD
over the whole of it, then for one utterance after the other five frames, faces, words, emotions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer

from models.errors import UsageError
from models.stt import Transcriber
from realtime.endpointing import EndpointingSettings
from realtime.media import SAMPLE_RATE, Image, Samples
from realtime.sources.decoding import why
from realtime.sources.tracks import best_audio, best_video

_FRAMES = 5  # of an utterance


@dataclass(frozen=True, slots=True)
class PlainUtterance:
    """What the plain path found.

    Attributes:
        start, stop: samples [start, stop) of the recording's sound.
        faces: in how many of its frames there was one.
        emotions: label to probability.
    """

    start: int
    stop: int
    text: str
    faces: int
    emotions: dict[str, float]


class ReferencePath:
    """The packages, used as their own documentation does; of this project, the MER model and the
    recogniser, which hears one utterance after the other.

    Args:
        profile: the emotion model, as `MERModel.load` takes it.
        transcriber: the engine.
    """

    def __init__(self, profile: str, transcriber: Transcriber) -> None:
        from facenet_pytorch import MTCNN
        from silero_vad import load_silero_vad

        from models.mer import MERModel

        self._vad = load_silero_vad()
        self._mtcnn = MTCNN(post_process=False)
        self._transcriber = transcriber
        self._mer = MERModel.load(profile)
        # First inferences are slow; the program makes its own before its first utterance, too.
        second = np.zeros(SAMPLE_RATE, np.float32)
        self.boundaries(second)
        self._utterance(0, second, [np.zeros((288, 360, 3), np.uint8)])

    def analyze(self, recording: str) -> list[PlainUtterance]:
        """Every utterance of a recording, with what it expresses.

        Raises:
            UsageError: the recording cannot be decoded.
        """
        samples, begins_s = decode_sound(recording)
        spans = self.boundaries(samples)
        times = [
            begins_s + (start + (n + 0.5) / _FRAMES * (stop - start)) / SAMPLE_RATE
            for start, stop in spans
            for n in range(_FRAMES)
        ]
        frames = _decode_frames(recording, times)
        return [
            self._utterance(start, samples[start:stop], list(islice(frames, _FRAMES)))
            for start, stop in spans
        ]

    def boundaries(self, samples: Samples) -> list[tuple[int, int]]:
        """The utterances that Silero VAD hears in float32 (n,), 16 kHz: samples [start, stop)."""
        import torch
        from silero_vad import get_speech_timestamps

        settings = EndpointingSettings()
        found = get_speech_timestamps(
            torch.from_numpy(samples),
            self._vad,
            threshold=settings.threshold,
            neg_threshold=settings.neg_threshold,
            min_speech_duration_ms=settings.min_speech_duration_ms,
            min_silence_duration_ms=settings.min_silence_duration_ms,
            speech_pad_ms=settings.speech_pad_ms,
            max_speech_duration_s=settings.max_speech_duration_s,
        )
        return [(span["start"], span["end"]) for span in found]

    def _utterance(self, start: int, samples: Samples, frames: list[Image]) -> PlainUtterance:
        found = [self._mtcnn(frame) for frame in frames]
        faces = [face.permute(1, 2, 0).byte().numpy() for face in found if face is not None]
        text = self._transcriber.transcribe(samples).result().text
        emotions = self._mer.predict(faces, samples, text).probabilities
        return PlainUtterance(start, start + len(samples), text, len(faces), emotions)


def decode_sound(recording: str) -> tuple[Samples, float]:
    """All the sound of a recording, and the time stamp of its first sample in seconds.

    Raises:
        UsageError: it has no sound, or cannot be decoded.
    """
    with _opened(recording) as container:
        audio = best_audio(container)
        if audio is None:
            raise UsageError(f"{Path(recording).name} has no sound that can be decoded")
        # s16: as float, two equal channels would become one that is 1.41 times as loud.
        resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
        pieces = [
            piece
            for sound in [*container.decode(audio), None]
            for piece in resampler.resample(sound)
        ]
    pcm = np.concatenate([np.zeros(0, np.int16), *(piece.to_ndarray()[0] for piece in pieces)])
    begins_s = next((piece.time for piece in pieces if piece.time is not None), 0.0)
    return pcm.astype(np.float32) / np.float32(32768), begins_s


def _decode_frames(recording: str, times: list[float]) -> Iterator[Image]:
    """The first frame at or after each time stamp, in RGB; every frame before it is decoded."""
    with _opened(recording) as container:
        video = best_video(container)
        if video is None:
            return
        video.thread_type = "AUTO"  # as players do: on all cores
        wanted = iter(times)
        time = next(wanted, None)
        for frame in container.decode(video):
            while time is not None and frame.time is not None and frame.time >= time:
                yield cast(Image, frame.to_ndarray(format="rgb24"))
                time = next(wanted, None)


@contextmanager
def _opened(recording: str) -> Iterator[InputContainer]:
    try:
        with av.open(f"file:{recording}") as container:
            yield container
    except av.error.FFmpegError as error:
        raise UsageError(
            f"{Path(recording).name} cannot be decoded ({why(error)}): "
            "give a sound or video file that is whole"
        ) from error
