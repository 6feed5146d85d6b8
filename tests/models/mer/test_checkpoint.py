"""Checkpoints: written, read back, refused; and the one that ships."""

import json

import numpy as np
import pytest
import torch
from mer_numbers import calibrated, numbers
from toys import HALVES, TINY_ALBERT, TINY_HUBERT, tiny, utterance

from models.errors import MissingWeights, UsageError
from models.mer import MERModel
from models.mer.checkpoint import FORMAT, VERSION, read_training

torch.set_num_threads(1)  # as the program does: small networks gain nothing from more


@pytest.fixture(scope="module")
def shipped():
    return MERModel.load("embedded")


# --- checkpoints ---


@pytest.mark.slow
@pytest.mark.parametrize(
    "parts",
    [{}, {"visual": "inception_resnet_v1", "acoustic": TINY_HUBERT, "textual": TINY_ALBERT}],
    ids=["embedded", "paper"],
)
def test_a_checkpoint_brings_everything_back(tmp_path, parts):
    before = tiny(**parts, classifiers={"FER+": ("x", "y", "z")})
    before.calibration = calibrated().calibration
    before.resting = {given: {**row, "fear": 0.125} for given, row in HALVES.items()}
    before.save(tmp_path / "a.safetensors", training={"epochs": 3})
    after = MERModel.load(tmp_path / "a.safetensors")
    given = utterance(7, faces=1)
    # float16 and int8 cost a little once ...
    np.testing.assert_allclose(
        numbers(after.predict(*given)), numbers(before.predict(*given)), atol=0.02
    )
    assert read_training(tmp_path / "a.safetensors") == {"epochs": 3}
    assert after.calibration == before.calibration
    assert after.resting == before.resting
    assert after.predict(*given).resting["fear"] == 0.125
    assert after.classes == before.classes
    vectors = torch.rand(1, 3, 8)
    torch.testing.assert_close(
        after.classify(vectors)["FER+"], before.classify(vectors)["FER+"], atol=0.01, rtol=0
    )
    # ... and nothing more the second time.
    after.save(tmp_path / "b.safetensors", training={})
    again = MERModel.load(tmp_path / "b.safetensors")
    np.testing.assert_allclose(
        numbers(again.predict(*given)), numbers(after.predict(*given)), atol=1e-6
    )


def test_a_model_without_thresholds_is_not_saved(tmp_path):
    model = tiny()
    model.thresholds = None
    with pytest.raises(ValueError, match="thresholds"):
        model.save(tmp_path / "a.safetensors", training={})
    assert list(tmp_path.iterdir()) == []


def damaged(tmp_path, kind):
    """A file that is not a checkpoint, in one of several ways."""
    path = tmp_path / "bad.safetensors"
    tiny().save(path, training={})
    whole = path.read_bytes()
    if kind == "cut off":
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "text":
        path.write_text("happiness = 1\n")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "folder":
        path = tmp_path
    elif kind == "absent":
        path = tmp_path / "absent"
    elif kind == "foreign":
        from safetensors.torch import save_file

        save_file({"x": torch.zeros(1)}, path)
    else:
        description = described(path)
        if kind == "older":
            description["version"] = VERSION - 1
        if kind == "newer":
            description["version"] = VERSION + 1
        if kind == "no tokenizer":
            description["tokenizer"] = "{}"
        if kind == "other shape":
            description["architecture"]["hidden_width"] = 9
        if kind == "no thresholds":
            description["thresholds"] = {}
        if kind == "half a calibration":
            description["calibration"] = {"visual": calibrated().calibration["visual"]}
        if kind == "a calibration upside down":
            description["calibration"] = calibrated().calibration
            description["calibration"]["textual"]["fear"] = [-1, 0]
        if kind == "no description":
            description = 7
        describe(path, description)
    return path


def described(path):
    """What a checkpoint says of itself."""
    whole = path.read_bytes()
    header = json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])
    return json.loads(header["__metadata__"][FORMAT])


def describe(path, description):
    """Let the checkpoint say another thing of itself."""
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    header["__metadata__"][FORMAT] = json.dumps(description)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + length :])


@pytest.mark.parametrize(
    "kind",
    [
        "cut off",
        "text",
        "empty",
        "folder",
        "absent",
        "foreign",
        "older",
        "newer",
        "no tokenizer",
        "other shape",
        "no thresholds",
        "half a calibration",
        "a calibration upside down",
        "no description",
    ],
)
def test_what_is_not_a_checkpoint_is_refused_in_one_line(tmp_path, kind):
    path = damaged(tmp_path, kind)
    with pytest.raises(UsageError) as caught:
        MERModel.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_paper_profile_without_weights_says_in_one_line_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("LIVE_EMOTION_WEIGHTS", str(tmp_path))
    with pytest.raises(MissingWeights) as caught:
        MERModel.load("paper")
    line = str(caught.value)
    assert "\n" not in line
    assert "paper" in line
    assert "MB" in line
    assert str(tmp_path) in line


# --- the shipped checkpoint ---


def test_the_shipped_checkpoint_is_small_and_tells_where_it_comes_from():
    from models.registry import resolve

    path = resolve("embedded")
    assert path.stat().st_size < 45e6
    training = read_training(path)
    assert "CC BY-NC-SA" in training["licences"]
    assert training["float32"]


@pytest.mark.parametrize(
    ("text", "emotion"),
    [
        ("I am so happy for you, this is wonderful, thank you!", "happiness"),
        ("I miss her so much, I can not stop crying.", "sadness"),
        ("How dare you, you are a liar and I hate you!", "anger"),
        ("Oh my god, I can't believe it, what a surprise!", "surprise"),
    ],
)
def test_plain_words_are_understood(shipped, text, emotion):
    scores = shipped.predict(None, None, text)
    assert max(scores.probabilities, key=scores.probabilities.__getitem__) == emotion
    assert emotion in scores.expressed


def test_a_neutral_sentence_expresses_nothing(shipped):
    assert shipped.predict(None, None, "The meeting is in the room on the left.").expressed == ()
