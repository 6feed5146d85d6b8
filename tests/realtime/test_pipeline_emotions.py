"""A plain emotion, filmed, comes out of the whole pipeline: file, speech, faces, words, average.

The films are made of what the checkpoint has never seen: faces of the validation part that all
annotators agree on, held up while actors held out from training speak with strong emotion.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from models.clips import read_clip
from models.faces import FaceFinder
from models.training.datasets import HELD_OUT_SPEAKERS
from realtime.analyzers.local import LocalAnalyzer
from realtime.events import SessionEnded, UtteranceResult
from realtime.session import LiveSession
from realtime.sources import open_source

pytestmark = pytest.mark.slow

RATE = 16_000
FPS = 10
WIDTH, HEIGHT, SIDE = 640, 360, 200
UTTERANCES = 3


def frame_with(face: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A grey face (48, 48), enlarged, before a plain wall: uint8 (360, 640, 3)."""
    frame = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    top, left = (HEIGHT - SIDE) // 2, (WIDTH - SIDE) // 2
    large = cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    frame[top : top + SIDE, left : left + SIDE] = large[:, :, None]
    return frame


def plain_faces(shared: Path, emotion: str) -> list[npt.NDArray[np.uint8]]:
    """Frames with the faces that most annotators gave this one name, as far as they are found."""
    with np.load(shared / "data" / "faces" / "ferplus_valid.npz") as file:
        votes = file["votes"][:, list(file["columns"]).index(emotion)].astype(int)
        images = file["images"]
    finder = FaceFinder()  # FER2013's faces fill their pictures, so about one in five is not found
    frames = (frame_with(images[n]) for n in np.argsort(-votes, kind="stable"))
    found = (frame for frame in frames if finder.find([frame]) != [None])
    return [next(found) for _ in range(UTTERANCES)]


def plain_voices(shared: Path, emotion: str) -> list[npt.NDArray[np.float32]]:
    """One clip each of as many actors who were not heard in training, of strong emotion."""
    folder = shared / "data" / "speech"
    with (folder / "labels.tsv").open(encoding="utf-8", newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file, delimiter="\t")
            if row["set"] == "ravdess"
            and row["speaker"] in HELD_OUT_SPEAKERS
            and row["label"] == emotion
            # The fourth part of a name is the intensity, 02 is strong; neutral has none.
            and (emotion == "neutral" or row["file"].split("-")[3] == "02")
        ]
    speakers = sorted({row["speaker"] for row in rows})[:UTTERANCES]
    return [
        read_clip(folder / next(row["file"] for row in rows if row["speaker"] == speaker))
        for speaker in speakers
    ]


def film(
    path: Path,
    frames: Sequence[npt.NDArray[np.uint8]],
    clips: Sequence[npt.NDArray[np.float32]],
) -> None:
    """Each face for as long as its clip sounds."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream("aac", rate=RATE, layout="mono")
        shown = heard = 0
        for frame, clip in zip(frames, clips, strict=True):
            sound = av.AudioFrame.from_ndarray(clip[None], format="fltp", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = RATE, heard, Fraction(1, RATE)
            container.mux(audio.encode(sound))
            heard += len(clip)
            while shown < heard * FPS // RATE:
                picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
                picture.pts, picture.time_base = shown, Fraction(1, FPS)
                container.mux(video.encode(picture))
                shown += 1
        container.mux([*video.encode(None), *audio.encode(None)])


@pytest.mark.parametrize(
    "emotion", ["happiness", "sadness", "anger", "fear", "disgust", "surprise", "neutral"]
)
async def test_a_filmed_emotion_is_what_the_average_expresses(
    shared: Path, analyzer: LocalAnalyzer, tmp_path: Path, emotion: str
) -> None:
    film(tmp_path / "film.mp4", plain_faces(shared, emotion), plain_voices(shared, emotion))
    source = await open_source(str(tmp_path / "film.mp4"), "fast")
    events = [event async for event in LiveSession(source, analyzer).events()]
    results = [event for event in events if isinstance(event, UtteranceResult)]
    assert len(results) >= UTTERANCES  # some pause in the middle
    for result in results:
        assert {"visual", "acoustic"} <= {*result.modalities}
        assert len(result.faces) >= 3
    ended = events[-1]
    assert isinstance(ended, SessionEnded)
    if emotion == "neutral":
        assert ended.average.expressed == ()
    else:
        assert emotion in ended.average.expressed
        assert max(ended.average.emotions, key=ended.average.emotions.__getitem__) == emotion
