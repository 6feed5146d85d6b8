"""Cuts the public release of CMU-MOSEI into the folder that `models.training.mosei` describes.

In: full videos, segmented transcripts, the annotators' answers, a split. Out: the folder. What of
the release is needed: `Videos/Full/Combined`, `Transcript/Segmented/Combined` and `Labels`.
"""

from __future__ import annotations

import csv
import re
import shutil
import wave
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import InputContainer

from models.clips import read_clip
from models.emotions import EMOTIONS
from models.errors import UsageError
from models.faces import FaceFinder, Image
from models.mer.acoustic import SAMPLE_RATE, Samples
from models.training.mosei import COLUMNS, PARTS

_FACES = 5
_LONGEST_SIDE = 640
"""Pixels to which frames are reduced before faces are looked for, as in the live program."""

_JPEG_QUALITY = 95

# VIDEO___NUMBER___START___END___TEXT; here and there an underscore too many.
_LINE = re.compile(r"(.+?)___(\d+)_{3,}(-?[\d.]+)_{3,}(-?[\d.]+)_{3,}(.*)")


@dataclass(frozen=True, slots=True)
class Spoken:
    """One utterance of a transcript.

    Attributes:
        video: its name, without extension.
        start_s, end_s: in the video.
        text: what was said.
    """

    video: str
    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Built:
    """How far the folder is.

    Attributes:
        done: videos cut.
        videos: in all.
        utterances: how many are in the folder.
        left_out: id of an utterance to why it is not in the folder.
    """

    done: int
    videos: int
    utterances: int
    left_out: Mapping[str, str]


def build_mosei(
    videos: Path,
    transcripts: Path,
    labels: Path,
    splits: Path,
    out: Path,
    *,
    on_progress: Callable[[Built], None] = lambda built: None,
) -> Built:
    """Cut every utterance of the split that has a video, a transcript and a label.

    What is there already is not cut again, so an interrupted run is gone on with by running it
    once more. The utterances left out are listed in ``left_out.tsv``, each with the reason.

    Args:
        videos: the folder of full videos, ``VIDEO.mp4`` (or another extension).
        transcripts: the folder of ``VIDEO.txt``, lines ``VIDEO___NUMBER___START___END___TEXT``.
        labels: the folder of the annotators' answers, ``*.csv``, with the columns
            ``Input.VIDEO_ID``, ``Input.CLIP`` and ``Answer.anger`` to ``Answer.surprise``.
        splits: the folder of the three lists of ids, such as ``mosei_train.txt`` or
            ``train_split.txt``.
        out: the folder to make.
        on_progress: called after every video.

    Raises:
        UsageError: a folder has not what it should.
    """
    parts = {part: _read_split(splits, part) for part in PARTS}
    spoken = read_transcripts(transcripts)
    answers = read_answers(labels)
    if not videos.is_dir():
        raise UsageError(f"{videos} is not a folder: give the one with the full videos")
    files = {path.stem: path for path in sorted(videos.iterdir()) if path.is_file()}
    left_out: dict[str, str] = {}
    wanted: dict[Path, list[str]] = defaultdict(list)
    for name in dict.fromkeys(name for ids in parts.values() for name in ids):
        if name not in spoken:
            left_out[name] = "it has no transcript"
        elif name not in answers:
            left_out[name] = "nobody judged it"
        elif spoken[name].video not in files:
            left_out[name] = "its video is missing"
        else:
            wanted[files[spoken[name].video]].append(name)
    if not wanted:
        raise UsageError(
            f"no utterance of the split has a video in {videos}, a transcript in {transcripts} "
            f"and a label in {labels}: check the three folders"
        )
    ids = [name for names in wanted.values() for name in names]
    _write_tables(out, parts, {name: (answers[name], spoken[name].text) for name in ids})
    finder = FaceFinder()
    utterances = 0
    with ThreadPoolExecutor() as pool:
        cuts = [
            pool.submit(_cut_video, path, {name: spoken[name] for name in names}, out, finder)
            for path, names in wanted.items()
        ]
        try:
            for done, cut in enumerate(as_completed(cuts), 1):
                count, failed = cut.result()
                utterances += count
                left_out |= failed
                on_progress(Built(done, len(cuts), utterances, left_out))
        finally:
            pool.shutdown(cancel_futures=True)
    _write_table(out / "left_out.tsv", [("id", "why"), *left_out.items()])
    return Built(len(cuts), len(cuts), utterances, left_out)


def read_transcripts(folder: Path) -> dict[str, Spoken]:
    """Id of an utterance to what is said where, of all ``*.txt`` in the folder."""
    spoken = {}
    for path in _files(folder, "*.txt", "transcripts"):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if match := _LINE.fullmatch(line.strip()):
                video, number, start, end, text = match.groups()
                words = " ".join(text.split())
                spoken[f"{video}_{number}"] = Spoken(video, float(start), float(end), words)
    return spoken


def read_answers(folder: Path) -> dict[str, list[float]]:
    """Id of an utterance to how strong each of `EMOTIONS` is, 0 to 3, mean over the annotators.

    Files without the columns of emotions, such as those on sentiment alone, are passed over.
    """
    answers: dict[str, list[list[float]]] = defaultdict(list)
    for path in _files(folder, "*.csv", "answers of the annotators"):
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            for row in csv.DictReader(file):
                strengths = [row.get(f"Answer.{emotion}") for emotion in EMOTIONS]
                video, number = row.get("Input.VIDEO_ID"), row.get("Input.CLIP")
                # In some rows the video is given as an address.
                if video and number and all(strengths):
                    name = f"{video.split('/')[-1]}_{number}"
                    answers[name].append([float(strength or 0) for strength in strengths])
    if not answers:
        raise UsageError(
            f"no file in {folder} has the columns Input.VIDEO_ID, Input.CLIP and Answer.anger to "
            "Answer.surprise: give the folder Labels of the release"
        )
    return {name: np.mean(rows, axis=0).tolist() for name, rows in answers.items()}


def _read_split(folder: Path, part: str) -> list[str]:
    """The ids of a part, of the one file in the folder whose name holds the part's."""
    paths = _files(folder, f"*{part}*.txt", f"ids of the utterances to {part} on")
    if len(paths) > 1:
        raise UsageError(f"{folder} has several lists {part}: {', '.join(p.name for p in paths)}")
    return paths[0].read_text(encoding="utf-8").split()


def _files(folder: Path, pattern: str, what: str) -> list[Path]:
    paths = sorted(folder.glob(pattern))
    if not paths:
        raise UsageError(f"{folder} has no {pattern}: give the folder with the {what}")
    return paths


def _write_tables(
    out: Path, parts: Mapping[str, Sequence[str]], rows: Mapping[str, tuple[list[float], str]]
) -> None:
    (out / "splits").mkdir(parents=True, exist_ok=True)
    for part, ids in parts.items():
        text = "".join(f"{name}\n" for name in ids)
        (out / "splits" / f"{part}.txt").write_text(text, encoding="utf-8")
    lines = [
        (name, *(f"{strength:.4f}" for strength in strengths), text)
        for name, (strengths, text) in rows.items()
    ]
    _write_table(out / "utterances.tsv", [COLUMNS, *lines])


def _write_table(path: Path, rows: Iterable[Sequence[str]]) -> None:
    text = "".join("\t".join(row) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")


def _cut_video(
    path: Path, spoken: Mapping[str, Spoken], out: Path, finder: FaceFinder
) -> tuple[int, dict[str, str]]:
    """Write the utterances of one video that are not there yet.

    Returns:
        How many of them are there now, and why the others are not.
    """
    folders = {name: out / "utterances" / name for name in spoken}
    failed: dict[str, str] = {}
    try:
        if not all(folder.exists() for folder in folders.values()):
            failed = _cut(path, spoken, folders, finder)
    except (av.error.FFmpegError, ValueError) as error:
        reason = f"{path.name} cannot be read: {str(error).splitlines()[0]}"
        failed = {name: reason for name, folder in folders.items() if not folder.exists()}
    return len(spoken) - len(failed), failed


def _cut(
    path: Path, spoken: Mapping[str, Spoken], folders: Mapping[str, Path], finder: FaceFinder
) -> dict[str, str]:
    failed = {}
    with av.open(str(path)) as container:
        sound = read_clip(path) if container.streams.audio else np.zeros(0, np.float32)
        for name, one in spoken.items():
            if folders[name].exists():
                continue
            start, stop = (max(0, int(time * SAMPLE_RATE)) for time in (one.start_s, one.end_s))
            samples = sound[start:stop]
            frames = _frames(container, one) if container.streams.video else []
            if not len(samples) and not frames:
                failed[name] = f"{path.name} ends before it"
                continue
            faces = [face.image for face in finder.find(frames) if face is not None]
            _write_utterance(folders[name], samples, faces)
    return failed


def _frames(container: InputContainer, one: Spoken) -> list[Image]:
    """The frames in the middle of five equal parts of an utterance, reduced, RGB."""
    part = (one.end_s - one.start_s) / _FACES
    times = [one.start_s + (number + 0.5) * part for number in range(_FACES)]
    container.seek(int(max(0.0, one.start_s) * av.time_base))
    frames: list[Image] = []
    for frame in container.decode(video=0):
        if frame.time is not None and frame.time >= times[0]:
            scale = min(1.0, _LONGEST_SIDE / max(frame.width, frame.height))
            width, height = round(frame.width * scale), round(frame.height * scale)
            small = frame.reformat(width, height, "rgb24").to_ndarray()
            frames.append(small.astype(np.uint8, copy=False))
            times = [time for time in times if time > frame.time]
            if not times:
                break
    return frames


def _write_utterance(folder: Path, samples: Samples, faces: Sequence[Image]) -> None:
    """The folder of one utterance; it appears complete or not at all."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if len(samples):
        with wave.open(str(partial / "audio.wav"), "wb") as file:
            file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
            file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    for number, face in enumerate(faces):
        blue_first = np.ascontiguousarray(face[:, :, ::-1])
        _, data = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        (partial / f"face_{number}.jpg").write_bytes(data.tobytes())
    partial.rename(folder)
