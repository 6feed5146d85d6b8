"""The training data as it lies on disk: faces, speech clips and texts, each with its emotions.

In: the data folder (`faces/`, `speech/`, `text/`). Out: one `ExampleSet` for each set and part.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import av
import numpy as np
import numpy.typing as npt

from models.emotions import EMOTIONS
from models.errors import UsageError
from models.mer.acoustic import SAMPLE_RATE, Samples
from models.mer.visual import Image

Truths: TypeAlias = npt.NDArray[np.bool_]

SEVEN = (*EMOTIONS, "neutral")
"""The classes of a set in which every example has one label; ``neutral`` is none of the six."""

FACE_CLASSES = {"FER2013": SEVEN, "FER+": (*SEVEN, "contempt")}
"""The two labellings of the faces and their classes. FER2013 has one person's label, FER+ the
majority of ten annotators, where there is one (see `majority`)."""

VOTES_THAT_COUNT = 3
"""An emotion counts when at least this many of the ten annotators voted for it."""

HELD_OUT_SPEAKERS = frozenset(
    {
        "ravdess-17",  # two women (even) and two men (odd)
        "ravdess-18",
        "ravdess-19",
        "ravdess-20",
        "emodb-11",  # a man
        "emodb-13",  # a woman
    }
)
"""Whoever is heard in validation is never heard in training."""


@dataclass(frozen=True, slots=True)
class ExampleSet:
    """Examples of one modality.

    Attributes:
        name: of the set, as reports show it.
        modality: ``visual``, ``acoustic`` or ``textual``.
        items: grey faces uint8 (48, 48), samples float32 (n,) at 16 kHz mono, or texts.
        truths: bool (n, 6): which of `EMOTIONS` each example expresses.
        classes: name of a labelling to the single label of each example, None where it has none.
            The labellings of `FACE_CLASSES` have the classes told there, others are `SEVEN`.
        speakers: whose voice each example is; empty where nobody knows.
        votes: float32 (n, 8), how many of ten annotators saw what in a face, in the order of
            ``FACE_CLASSES["FER+"]``; None for what is not a face.
    """

    name: str
    modality: str
    items: Sequence[Any]
    truths: Truths
    classes: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    speakers: tuple[str, ...] = ()
    votes: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Data:
    """What there is to learn from, and what there is to be judged by."""

    train: tuple[ExampleSet, ...]
    valid: tuple[ExampleSet, ...]


def read_data(folder: Path) -> Data:
    """Read every set.

    Args:
        folder: the data folder, for example ``../shared/data``.

    Raises:
        UsageError: a file is missing or is not what its name says.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: give the data folder, such as ../shared/data")
    train: list[ExampleSet] = []
    valid: list[ExampleSet] = []
    for read in (_read_faces, _read_speech, _read_texts):
        try:
            for part, sets in zip((train, valid), read(folder), strict=True):
                part.extend(sets)
        except FileNotFoundError as error:
            raise UsageError(f"{error.filename} is missing from the data folder") from error
        except (KeyError, ValueError, av.error.FFmpegError) as error:
            raise UsageError(f"{folder} holds a file that cannot be read: {error}") from error
    return Data(tuple(train), tuple(valid))


Parts: TypeAlias = tuple[list[ExampleSet], list[ExampleSet]]
"""Sets to train on, sets to validate on."""


def _read_faces(folder: Path) -> Parts:
    """FER2013 pictures with the votes of FER+."""

    def read(part: str) -> ExampleSet:
        with np.load(folder / "faces" / f"ferplus_{part}.npz") as file:
            columns = list(file["columns"])
            names = (*FACE_CLASSES["FER+"], "unknown", "not_a_face")
            votes = file["votes"][:, [columns.index(name) for name in names]]
            kept = len(FACE_CLASSES["FER+"])
            classes = (names[most] if most < kept else None for most in majority(votes))
            return ExampleSet(
                "FER+",
                "visual",
                file["images"],
                votes[:, : len(EMOTIONS)] >= VOTES_THAT_COUNT,
                {
                    "FER2013": tuple(str(label) for label in file["fer2013_label"]),
                    "FER+": tuple(classes),
                },
                votes=votes[:, :kept].astype(np.float32),
            )

    return [read("train")], [read("valid")]


def majority(votes: npt.NDArray[np.uint8]) -> list[int]:
    """The column that more than half of the votes are for, as the FER+ paper has it.

    Barsoum et al. 2016, https://arxiv.org/abs/1608.01041: a vote that nobody shares does not
    count, and a picture without a majority has no class and is left out.

    Args:
        votes: (n, columns).

    Returns:
        n columns; `columns`, which is none, where there is no majority.
    """
    shared = np.where(votes > 1, votes, 0)
    most = shared.argmax(axis=1)
    clear = shared.max(axis=1) * 2 > shared.sum(axis=1)
    found: list[int] = np.where(clear, most, votes.shape[1]).tolist()
    return found


def _read_speech(folder: Path) -> Parts:
    """RAVDESS and Emo-DB, divided by speaker."""
    rows = _read_table(folder / "speech" / "labels.tsv")
    training = [row for row in rows if row["speaker"] not in HELD_OUT_SPEAKERS]
    held_out = [row for row in rows if row["speaker"] in HELD_OUT_SPEAKERS]

    def read(name: str, rows: Sequence[dict[str, str]]) -> ExampleSet:
        with ThreadPoolExecutor() as pool:  # decoding leaves the interpreter free
            clips = list(pool.map(read_clip, [folder / "speech" / row["file"] for row in rows]))
        labels = [[row["label"]] for row in rows]
        return ExampleSet(
            name,
            "acoustic",
            clips,
            _truths(labels),
            {name: _single(labels)},
            speakers=tuple(row["speaker"] for row in rows),
        )

    return [read("speech", training)], [
        read("RAVDESS", [row for row in held_out if row["set"] == "ravdess"]),
        read("Emo-DB", [row for row in held_out if row["set"] == "emodb"]),
    ]


def _read_texts(folder: Path) -> Parts:
    """GoEmotions in its Ekman grouping, and MELD."""

    def read(name: str, part: str) -> ExampleSet:
        rows = _read_table(folder / "text" / f"{name.lower()}_{part}.tsv")
        labels = [row["labels"].split(",") for row in rows]
        classes = {name: _single(labels)} if name == "MELD" else {}
        return ExampleSet(name, "textual", [row["text"] for row in rows], _truths(labels), classes)

    names = ("GoEmotions", "MELD")
    return [read(name, "train") for name in names], [read(name, "dev") for name in names]


def grey_to_rgb(face: npt.NDArray[np.uint8]) -> Image:
    """A grey face uint8 (height, width) as the RGB picture that `MERModel` takes."""
    return np.repeat(face[:, :, None], 3, axis=2)


def read_clip(file: Path | BinaryIO) -> Samples:
    """The sound of a file, float32 (n,), 16 kHz mono."""
    with av.open(file) as container:
        resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
        blocks = [
            block.to_ndarray()[0]
            for frame in (*container.decode(audio=0), None)
            for block in resampler.resample(frame)
        ]
    return np.concatenate(blocks)


def _read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        # Texts hold bare quotation marks; nothing is quoted.
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def _single(labels: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The one label of each as one of `SEVEN`."""
    return tuple(label if label in EMOTIONS else "neutral" for (label,) in labels)


def _truths(labels: Sequence[Sequence[str]]) -> Truths:
    return np.array([[emotion in present for emotion in EMOTIONS] for present in labels])
