"""The command that measures a model: card, picture, errors; and the shipped checkpoint."""

import multiprocessing
import wave
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from starting import run

from models.emotions import COMBINATIONS
from models.errors import UsageError
from models.mer import MERModel
from models.training import evaluation
from models.training.card import update_card
from models.training.datasets import (
    FACE_CLASSES,
    ExampleSet,
)
from models.training.evaluation import evaluate, judge
from models.training.picture import draw_report

pytestmark = pytest.mark.slow

# --- card and picture ---


def test_the_card_gets_its_figures_between_its_marks(report, judged, tmp_path):
    judged.save(tmp_path / "x", training={"float32": report.means})
    card = tmp_path / "CARD.md"
    card.write_text("before\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nafter\n")
    for _ in range(2):
        update_card(card, tmp_path / "x", report)
        text = card.read_text()
        assert text.startswith("before\n<!-- figures: begin -->")
        assert text.endswith("<!-- figures: end -->\nafter\n")
        assert text.count(str(report)) == 1
        assert "\nold\n" not in text
        assert "F1 in float32" in text
    card.write_text("no marks")
    with pytest.raises(UsageError, match="has no"):
        update_card(card, tmp_path / "x", report)
    with pytest.raises(UsageError, match="absent is not there"):
        update_card(tmp_path / "absent", tmp_path / "x", report)


def test_the_picture_shows_confusions_reliability_and_curves(report, tmp_path):
    import cv2

    draw_report(report, tmp_path / "report.png")
    picture = cv2.imread(str(tmp_path / "report.png"))
    assert min(picture.shape[:2]) > 1000
    assert picture.std() > 10
    for path in (tmp_path / "report.txt", tmp_path / "absent" / "report.png"):
        with pytest.raises(UsageError, match="cannot be drawn"):
            draw_report(report, path)


def data_folder(folder, toys):
    """The toys on disk in the layout of the real data, the same for training and validation."""
    faces, voices, words = toys
    columns = [*FACE_CLASSES["FER+"], "unknown", "not_a_face"]
    votes = np.zeros((len(faces), 10), np.uint8)
    for row, label in enumerate(faces.classes["FER2013"]):
        votes[row, columns.index(label)] = 10
    for name in ("faces", "speech", "speech_more", "text", "text_more"):
        (folder / name).mkdir()
    lines = ["file\tset\tspeaker\tlabel\ttext"]
    for row, (label, clip) in enumerate(zip(faces.classes["FER2013"], voices.items, strict=True)):
        speaker = ("ravdess-17", "emodb-11", "ravdess-01")[row // 7]
        lines.append(f"{row}.wav\t{speaker.split('-')[0]}\t{speaker}\t{label}\t")
        with wave.open(str(folder / "speech" / f"{row}.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes((clip * 32767).astype(np.int16).tobytes())
    (folder / "speech" / "labels.tsv").write_text("\n".join(lines))
    (folder / "speech_more" / "labels.tsv").write_text(lines[0])
    rows = [
        (text, label, part)
        for text, label in zip(words.items, faces.classes["FER2013"], strict=True)
        for part in ("train", "dev")
    ]
    header = "text\tlabels\tsplit"
    table = "\n".join([header, *("\t".join(row) for row in rows)])
    for name in ("goemotions", "meld"):
        for part in ("train", "dev"):
            (folder / "text" / f"{name}_{part}.tsv").write_text(table)
    for name in ("dailydialog", "xed", "emorynlp"):
        (folder / "text_more" / f"{name}.tsv").write_text(table)
    for name in ("maptask", "mrda", "oasis", "swda", "uss"):
        (folder / "text_more" / f"weak_{name}.tsv").write_text(
            f"{header}\nokay\tneutral\ttrain\nokay\tneutral\tdev"
        )
    for part in ("train", "valid"):
        np.savez(
            folder / "faces" / f"ferplus_{part}.npz",
            images=np.stack(faces.items),
            votes=votes,
            columns=columns,
            fer2013_label=np.array(faces.classes["FER2013"]),
        )


# --- the command ---


def test_the_command_prints_writes_draws_and_renews_the_card(toys, report, judged, tmp_path):
    data_folder(tmp_path, toys)
    judged.save(tmp_path / "x.safetensors", training={})
    # In a process of its own, as the command is: here other tests have changed PyTorch's number of
    # threads, with which sums end in other last bits.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        full = fresh.submit(evaluate, tmp_path / "x.safetensors", tmp_path).result()
    judged.save(tmp_path / "x.safetensors", training={"float32": full.means})
    card = tmp_path / "CARD.md"
    card.write_text("<!-- figures: begin --><!-- figures: end -->")
    outputs = ("--json", tmp_path / "x.json", "--plot", tmp_path / "x.png", "--card", card)
    profile = ("--data", tmp_path, "--profile", tmp_path / "x.safetensors")
    assert run("evaluate", "mer", *profile, *outputs) == (0, f"{full}\n", "")
    assert (tmp_path / "x.json").read_text() == full.to_json() + "\n"
    assert (tmp_path / "x.png").stat().st_size > 10_000
    assert str(full) in card.read_text()
    # Each replaces its own kind.
    assert run("evaluate", "mer", *profile, *outputs) == (0, f"{full}\n", "")
    assert (tmp_path / "x.json").read_text() == full.to_json() + "\n"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--json", "absent/x.json"], "absent/x.json cannot be written"),
        (["--profile", "absent.safetensors"], "absent.safetensors is not a file"),
    ],
)
def test_a_command_that_cannot_be_done_is_said_in_one_line(tmp_path, options, named):
    status, out, err = run("evaluate", "mer", "--data", tmp_path, *options)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert named in err


# --- the shipped checkpoint ---


@pytest.mark.timeout(900)  # minutes of two cores, more on slow ones
def test_the_shipped_checkpoint_beats_a_coin_on_every_modality(data, monkeypatch):
    """A part of each set, evenly drawn, to be quick; `evaluate` takes all."""
    monkeypatch.setattr(evaluation, "_TOGETHER_EXAMPLES", 150)
    model = MERModel.load("embedded")
    parts = []
    most = {"visual": 200, "acoustic": 30, "textual": 200}  # a voice takes the longest
    for one in data.valid:
        count = min(len(one), most[one.modality])
        chosen = np.linspace(0, len(one) - 1, count).astype(int)
        parts.append(
            ExampleSet(one.name, one.modality, [one.items[i] for i in chosen], one.truths[chosen])
        )
    report = judge(model, parts)
    assert {one.given for one in report.sets} == set(COMBINATIONS)
    for one in report.sets:
        if one.wacc is None:
            assert one.false_alarms < 0.1, one  # nobody expresses anything
            continue
        assert one.wacc > 0.55, one
        # Always saying yes has a good F1 where most examples express something, as in these.
        assert one.f1 > one.guess_f1 or one.name in ("EmoryNLP", "Indian EmoSpeech"), one
    assert report.thresholds == model.thresholds
    # Of what people say by face, voice and words nobody can be so sure.
    (whole,) = (one for one in report.sets if one.given == COMBINATIONS[-1])
    assert whole.cocksure < 0.2


def test_evaluate_refuses_what_it_cannot_read(tmp_path):
    with pytest.raises(UsageError, match="not a file"):
        evaluate(tmp_path / "absent", tmp_path)
    with pytest.raises(UsageError, match="missing from the data folder"):
        evaluate("embedded", tmp_path)
