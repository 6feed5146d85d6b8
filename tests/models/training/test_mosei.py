"""CMU-MOSEI from raw videos to a trained model, on videos, answers and backbones made here in
their true formats; only the face in them is a real one."""

import shutil
import sys

import numpy as np
import pytest
import torch
from mosei_release import EACH, IDS, LENGTH_S, SILENT, SPEECHLESS, build, kinds
from toys import WORDS

import run_live
from models.emotions import MODALITIES
from models.errors import UsageError
from models.training.mosei import Utterances, read_mosei
from models.training.mosei_raw import build_mosei, read_answers, read_transcripts

torch.set_num_threads(1)


# --- cutting ---


@pytest.mark.slow
def test_what_cannot_be_cut_is_listed_with_its_reason(built):
    folder, result, seen = built
    assert [one.done for one in seen] == list(range(1, 8))
    assert {one.videos for one in seen} == {7}
    assert result == seen[-1]
    assert result.utterances == len(IDS) + 2
    reasons = dict(result.left_out)
    assert reasons.pop("cut_0").startswith("cut.mp4 cannot be read: ")
    assert reasons.pop("junk_0").startswith("junk.mp4 cannot be read: ")
    assert reasons == {
        "d0_9": "d0.mp4 ends before it",
        "d0_10": "nobody judged it",
        "lost_0": "its video is missing",
        "untold_0": "it has no transcript",
    }
    lines = (folder / "left_out.tsv").read_text().splitlines()
    assert lines[0] == "id\twhy"
    assert dict(line.split("\t") for line in lines[1:]) == result.left_out
    assert not list((folder / "utterances").glob("*.partial"))


def test_every_utterance_is_cut_where_it_is(built):
    mosei = read_mosei(built[0])
    assert len(mosei.train) == len(mosei.valid) == len(IDS)
    for number, item in enumerate(mosei.train.items):
        samples = item["acoustic"]
        assert samples.dtype == np.float32
        assert len(samples) == pytest.approx(LENGTH_S * 16_000, abs=2)
        # The loudest tones are those of its own emotions: neighbours have others.
        spectrum = np.abs(np.fft.rfft(samples[1000:-1000] * np.hanning(len(samples) - 2000)))
        strength = [
            spectrum[round(250 * 1.6**kind * (len(samples) - 2000) / 16_000)] for kind in range(6)
        ]
        assert {k for k in range(6) if strength[k] > 100} == set(kinds(number))
        words = [WORDS[10 + kind] for kind in kinds(number)] or [WORDS[20]]
        assert item["textual"] == " ".join(words * 2)
        assert mosei.train.truths[number].nonzero()[0].tolist() == sorted(kinds(number))


def test_faces_are_found_where_there_are_and_nothing_else(built, raw):
    items = dict(zip(IDS, read_mosei(built[0]).train.items, strict=True))
    counts = {name: len(item.get("visual", ())) for name, item in items.items()}
    found = {name: count for name, count in counts.items() if count}
    assert found == {f"plain_{number}": 5 if number == 1 else 1 for number in range(EACH)}
    for face in items["plain_1"]["visual"]:
        assert face.shape == (160, 160, 3)
        assert face.dtype == np.uint8
        red, _, blue = face[40:120, 40:120].mean(axis=(0, 1))
        assert red > blue + 10  # skin, so the colours are not swapped


def test_what_is_missing_is_missing(built):
    mosei = read_mosei(built[0])
    items = dict(zip([*IDS, SPEECHLESS, SILENT], mosei.test.items, strict=True))
    assert items[SPEECHLESS].keys() == {"acoustic"}
    assert items[SILENT].keys() == {"textual"}
    assert mosei.test.speakers[-3:] == ("d0", "d0", "mute")
    assert mosei.test.modality == "+".join(MODALITIES)


def test_a_second_run_cuts_only_what_is_missing(built, raw, tmp_path):
    folder = tmp_path / "again"
    shutil.copytree(built[0], folder)
    shutil.rmtree(folder / "utterances" / "d0_3")
    (folder / "utterances" / "d0_3.partial").mkdir()  # as an interrupted run leaves it
    kept = folder / "utterances" / "d0_4" / "audio.wav"
    kept.write_bytes(b"not touched")
    assert build(raw, folder) == built[1]
    assert kept.read_bytes() == b"not touched"
    for path in (built[0] / "utterances" / "d0_3").iterdir():
        assert (folder / "utterances" / "d0_3" / path.name).read_bytes() == path.read_bytes()


def test_the_command_cuts_and_lists_what_it_left_out(built, raw, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "again"
    shutil.copytree(built[0], folder)

    def command(videos):
        folders = {name: raw / name for name in ("transcripts", "labels", "splits")}
        folders |= {"videos": videos, "out": folder}
        options = [str(part) for name, path in folders.items() for part in (f"--{name}", path)]
        monkeypatch.setattr(sys, "argv", ["run_live.py", "mosei", *options])
        return run_live.main(), capsys.readouterr()

    status, said = command(raw / "videos")
    lines = said.out.splitlines()
    assert status == 0
    assert lines[0] == f"34 utterances of 7 videos are in {folder}"
    assert lines[1] == f"6 were left out, see {folder / 'left_out.tsv'}:"
    assert "     1 its video is missing" in lines
    status, said = command(tmp_path / "nowhere")
    assert status == 2
    assert said.err == f"error: {tmp_path / 'nowhere'} is not a folder: " + (
        "give the one with the full videos\n"
    )


def test_transcripts_with_odd_names_and_underscores_are_read(raw):
    spoken = read_transcripts(raw / "transcripts")
    assert set(IDS) < spoken.keys()
    assert spoken["-a_b__0"].video == "-a_b_"
    assert spoken["d0_8"].text == ""
    assert spoken["d0_9"].text == "after the end"
    assert (spoken["c__1_2"].start_s, spoken["c__1_2"].end_s) == (1.5, 2.1)


def test_answers_are_means_over_those_who_gave_them(raw):
    answers = read_answers(raw / "labels")
    assert answers["c__1_2"] == [0, 0, 1, 0, 0, 0]
    assert answers["d0_0"] == [1, 0, 0, 0, 0, 0]  # the row that lacks an answer does not count
    assert answers["d0_8"] == [1] * 6
    assert "d0_10" not in answers  # the file on sentiment has no emotions


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("videos", "no utterance of the split"),
        ("transcripts", "has no *.txt"),
        ("labels", "has no *.csv"),
        ("splits", "has no *train*.txt"),
    ],
)
def test_a_wrong_folder_is_told_in_one_line(raw, tmp_path, broken, says):
    folders = {name: raw / name for name in ("videos", "transcripts", "labels", "splits")}
    (tmp_path / "empty").mkdir()
    folders[broken] = tmp_path / "empty"
    with pytest.raises(UsageError) as caught:
        build_mosei(*folders.values(), tmp_path / "out")
    assert says in str(caught.value)
    assert str(tmp_path / "empty") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_answers_without_emotions_are_told_in_one_line(tmp_path):
    (tmp_path / "a.csv").write_text("id,label\n1,2\n")
    with pytest.raises(UsageError, match=r"Answer\.anger"):
        read_answers(tmp_path)


# --- reading ---


def test_a_folder_of_another_layout_is_told_in_one_line(built, tmp_path):
    def refused(folder):
        with pytest.raises(UsageError) as caught:
            read_mosei(folder)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "utterances.tsv is missing" in refused(tmp_path)
    for name in ("splits", "utterances.tsv"):
        source = built[0] / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    assert "utterances is missing" in refused(tmp_path)
    (tmp_path / "utterances").mkdir()
    assert "none of the utterances in" in refused(tmp_path)
    (tmp_path / "utterances.tsv").write_text("id\ttext\na_1\thello\n")
    assert "is not a table of id, happiness" in refused(tmp_path)


def test_a_damaged_file_is_named(tmp_path):
    items = Utterances(tmp_path, ["a_1"], ["words"])
    (tmp_path / "a_1").mkdir()
    assert items[0] == {"textual": "words"}
    assert items[0:5] == [{"textual": "words"}]
    for name in ("audio.wav", "face_0.jpg"):
        (tmp_path / "a_1" / name).write_bytes(b"nothing")
        with pytest.raises(UsageError, match=rf"{name} is damaged: remove the folder .*a_1"):
            items[0]
        (tmp_path / "a_1" / name).unlink()
