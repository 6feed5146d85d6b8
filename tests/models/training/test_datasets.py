"""The data folder: what is read of it, and how it is labelled."""

import wave

import numpy as np
import pytest

from models.clips import read_clip
from models.errors import UsageError
from models.training.datasets import (
    FACE_CLASSES,
    HELD_OUT_SPEAKERS,
    PEOPLE_SEE,
    Clips,
    majority,
    read_data,
)


def test_a_folder_without_the_data_is_told_in_one_line(tmp_path):
    for folder in (tmp_path / "absent", tmp_path):
        with pytest.raises(UsageError) as caught:
            read_data(folder)
        assert str(tmp_path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_damaged_file_is_told_in_one_line(tmp_path):
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "ferplus_train.npz").write_bytes(b"PK nothing")
    with pytest.raises(UsageError, match="cannot be read"):
        read_data(tmp_path)


def test_clips_are_read_when_they_are_asked_for(tmp_path):
    for name in "ab":
        with wave.open(str(tmp_path / name), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(np.full(800, ord(name), np.int16).tobytes())
    (tmp_path / "c").write_bytes(b"no sound")
    clips = Clips([tmp_path / name for name in "abcd"])
    assert len(clips) == 4
    first = clips[0]
    np.testing.assert_array_equal(first, np.full(800, ord("a") / 32768, np.float32))
    (tmp_path / "a").unlink()
    assert clips[0] is first
    assert [one.tolist() for one in clips[:2]] == [one.tolist() for one in (first, clips[1])]
    for number in (2, 3):
        with pytest.raises(UsageError, match=f"{'abcd'[number]} cannot be read") as caught:
            clips[number]
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError):
        list(clips)


@pytest.mark.slow
def test_the_sets_have_their_sizes_and_labels(data):
    assert [(one.name, len(one)) for one in data.train] == [
        ("FER+", 28561),
        ("speech", 5033),
        ("GoEmotions", 43410),
        ("MELD", 9989),
        ("MELD", 9989),
        ("DailyDialog", 32573),
        ("XED", 16653),
        ("EmoryNLP", 4962),
        ("talk about tasks", 4155),
    ]
    assert {one.name: len(one) for one in data.valid} == {
        "FER+": 3300,
        "RAVDESS": 240,
        "Emo-DB": 116,
        "NEMO": 78,
        "Indian EmoSpeech": 149,
        "EmoGator": 425,
        "ordinary speech": 190,
        "noises": 30,
        "GoEmotions": 5426,
        "MELD": 1109,
        "DailyDialog": 7454,
        "XED": 2094,
        "EmoryNLP": 530,
        "talk about tasks": 5109,
    }
    for one in (*data.train, *data.valid):
        assert one.truths.shape == (len(one), 6)
        for labels in one.classes.values():
            assert len(labels) == len(one)
        assert len(one.speakers) == (len(one) if one.modality == "acoustic" else 0)
    assert {one.name: list(one.classes) for one in data.valid if one.classes} == {
        "FER+": ["FER2013", "FER+"],
        **{name: [name] for name in ("RAVDESS", "Emo-DB", "NEMO", "Indian EmoSpeech")},
        **{name: [name] for name in ("EmoGator", "MELD", "DailyDialog", "EmoryNLP")},
    }
    plain = {one.name for one in data.valid if not one.truths.any()}
    assert plain == {"ordinary speech", "noises", "talk about tasks"}
    ravdess = data.valid[1]
    assert ravdess.truths.sum(axis=0).tolist() == [32] * 6
    assert all(one.dtype == np.float32 and one.ndim == 1 for one in ravdess.items)


def test_the_votes_of_ten_say_a_face_s_class_where_there_is_one_and_how_people_differ(data, shared):
    faces = data.valid[0]
    order = FACE_CLASSES["FER+"]
    assert faces.votes.dtype == np.float32
    assert faces.votes.shape == (3300, 8)
    assert faces.votes.sum(axis=1).max() == 10
    np.testing.assert_array_equal(faces.truths, faces.votes[:, :6] >= 3)
    seen = faces.classes["FER+"]
    assert {*seen} == {*order, None}
    for label, votes in zip(seen, faces.votes, strict=True):
        if label is not None:
            assert label == order[votes.argmax()]
            assert 2 * votes.max() > votes[votes > 1].sum()
    assert np.mean([label is None for label in seen]) == pytest.approx(0.107, abs=0.001)
    pairs = zip(seen, faces.classes["FER2013"], strict=True)
    agree = [one == other for one, other in pairs if one is not None]
    assert 0.60 < np.mean(agree) < 0.70
    # And how people differ, of all faces to learn from.
    learnt = data.train[0]
    with np.load(shared / "data/faces/ferplus_train.npz") as file:
        everybody = file["votes"].sum(axis=1, keepdims=True)  # also who saw no face
    shares = learnt.votes[:, :6] / np.maximum(everybody, 1)
    for row, wanted in zip(PEOPLE_SEE, np.eye(7, 6, dtype=bool), strict=True):
        seen_by = shares[(learnt.truths == wanted).all(axis=1)].mean(axis=0)
        assert row[:6] == pytest.approx(seen_by, abs=0.001)
        assert row.sum() == pytest.approx(1, abs=0.002)


def test_a_majority_is_more_than_half_of_the_votes_that_somebody_shares():
    votes = [
        [6, 4, 0],  # more than half
        [5, 5, 0],  # a tie
        [3, 2, 1],  # half of all, but a single vote does not count: 3 of 5
        [4, 2, 2],  # just half
        [0, 0, 10],
        [1, 1, 1],  # nobody agrees
    ]
    assert majority(np.array(votes, np.uint8)) == [0, 3, 0, 3, 2, 3]


def test_nobody_held_out_speaks_in_training(data):
    heard = {speaker for one in data.valid for speaker in one.speakers}
    assert heard > HELD_OUT_SPEAKERS
    # The noises have no speaker; their file names stand in.
    assert not heard & {*data.train[1].speakers}
    actors = sorted(int(s[-2:]) % 2 for s in HELD_OUT_SPEAKERS if s.startswith("ravdess"))
    assert {*data.valid[1].speakers, *data.valid[2].speakers} == HELD_OUT_SPEAKERS
    assert actors == [0, 0, 1, 1]  # RAVDESS numbers women even, men odd


def test_a_clip_is_read_as_it_sounds(sentence, decode):
    path = sentence.path
    np.testing.assert_array_equal(read_clip(path), decode(path))
    with path.open("rb") as file:
        np.testing.assert_array_equal(read_clip(file), decode(path))
