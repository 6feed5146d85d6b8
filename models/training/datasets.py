"""The training data as it lies on disk: faces, speech clips and texts, each with its emotions.

In: the data folder (`faces/`, `speech/`, `text/`). Out: one `ExampleSet` for each set and part.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, overload

import av
import numpy as np
import numpy.typing as npt

from models.clips import read_clip
from models.emotions import EMOTIONS, OUTPUTS
from models.errors import UsageError
from models.mer.acoustic import Samples
from models.mer.visual import Image

Truths: TypeAlias = npt.NDArray[np.bool_]

SEVEN = OUTPUTS
"""The classes of a set in which every example has one label; ``neutral`` is none of the six."""

FACE_CLASSES = {"FER2013": SEVEN, "FER+": (*SEVEN, "contempt")}
"""The two labellings of the faces and their classes. FER2013 has one person's label, FER+ the
majority of ten annotators, where there is one (see `majority`)."""

VOTES_THAT_COUNT = 3
"""An emotion counts when at least this many of the ten annotators voted for it."""

PEOPLE_SEE = np.array(
    [
        (0.880, 0.006, 0.004, 0.002, 0.002, 0.013, 0.093),
        (0.010, 0.562, 0.019, 0.011, 0.011, 0.010, 0.378),
        (0.022, 0.035, 0.630, 0.020, 0.033, 0.043, 0.217),
        (0.018, 0.074, 0.034, 0.585, 0.019, 0.095, 0.174),
        (0.017, 0.080, 0.092, 0.015, 0.446, 0.029, 0.321),
        (0.022, 0.014, 0.015, 0.058, 0.005, 0.741, 0.146),
        (0.021, 0.068, 0.026, 0.007, 0.012, 0.017, 0.849),
    ]
)
"""How people differ: where an emotion counts, and no other (a row; the last: where none does), the
part of FER+'s annotators who saw each of `OUTPUTS` (a column). Of the faces for training."""

_VOICES = {
    "RAVDESS": ("ravdess",),
    "Emo-DB": ("emodb",),
    "NEMO": ("nemo",),
    "Indian EmoSpeech": ("indian_emospeech",),
    "EmoGator": ("emogator",),
    "ordinary speech": ("speechocean762", "librispeech_resemblyzer"),
    "noises": ("esc10",),
}
"""The sets of voices to be judged by, as reports show them, and what is in each."""

_PARTS = ("train", "dev")
_TEXTS = {"GoEmotions": "goemotions", "MELD": "meld"}
_MORE = {"DailyDialog": "dailydialog", "XED": "xed", "EmoryNLP": "emorynlp"}
_TALK = ("weak_maptask", "weak_mrda", "weak_oasis", "weak_swda", "weak_uss")
TALK = "talk about tasks"
"""Calls, meetings and orders, whose lines nobody labelled; taken for neutral."""
_EVERY = {"DailyDialog": 3, TALK: 10}  # neutral line for training

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
    """Actors, people who read something out, bursts of voice, and noises; divided by speaker."""
    table = []
    for name in ("speech", "speech_more"):
        for row in _read_table(folder / name / "labels.tsv"):
            part = "valid" if row["speaker"] in HELD_OUT_SPEAKERS else "train"
            table.append({"split": part, **row, "file": f"{name}/{row['file']}"})

    def read(name: str, rows: Sequence[dict[str, str]]) -> ExampleSet:
        labels = [[row["label"]] for row in rows]
        truths = _truths(labels)
        return ExampleSet(
            name,
            "acoustic",
            Clips([folder / row["file"] for row in rows]),
            truths,
            {name: _single(labels)} if truths.any() else {},
            speakers=tuple(row["speaker"] for row in rows),
        )

    judged = {
        name: [row for row in table if row["split"] == "valid" and row["set"] in sets]
        for name, sets in _VOICES.items()
    }
    return [read("speech", [row for row in table if row["split"] == "train"])], [
        read(name, rows) for name, rows in judged.items() if rows
    ]


class Clips(Sequence[Samples]):
    """The sound of files, float32 (n,) at 16 kHz mono each, read when it is first asked for.

    Whoever judges a model needs a fifth of the clips. Reading raises `UsageError` for a file that
    is missing or damaged.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._read: dict[int, Samples] = {}

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, place: int) -> Samples: ...

    @overload
    def __getitem__(self, place: slice) -> list[Samples]: ...

    def __getitem__(self, place: int | slice) -> Samples | list[Samples]:
        if isinstance(place, slice):
            return [self[number] for number in range(len(self))[place]]
        file = self._files[place]
        if place not in self._read:
            try:
                self._read[place] = read_clip(file)
            except (OSError, av.error.FFmpegError) as error:
                raise UsageError(f"{file} cannot be read: {error}") from error
        return self._read[place]

    def __iter__(self) -> Iterator[Samples]:
        with ThreadPoolExecutor() as pool:  # decoding leaves the interpreter free
            yield from pool.map(self.__getitem__, range(len(self)))


def _read_texts(folder: Path) -> Parts:
    """Comments (GoEmotions in its Ekman grouping), dialogues, subtitles, and talk about tasks.

    Of what nobody labelled, and of the many neutral lines of DailyDialog, training takes a part:
    else they would be most of all there is. MELD, which is spoken, is taken twice.
    """

    def read(name: str, rows: Sequence[dict[str, str]]) -> ExampleSet:
        labels = [_text_labels(name, row) for row in rows]
        truths = _truths(labels)
        single = truths.any() and all(len(each) == 1 for each in labels)
        classes = {name: _single(labels)} if single else {}
        return ExampleSet(name, "textual", [row["text"] for row in rows], truths, classes)

    train, valid = [], []
    for name, file in _TEXTS.items():
        parts = {part: _read_table(folder / "text" / f"{file}_{part}.tsv") for part in _PARTS}
        train.append(read(name, parts["train"]))
        valid.append(read(name, parts["dev"]))
    train.append(train[-1])
    more = {name: _read_table(folder / "text_more" / f"{file}.tsv") for name, file in _MORE.items()}
    talk = [row for file in _TALK for row in _read_table(folder / "text_more" / f"{file}.tsv")]
    for name, rows in (*more.items(), (TALK, talk)):
        learnt = [row for row in rows if row["split"] == "train"]
        plain = [row for row in learnt if row["labels"] == "neutral"]
        kept = plain[:: _EVERY.get(name, 1)]
        train.append(read(name, [row for row in learnt if row["labels"] != "neutral"] + kept))
        valid.append(read(name, [row for row in rows if row["split"] == "dev"]))
    return train, valid


def _text_labels(name: str, row: Mapping[str, str]) -> list[str]:
    """The labels of a text; none of the six for what only asks.

    GoEmotions files curiosity and confusion under surprise, so 53 of 100 of its questions are
    surprised, and 3 of 100 in DailyDialog; who learns from it hears surprise in every question.
    """
    labels = row["labels"].split(",")
    if name == "GoEmotions" and "?" in row["text"]:
        labels = [label for label in labels if label != "surprise"]
    return labels or ["neutral"]


def with_neutral(truths: Truths) -> Truths:
    """What is true of each of `OUTPUTS`, bool (n, 7), of what is true of the six, bool (n, 6)."""
    return np.concatenate([truths, ~truths.any(axis=1, keepdims=True)], axis=1)


def grey_to_rgb(face: npt.NDArray[np.uint8]) -> Image:
    """A grey face uint8 (height, width) as the RGB picture that `MERModel` takes."""
    return np.repeat(face[:, :, None], 3, axis=2)


def _read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        # Texts hold bare quotation marks; nothing is quoted.
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def _single(labels: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The one label of each as one of `SEVEN`."""
    return tuple(label if label in EMOTIONS else "neutral" for (label,) in labels)


def _truths(labels: Sequence[Sequence[str]]) -> Truths:
    return np.array([[emotion in present for emotion in EMOTIONS] for present in labels])
