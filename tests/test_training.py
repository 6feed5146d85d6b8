import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score
from test_mer import TINY_ALBERT, TINY_HUBERT, WORDS, tiny, tokenizer

from models.emotions import COMBINATIONS, EMOTIONS, MODALITIES
from models.errors import MissingWeights, UsageError
from models.mer import MERModel
from models.mer.checkpoint import read_training
from models.training import Report, evaluate, evaluation, train
from models.training.augmentation import (
    augment_face,
    augment_sound,
    augment_text,
    grey_to_rgb,
)
from models.training.batches import PAIRED, Batches, Epoch, Pool, paired
from models.training.card import update_card
from models.training.datasets import HELD_OUT_SPEAKERS, Data, ExampleSet, read_clip, read_data
from models.training.fitting import fit, rate_at
from models.training.metrics import THRESHOLDS, best_threshold, f1, score
from models.training.starting_points import starting_model

# --- metrics -----------------------------------------------------------------------------------

decisions = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60)


@given(decisions)
def test_f1_and_wacc_are_scikit_learns(pairs):
    yes, truth = (np.array(column) for column in zip(*pairs, strict=True))
    assert f1(yes, truth) == pytest.approx(f1_score(truth, yes, zero_division=0))
    if truth.all() or not truth.any():
        with pytest.raises(ValueError, match="with and without"):
            score(yes, truth)
        return
    found = score(yes, truth)
    assert found.wacc == pytest.approx(balanced_accuracy_score(truth, yes))
    assert found.guess_f1 == pytest.approx(f1_score(truth, np.ones_like(truth)))
    assert found.positives == truth.sum()


@given(
    st.lists(st.tuples(st.sampled_from(THRESHOLDS) | st.floats(0, 1), st.booleans()), min_size=1)
)
def test_the_chosen_threshold_has_the_best_f1_of_all_above_it_strictly(pairs):
    probability, truth = (np.array(column) for column in zip(*pairs, strict=True))
    chosen = best_threshold(probability, truth)
    best = max(f1_score(truth, probability > t, zero_division=0) for t in THRESHOLDS)
    assert chosen in THRESHOLDS
    assert f1(probability > chosen, truth) == pytest.approx(best)


def test_thresholds_go_from_5_to_95_percent_in_steps_of_5():
    assert [round(100 * t) for t in THRESHOLDS] == list(range(5, 100, 5))


# --- the data ----------------------------------------------------------------------------------


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


@pytest.fixture(scope="module")
def data(shared):
    return read_data(shared / "data")


def test_the_sets_have_their_sizes_and_labels(data):
    assert {one.name: len(one) for one in data.train} == {
        "FER+": 28561,
        "speech": 1252,
        "GoEmotions": 43410,
        "MELD": 9989,
    }
    assert {one.name: len(one) for one in data.valid} == {
        "FER+": 3300,
        "RAVDESS": 240,
        "Emo-DB": 116,
        "GoEmotions": 5426,
        "MELD": 1109,
    }
    for one in (*data.train, *data.valid):
        assert one.truths.shape == (len(one), 6)
        assert not one.classes or len(one.classes) == len(one)
    ravdess = data.valid[1]
    assert ravdess.truths.sum(axis=0).tolist() == [32] * 6
    assert all(one.dtype == np.float32 and one.ndim == 1 for one in ravdess.items)


def test_nobody_held_out_speaks_in_training(data, shared):
    lines = (shared / "data" / "speech" / "labels.tsv").read_text(encoding="utf-8").splitlines()[1:]
    speakers = [line.split("\t")[2] for line in lines]
    held_out = sum(speaker in HELD_OUT_SPEAKERS for speaker in speakers)
    assert len(data.train[1]) == len(speakers) - held_out
    assert len(data.valid[1]) + len(data.valid[2]) == held_out
    actors = sorted(int(s[-2:]) % 2 for s in HELD_OUT_SPEAKERS if s.startswith("ravdess"))
    assert actors == [0, 0, 1, 1]  # RAVDESS numbers women even, men odd


def test_a_clip_is_read_as_it_sounds(shared, decode):
    path = shared / "media" / "speech" / "jfk.flac"
    np.testing.assert_array_equal(read_clip(path), decode(path))


# --- augmentation and batches ------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1))
def test_augmented_examples_keep_their_form_and_follow_the_generator(seed):
    rng = np.random.default_rng(seed)
    face = rng.integers(0, 256, (48, 48), dtype=np.uint8)
    clip = (rng.standard_normal(rng.integers(1, 40_000)) * 0.1).astype(np.float32)
    text = "I can't believe, that you did this!"

    def changed():
        rng = np.random.default_rng([seed, 1])
        return (
            augment_face(face, rng),
            augment_sound(clip, rng, longest_s=1.5),
            augment_text(text, rng),
        )

    (picture, sound, words), again = changed(), changed()
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert sound.dtype == np.float32
    assert 1 <= len(sound) <= 24_000
    assert np.abs(sound).max() <= 1
    assert words
    allowed = {*text.lower().split(), "believe", "this"}
    assert set(words.lower().split()) <= allowed
    np.testing.assert_array_equal(picture, again[0])
    np.testing.assert_array_equal(sound, again[1])
    assert words == again[2]


def test_silence_can_be_augmented():
    silence = np.zeros(5000, np.float32)
    assert not augment_sound(silence, np.random.default_rng(0), longest_s=2).any()


def toy_set(modality, *, repeat=2, seed=0):
    """Examples of every emotion alone and of none, `repeat` of each, easy to tell apart."""
    rng = np.random.default_rng([seed, MODALITIES.index(modality)])
    items, truths = [], []
    for kind in [*range(6), 6] * repeat:
        truths.append([kind == column for column in range(6)])
        if modality == "visual":
            face = rng.integers(0, 60, (48, 48)).astype(np.uint8)
            face[:, kind * 6 : kind * 6 + 8] += 180
            items.append(face)
        elif modality == "acoustic":
            time = np.arange(16_000 + int(rng.integers(8000))) / 16_000
            items.append(np.sin(2 * np.pi * 200 * 1.7**kind * time).astype(np.float32) / 3)
        else:
            items.append(" ".join([WORDS[10 + kind]] * int(rng.integers(2, 6))))
    return ExampleSet(modality, modality, items, np.array(truths))


SMALL = Epoch(
    batches={"visual": 1, "acoustic": 1, "textual": 1, PAIRED: 1},
    sizes={"visual": 4, "acoustic": 4, "textual": 4, PAIRED: 2},
)


@pytest.fixture
def toys(monkeypatch):
    monkeypatch.setattr(evaluation, "_PAIRED_EXAMPLES", 30)
    return Data(
        train=tuple(toy_set(name) for name in MODALITIES),
        valid=tuple(toy_set(name, seed=1) for name in MODALITIES),
    )


def test_a_batch_depends_on_seed_and_step_alone(toys):
    model = tiny()
    some = Batches(toys.train, model, epoch=SMALL, seed=3)
    others = Batches(toys.train, model, epoch=SMALL, seed=3)
    for step in (9, 2, 5):
        (examples, truths), (examples2, truths2) = some[step], others[step]
        torch.testing.assert_close(truths, truths2, rtol=0, atol=0)
        for one, two in zip(examples, examples2, strict=True):
            assert one.keys() == two.keys()
            for name in one:
                torch.testing.assert_close(one[name], two[name], rtol=0, atol=0)


def test_a_pass_shows_every_example_once_and_rare_neutral_ones_twice(toys):
    pool = Pool([toys.train[0]], seed=0)
    shown = [int(n) for first in range(0, 32, 8) for n in pool.in_turn(first, 8)]
    assert sorted(shown[:16]) == sorted([*range(14), *pool.alone[None]])
    assert sorted(shown[16:]) == sorted(shown[:16])
    assert shown[16:] != shown[:16]


def test_paired_examples_agree_lose_modalities_and_always_carry_their_emotion():
    pools = {name: Pool([toy_set(name)], seed=0) for name in MODALITIES}
    texts = pools["textual"].items
    raw, truths = paired(pools, 400, np.random.default_rng(0))
    assert {frozenset(one) for one in raw} > {frozenset(MODALITIES)}
    assert all(raw)
    assert 0.2 < (~truths.any(axis=1)).mean() < 0.4
    said = [
        (truth, pools["textual"].truths[texts.index(one["textual"])])
        for one, truth in zip(raw, truths, strict=True)
        if "textual" in one
    ]
    agree = [bool((truth == words).all()) for truth, words in said]
    assert 0.8 < np.mean(agree) < 1
    assert all(ok or not words.any() for ok, (_, words) in zip(agree, said, strict=True))


# --- fitting -----------------------------------------------------------------------------------


def test_the_rate_warms_up_and_falls_to_nothing():
    assert rate_at(0) == 0
    assert rate_at(0.05) == pytest.approx(1)
    assert rate_at(1) == pytest.approx(0, abs=1e-9)
    rates = [rate_at(step / 100) for step in range(101)]
    assert rates[:6] == sorted(rates[:6])
    assert rates[5:] == sorted(rates[5:], reverse=True)


class InterruptedTrainingError(Exception):
    pass


def test_resumed_training_comes_to_the_same_weights(toys, tmp_path):
    def stop_after_first_epoch(progress):
        if progress.report:
            raise InterruptedTrainingError

    def run(out, **options):
        return fit(untrained(), toys, tmp_path / out, epoch=SMALL, epochs=2, seed=5, **options)

    steps = []
    whole = run("whole", on_progress=steps.append)
    assert [one.step for one in steps] == list(range(1, 9))
    assert all(math.isfinite(one.loss) for one in steps)
    assert [one.report is not None for one in steps] == [False, False, False, True] * 2
    with pytest.raises(InterruptedTrainingError):
        run("parts", on_progress=stop_after_first_epoch)
    assert (tmp_path / "parts").is_file()  # an interrupted training leaves a usable checkpoint
    assert run("parts", resume=True) == whole
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()
    assert read_training(tmp_path / "whole")["float32"].keys() == whole.means.keys()


def untrained():
    model = tiny().requires_grad_(True)
    model.thresholds = None
    return model


def test_what_cannot_be_resumed_is_told_in_one_line(toys, tmp_path):
    def resume(**options):
        with pytest.raises(UsageError) as caught:
            fit(untrained(), toys, tmp_path / "x", epoch=SMALL, resume=True, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no training to resume" in resume(epochs=1, seed=1)
    fit(untrained(), toys, tmp_path / "x", epoch=SMALL, epochs=1, seed=1)
    assert "other settings" in resume(epochs=1, seed=2)
    (tmp_path / "x.training").write_bytes(b"nothing")
    assert "cannot be resumed" in resume(epochs=1, seed=1)


def test_training_without_its_starting_points_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("LIVE_EMOTION_WEIGHTS", str(tmp_path))
    with pytest.raises(MissingWeights, match="inception-resnet-v1"):
        train(tmp_path, tmp_path / "out", profile="paper")
    with pytest.raises(UsageError, match="no profile large"):
        train(tmp_path, tmp_path / "out", profile="large")
    with pytest.raises(UsageError, match="epochs must be at least 1"):
        train(tmp_path, tmp_path / "out", epochs=0)


def test_the_paper_model_starts_from_weights_in_their_true_formats(tmp_path, monkeypatch):
    from facenet_pytorch import InceptionResnetV1
    from transformers import AlbertConfig, AlbertModel, HubertConfig, HubertModel

    monkeypatch.setenv("LIVE_EMOTION_WEIGHTS", str(tmp_path))
    face = InceptionResnetV1(classify=True, num_classes=10)
    torch.save(face.state_dict(), tmp_path / "20180402-114759-vggface2.pt")
    voice = HubertModel(HubertConfig(**TINY_HUBERT)).eval()
    voice.save_pretrained(tmp_path / "distilhubert")
    AlbertModel(AlbertConfig(**TINY_ALBERT)).save_pretrained(tmp_path / "albert-base-v2")
    (tmp_path / "albert-base-v2" / "tokenizer.json").write_text(tokenizer())
    model = starting_model("paper", tmp_path).eval()
    started = model.backbones["visual"].network.state_dict()
    torch.testing.assert_close(
        started["last_linear.weight"], face.state_dict()["last_linear.weight"]
    )
    sound = torch.randn(1, 8000)
    torch.testing.assert_close(
        model.backbones["acoustic"].encoder(sound).last_hidden_state, voice(sound).last_hidden_state
    )
    assert model.thresholds is None


# --- the report --------------------------------------------------------------------------------


def test_a_report_prints_as_a_table_and_as_json(toys, tmp_path):
    report = fit(untrained(), toys, tmp_path / "x", epoch=SMALL, epochs=1, seed=1)
    assert isinstance(report, Report)
    rows = [line.split("|")[1:3] for line in str(report).splitlines() if line.startswith("|")]
    shown = {(name.strip(), given.strip()) for name, given in rows}
    assert {("visual", "visual"), ("textual", "textual")} <= shown
    assert {("put together", combination) for combination in COMBINATIONS} <= shown
    figures = json.loads(report.to_json())
    assert figures["thresholds"] == report.thresholds
    for one, written in zip(report.sets, figures["sets"], strict=True):
        assert written["f1"] == one.f1
        assert written["emotions"]["fear"]["wacc"] == one.emotions["fear"].wacc


def test_thresholds_of_a_modality_come_from_its_own_sets_and_of_several_from_those_together(toys):
    model = untrained()
    report = evaluation.judge(model, toys.valid)
    assert tuple(report.thresholds) == COMBINATIONS
    visual = toys.valid[0]
    model.eval()
    found = torch.sigmoid(
        model([model.prepare([grey_to_rgb(x)], None, None) for x in visual.items])
    )
    for column, emotion in enumerate(EMOTIONS):
        expected = best_threshold(found[:, column].detach().numpy(), visual.truths[:, column])
        assert report.thresholds["visual"][emotion] == expected


def test_the_card_gets_its_figures_between_its_marks(toys, tmp_path):
    report = fit(untrained(), toys, tmp_path / "x", epoch=SMALL, epochs=1, seed=1)
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
    with pytest.raises(ValueError, match="has no"):
        update_card(card, tmp_path / "x", report)


# --- the shipped checkpoint --------------------------------------------------------------------


def test_the_shipped_checkpoint_beats_a_coin_on_every_modality(data, monkeypatch):
    """A part of each set, evenly drawn, to be quick; `evaluate` takes all."""
    monkeypatch.setattr(evaluation, "_PAIRED_EXAMPLES", 150)
    model = MERModel.load("embedded")
    parts = []
    for one in data.valid:
        chosen = np.linspace(0, len(one) - 1, min(len(one), 400)).astype(int)
        parts.append(
            ExampleSet(one.name, one.modality, [one.items[i] for i in chosen], one.truths[chosen])
        )
    report = evaluation.judge(model, parts)
    assert {one.modalities for one in report.sets} == set(COMBINATIONS)
    for one in report.sets:
        assert one.wacc > 0.55, one
        assert one.f1 > one.guess_f1, one
    assert report.thresholds == model.thresholds


def test_evaluate_refuses_what_it_cannot_read(tmp_path):
    with pytest.raises(UsageError, match="not a file"):
        evaluate(tmp_path / "absent", tmp_path)
    with pytest.raises(UsageError, match="missing from the data folder"):
        evaluate("embedded", tmp_path)
