"""CMU-MOSEI cut into utterances, as a folder that training and evaluation read.

In: the folder. Out: one `ExampleSet` of whole utterances for each part of the split.
`models.training.mosei_raw` makes the folder from the public release; its layout follows that of
Dai et al. 2021, Multimodal End-to-End Sparse Model for Emotion Recognition::

    splits/train.txt           the ids of the utterances of each part, one a line; an id is the
    splits/valid.txt           name of a video, "_", and the number of the utterance in it
    splits/test.txt
    utterances.tsv             columns id, text (empty where nothing was said), and the six
                               emotions: how strong, 0 to 3, mean over those who judged it
    utterances/ID/audio.wav    16 kHz mono; missing where the video has no sound
    utterances/ID/face_0.jpg   crops of one person's face, 160x160, at most five in the order of
    utterances/ID/face_1.jpg   time; missing where no face is seen

An emotion is expressed when its mean is above 0, that is, when anybody saw it. An utterance whose
folder is missing is left out.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import av
import cv2
import numpy as np

from models.clips import read_clip
from models.emotions import EMOTIONS, MODALITIES
from models.errors import UsageError
from models.training.datasets import ExampleSet

PARTS = ("train", "valid", "test")
COLUMNS = ("id", *EMOTIONS, "text")


@dataclass(frozen=True, slots=True)
class Mosei:
    """The three parts. Their items are dicts as `models.training.evaluation.judge` takes them."""

    train: ExampleSet
    valid: ExampleSet
    test: ExampleSet


class Utterances(Sequence[dict[str, Any]]):
    """The utterances of one part, read from disk each time they are asked for.

    An item holds what there is of ``visual`` (up to five crops uint8 (160, 160, 3) RGB),
    ``acoustic`` (float32 (n,), 16 kHz mono) and ``textual``.

    Args:
        folder: the one with a folder for each utterance.
        ids: in order.
        texts: of each id.
    """

    def __init__(self, folder: Path, ids: Sequence[str], texts: Sequence[str]) -> None:
        self._folder, self._ids, self._texts = folder, ids, texts

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """One utterance, or several.

        Raises:
            UsageError: a file of it is damaged.
        """
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        folder, text = self._folder / self._ids[index], self._texts[index]
        item: dict[str, Any] = {}
        if faces := sorted(folder.glob("face_*.jpg")):
            item["visual"] = [_picture(path) for path in faces]
        sound = folder / "audio.wav"
        if sound.exists():
            try:
                item["acoustic"] = read_clip(sound)
            except (av.error.FFmpegError, ValueError) as error:
                raise _damaged(sound) from error
        if text:
            item["textual"] = text
        return item


def read_mosei(folder: Path) -> Mosei:
    """The three parts of the folder.

    Raises:
        UsageError: the folder is not of the layout above, or a part has no utterance.
    """
    try:
        with (folder / "utterances.tsv").open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            known = {row["id"]: (row["text"], [float(row[e]) for e in EMOTIONS]) for row in rows}
        parts = [_read_part(folder, part, known) for part in PARTS]
    except FileNotFoundError as error:
        raise UsageError(
            f"{error.filename} is missing: make the folder with live-emotion mosei"
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{folder / 'utterances.tsv'} is not a table of {', '.join(COLUMNS)}: {error}"
        ) from error
    return Mosei(*parts)


def _read_part(folder: Path, part: str, known: dict[str, tuple[str, list[float]]]) -> ExampleSet:
    path = folder / "splits" / f"{part}.txt"
    listed = path.read_text(encoding="utf-8").split()
    there = {each.name for each in (folder / "utterances").iterdir()} & known.keys()
    ids = [name for name in listed if name in there]
    if not ids:
        raise UsageError(f"none of the utterances in {path} is there: run live-emotion mosei again")
    texts, strengths = zip(*(known[name] for name in ids), strict=True)
    return ExampleSet(
        f"CMU-MOSEI {part}",
        "+".join(MODALITIES),
        Utterances(folder / "utterances", ids, texts),
        np.array(strengths) > 0,
        speakers=tuple(name.rpartition("_")[0] for name in ids),  # about one a video
    )


def _picture(path: Path) -> Any:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise _damaged(path)
    return np.ascontiguousarray(picture[:, :, ::-1])  # OpenCV has blue first


def _damaged(path: Path) -> UsageError:
    return UsageError(
        f"{path} is damaged: remove the folder {path.parent} and run live-emotion mosei again"
    )
