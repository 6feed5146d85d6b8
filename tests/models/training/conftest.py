"""What several files of tests on training use."""

import csv
import dataclasses

import av
import numpy as np
import pytest
from judging import untrained
from mosei_release import (
    EACH,
    EVERY_S,
    IDS,
    LENGTH_S,
    SILENT,
    SPEECHLESS,
    VIDEOS,
    build,
    kinds,
    sound,
    write_video,
)
from toy_sets import toy_set
from toys import WORDS

from models.emotions import EMOTIONS, MODALITIES
from models.training.datasets import (
    read_data,
)
from models.training.evaluation import judge


@pytest.fixture(scope="module")
def data(shared):
    return read_data(shared / "data")


@pytest.fixture(scope="module")
def toys():
    """A validation set a modality; the faces with single labels, one of them missing."""
    faces, voices, words = (toy_set(name, seed=1, repeat=3) for name in MODALITIES)
    names = np.array([*EMOTIONS, "neutral"])
    kinds = np.where(faces.truths.any(axis=1), faces.truths.argmax(axis=1), 6)
    labels = tuple(names[kinds].tolist())
    return (
        dataclasses.replace(
            faces, name="FER+", classes={"FER2013": labels, "FER+": (None, *labels[1:])}
        ),
        dataclasses.replace(
            voices, name="RAVDESS", speakers=tuple("abc"[n // 7] for n in range(21))
        ),
        dataclasses.replace(words, name="GoEmotions"),
    )


@pytest.fixture(scope="module")
def report(toys):
    return judge(untrained(), toys)


@pytest.fixture(scope="module")
def judged(report):
    """The model that the report is about, ready to predict."""
    model = untrained()
    model.thresholds, model.calibration = report.thresholds, report.calibration
    return model


@pytest.fixture(scope="module")
def raw(talk, tmp_path_factory):
    """The folders of a release: four videos of eight utterances, and what goes wrong."""
    folder = tmp_path_factory.mktemp("raw")
    for name in ("videos", "transcripts", "labels", "splits"):
        (folder / name).mkdir()
    with av.open(str(talk.path)) as container:
        talker = next(container.decode(video=0)).to_ndarray(format="rgb24")
    empty = np.full((240, 320, 3), 90, np.uint8)
    seen = empty.copy()
    seen[20:220, 60:260] = talker[20:220, 90:290]

    # A face all through utterance 1 of the first video, and in the middle of its others.
    def plain(time):
        number, within = divmod(time + 1e-6, EVERY_S)
        return seen if number == 1 or 0.28 < within < 0.42 else empty

    seconds = EACH * EVERY_S + 0.5
    for place, video in enumerate(VIDEOS):
        numbers = range(place * EACH, (place + 1) * EACH)
        write_video(
            folder / "videos" / f"{video}.mp4",
            seconds,
            plain if place == 0 else lambda time: empty,
            sound(numbers),
        )
        lines = []
        for index, number in enumerate(numbers):
            words = [WORDS[10 + kind] for kind in kinds(number)] or [WORDS[20]]
            start = index * EVERY_S
            lines.append(f"{video}___{index}___{start:.3f}___{start + LENGTH_S}___{words * 2}\n")
        text = "".join(lines).replace("[", "").replace("]", "").replace("'", "").replace(",", "")
        (folder / "transcripts" / f"{video}.txt").write_text(text)
    write_video(folder / "videos" / "mute.mp4", 1, lambda time: empty)
    whole = (folder / "videos" / "d0.mp4").read_bytes()
    (folder / "videos" / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "videos" / "junk.mp4").write_bytes(b"this is no video")
    with (folder / "transcripts" / "d0.txt").open("a") as file:
        file.write("d0___8_____5.5___6.1___\n")  # an underscore too many, nobody speaks
        file.write("d0___9___100.0___101.0______after the end\n")
        file.write("d0___10___1.0___2.0___nobody judged this\n")
        file.write("no utterance at all\n")
    for name in ("mute", "cut", "junk", "lost"):
        (folder / "transcripts" / f"{name}.txt").write_text(f"{name}___0___0.1___0.9___w1 w2\n")

    columns = ("Input.VIDEO_ID", "Input.CLIP", *(f"Answer.{e}" for e in EMOTIONS))
    rows = [
        # Three see each emotion, two of them a little of it.
        (f"http://somewhere/{video}" if video == "c__1" else video, index, *strengths)
        for place, video in enumerate(VIDEOS)
        for index in range(EACH)
        for strong in (0, 1, 2)
        for strengths in [[strong * (n in kinds(place * EACH + index)) for n in range(6)]]
    ]
    rows += [(name, 0, *[0] * 6) for name in ("mute", "cut", "junk", "lost", "untold")]
    rows += [("d0", 8, *[1] * 6), ("d0", 9, *[0] * 6), ("d0", 0, *["3"] * 5, "")]
    half = len(rows) // 2
    for number, part in enumerate((rows[:half], rows[half:])):
        with (folder / "labels" / f"batch_{number}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([columns, *part])
    (folder / "labels" / "sentiment.csv").write_text("Input.VIDEO_ID,Input.CLIP\nd0,10\n")

    strange = ["d0_9", "d0_10", "cut_0", "junk_0", "lost_0", "untold_0", SPEECHLESS, SILENT]
    for part, ids in {"train": IDS, "valid": IDS, "test": [*IDS, *strange]}.items():
        (folder / "splits" / f"{part}_split.txt").write_text("\n".join(ids))
    return folder


@pytest.fixture(scope="module")
def built(raw, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mosei")
    seen = []
    result = build(raw, folder, on_progress=seen.append)
    return folder, result, seen
