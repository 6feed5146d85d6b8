import dataclasses
import json
import multiprocessing
import subprocess
import sys
import wave
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import torch
from conftest import REPO
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, precision_score
from test_mer import WORDS, tiny

from models.emotions import COMBINATIONS, EMOTIONS, MODALITIES
from models.errors import UsageError
from models.mer import MERModel
from models.mer.checkpoint import save_model
from models.training import evaluation
from models.training.card import update_card
from models.training.datasets import (
    FACE_CLASSES,
    HELD_OUT_SPEAKERS,
    Clips,
    ExampleSet,
    majority,
    read_clip,
    read_data,
)
from models.training.evaluation import evaluate, judge
from models.training.metrics import (
    BINS,
    THRESHOLDS,
    best_threshold,
    calibrated,
    calibration_error,
    f1,
    fit_calibration,
    folds,
    precision_and_recall,
    reliability,
    score,
)
from models.training.picture import draw_report
from models.training.report import Classification, Report, SetReport

# --- metrics -----------------------------------------------------------------------------------

decisions = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60)


@settings(deadline=None)
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


@settings(deadline=None)
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


@settings(deadline=None)
@given(decisions)
def test_precision_and_recall_are_scikit_learns_where_something_is_claimed_and_true(pairs):
    yes, truth = (np.array(column) for column in zip(*pairs, strict=True))
    found = precision_and_recall(yes, truth)
    assert (found is None) == (not yes.any() or not truth.any())
    if found:
        assert found == pytest.approx((precision_score(truth, yes), precision_score(yes, truth)))


# --- calibration -------------------------------------------------------------------------------


def said(seed, *, slope=1.0, offset=0.0, examples=400):
    """Logits, and truths that follow sigmoid(slope * logit + offset)."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(-1, 3, examples)
    return logit, rng.random(examples) < calibrated(logit, (slope, offset))


@settings(deadline=None)
@given(st.integers(0, 1000), st.floats(0.2, 3), st.floats(-3, 3))
def test_the_calibration_is_the_logistic_regression_on_platts_targets(seed, slope, offset):
    logit, truth = said(seed, slope=slope, offset=offset)
    positives, negatives = truth.sum(), (~truth).sum()
    target = np.where(truth, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # scikit-learn knows no targets between 0 and 1, but weights: each example as a bit of both.
    regression = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        np.tile(logit, 2)[:, None],
        np.repeat([1, 0], len(logit)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    expected = float(regression.coef_[0, 0]), float(regression.intercept_[0])
    assert fit_calibration(logit, truth) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_the_calibration_undoes_what_was_done_to_the_logits_and_lowers_the_error():
    logit, truth = said(1, slope=0.25, offset=-1, examples=20_000)
    pair = fit_calibration(logit, truth)
    assert pair == pytest.approx((0.25, -1), abs=0.05)
    fresh, answers = said(2, slope=0.25, offset=-1, examples=20_000)
    before, after = (
        calibration_error(reliability(calibrated(fresh, each), answers)) for each in ((1, 0), pair)
    )
    assert before > 0.1
    assert after < 0.015


@pytest.mark.parametrize("truth", ["none", "all", "reversed", "separable"])
def test_a_calibration_never_turns_more_into_less_nor_runs_away(truth):
    logit = np.linspace(-4, 4, 50)
    truths = {"none": logit > 9, "all": logit < 9, "reversed": logit < 0, "separable": logit > 0}
    a, b = fit_calibration(logit, truths[truth])
    assert 0 < a < 1000
    assert abs(b) < 1000
    middle = calibrated(np.zeros(1), (a, b))[0]
    assert {"none": middle < 0.03, "all": middle > 0.97}.get(truth, 0.4 < middle < 0.6)


def test_the_calibration_error_is_the_weighted_distance_in_fifteen_bins():
    probability = np.array([0.01, 0.03, 0.5, 0.52, 1.0])
    truth = np.array([False, True, True, True, False])
    bins = reliability(probability, truth)
    assert [one.examples for one in bins] == [2, 2, 1]
    assert [one.rate for one in bins] == [0.5, 1.0, 0.0]
    assert calibration_error(bins) == pytest.approx((2 * 0.48 + 2 * 0.49 + 1 * 1.0) / 5)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1))
def test_bins_lose_no_example(pairs):
    probability, truth = (np.array(column) for column in zip(*pairs, strict=True))
    bins = reliability(probability, truth)
    assert len(bins) <= BINS
    assert sum(one.examples for one in bins) == len(pairs)
    assert sum(one.examples * one.rate for one in bins) == pytest.approx(truth.sum())
    assert 0 <= calibration_error(bins) <= 1


@given(st.lists(st.integers(0, 9), min_size=1), st.integers(1, 6))
def test_folds_keep_groups_whole_and_are_about_equal(numbers, count):
    groups = [f"speaker {number}" for number in numbers]
    parts = folds(groups, count)
    assert len(parts) == len(groups)
    assert len({*zip(groups, parts.tolist(), strict=True)}) == len(set(groups))
    sizes = np.bincount(parts, minlength=count)
    assert sizes.max() - sizes.min() <= max(groups.count(group) for group in groups)


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


@pytest.fixture(scope="module")
def data(shared):
    return read_data(shared / "data")


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


def test_the_majority_of_ten_votes_is_a_face_s_class_where_there_is_one(data):
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


def test_a_clip_is_read_as_it_sounds(shared, decode):
    path = shared / "media" / "speech" / "jfk.flac"
    np.testing.assert_array_equal(read_clip(path), decode(path))
    with path.open("rb") as file:
        np.testing.assert_array_equal(read_clip(file), decode(path))


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


# --- the report --------------------------------------------------------------------------------


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


def untrained():
    """A model of random weights whose logits differ between the toys: where they are all but
    the same, the calibration would enlarge the last bits of float32 into other answers."""
    model = tiny(classifiers=FACE_CLASSES)
    model.thresholds = None
    with torch.no_grad():
        faces = [np.repeat(face[:, :, None], 3, axis=2) for face in toy_set("visual").items]
        model.train()
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = None  # the plain mean of what it has seen
        model.embed([model.prepare([face], None, None) for face in faces])
        model.embed([model.prepare(None, clip, None) for clip in toy_set("acoustic").items])
    return model.eval()


@pytest.fixture(scope="module")
def report(toys):
    return judge(untrained(), toys)


@pytest.fixture(scope="module")
def judged(report):
    """The model that the report is about, ready to predict."""
    model = untrained()
    model.thresholds, model.calibration = report.thresholds, report.calibration
    return model


def cells(table_row):
    return [cell.strip() for cell in table_row.strip("|").split("|")]


def test_a_report_prints_as_tables_and_as_json(report):
    rows = [cells(line) for line in str(report).splitlines() if line.startswith("|")]
    shown = {tuple(row[:2]) for row in rows}
    assert {("FER+", "visual"), ("GoEmotions", "textual")} <= shown
    assert {("put together", combination) for combination in COMBINATIONS} <= shown
    assert {("FER+", "8"), ("FER2013", "7")} <= shown
    figures = json.loads(report.to_json())
    assert figures["thresholds"] == report.thresholds
    assert figures["calibration"]["textual"]["fear"] == list(report.calibration["textual"]["fear"])
    for one, written in zip(report.sets, figures["sets"], strict=True):
        assert written["f1"] == one.f1
        assert written["emotions"]["fear"]["wacc"] == one.emotions["fear"].wacc
    before, after = figures["calibration_error"]["visual"]["anger"]
    visual = report.trust[0]
    assert before == calibration_error(visual.before["anger"])
    assert after == calibration_error(visual.after["anger"])
    assert [f"{100 * before:.1f} > {100 * after:.1f}" in row for row in rows].count(True) >= 1


def test_what_the_report_says_is_what_the_model_predicts(report, judged, toys):
    """F1 and labels by `predict`, one example after the other."""
    for place, one in enumerate(toys):
        given = [[None] * len(one) for _ in MODALITIES]
        given[place] = [
            [np.repeat(item[:, :, None], 3, axis=2)] if place == 0 else item for item in one.items
        ]
        scores = [judged.predict(*each) for each in zip(*given, strict=True)]
        for column, emotion in enumerate(EMOTIONS):
            yes = [emotion in each.expressed for each in scores]
            expected = f1_score(one.truths[:, column], yes, zero_division=0)
            assert report.sets[place].emotions[emotion].f1 == pytest.approx(expected)


def test_thresholds_are_best_for_the_calibrated_probabilities_of_the_right_sets(
    report, judged, toys
):
    """Of one modality those of its own sets; chosen once, kept ever after."""
    assert tuple(report.thresholds) == COMBINATIONS
    assert [one.sets for one in report.trust] == [
        *((one.name,) for one in toys),
        *[("put together",)] * 4,
    ]
    texts = toys[2]
    found = judged.predict_batch([None] * len(texts), [None] * len(texts), texts.items)
    raised = set()
    for column, emotion in enumerate(EMOTIONS):
        probability = np.array([each.probabilities[emotion] for each in found])
        best = best_threshold(probability, texts.truths[:, column])
        raised.add(round(report.thresholds["textual"][emotion] - best, 2))
    assert len(raised) == 1
    assert min(raised) >= 0
    again = judge(judged, toys)
    assert again == report


def test_thresholds_are_raised_alike_until_one_in_ten_is_a_false_alarm():
    rng = np.random.default_rng(0)
    truths = np.zeros((1000, 6), dtype=bool)
    truths[np.arange(240), np.arange(240) % 6] = True
    # So unsure, and so often expressed, that the best F1 claims something of nearly everybody.
    logits = rng.normal(0, 1, (1000, 6)) + 1.0 * truths
    look = evaluation._Look("talk", "textual", torch.zeros(0), logits, truths, (), {})
    # Of what mostly expresses something, F1 alone decides.
    acted = dataclasses.replace(look, logits=logits[:600], truths=truths[:600])
    pairs = zip(calibrated(acted.logits, (1, 0)).T, acted.truths.T, strict=True)
    assert [*evaluation._best_thresholds([acted], None).values()] == [
        best_threshold(*pair) for pair in pairs
    ]
    chosen = np.array([*evaluation._best_thresholds([look], None).values()])
    probability = calibrated(logits, (1, 0))
    best = [best_threshold(*pair) for pair in zip(probability.T, truths.T, strict=True)]
    raised = chosen - best
    np.testing.assert_allclose(chosen, np.minimum(best + raised.max(), THRESHOLDS[-1]))

    def false_alarms(thresholds):
        return (probability[240:] > thresholds).any(axis=1).mean()

    assert false_alarms(best) > 0.3
    assert false_alarms(chosen) <= 0.1 < false_alarms(chosen - 0.05)


def test_a_set_that_expresses_nothing_has_false_alarms_and_no_f1(toys):
    voices = toys[1]
    plain = ~voices.truths.any(axis=1)
    items = [item for item, chosen in zip(voices.items, plain, strict=True) if chosen]
    talk = ExampleSet("ordinary speech", "acoustic", items, voices.truths[plain])
    report = judge(untrained(), [*toys, talk])
    (found,) = (one for one in report.sets if one.name == "ordinary speech")
    assert (found.f1, found.wacc, found.guess_f1) == (None, None, None)
    assert found.false_alarms is not None
    (row, *_) = (cells(line) for line in str(report).splitlines() if "ordinary speech" in line)
    assert row[3:6] == ["-", "-", "-"]
    assert json.loads(report.to_json())["sets"][3]["f1"] is None
    assert "ordinary speech, acoustic" not in report.means


def test_the_error_after_calibration_is_measured_on_other_examples_than_fitted(report, toys):
    """With a speaker whom the others contradict, a fit on the same examples would look better."""
    model = untrained()
    voices = toys[1]
    with torch.inference_mode():
        logits = model([model.prepare(None, clip, None) for clip in voices.items]).double().numpy()
    parts = np.array(["abc".index(speaker) for speaker in voices.speakers])
    for column, emotion in enumerate(EMOTIONS):
        logit, truth = logits[:, column], voices.truths[:, column]
        after = np.empty(len(logit))
        for part in range(3):
            here = parts == part
            after[here] = calibrated(logit[here], fit_calibration(logit[~here], truth[~here]))
        found = report.trust[1].after[emotion]
        assert calibration_error(found) == pytest.approx(
            calibration_error(reliability(after, truth)), abs=1e-4
        )


def test_a_model_without_calibration_is_judged_as_it_is(toys):
    model = untrained()
    model.thresholds = {given: dict.fromkeys(EMOTIONS, 0.5) for given in COMBINATIONS}
    report = judge(model, toys)
    assert report.calibration is None
    assert report.thresholds == model.thresholds
    assert all(one.after is None for one in report.trust)
    assert " > " not in str(report).split("error in percent")[1].split("measured on")[1]


def test_labels_are_found_by_the_classifiers_and_by_the_six_outputs(report, judged, toys):
    faces = toys[0]
    found = {(one.labelling, one.by): one for one in report.sets[0].classifications}
    assert set(found) == {
        (name, by) for name in FACE_CLASSES for by in ("classifier", "six outputs")
    }
    examples = [
        judged.prepare([np.repeat(face[:, :, None], 3, axis=2)], None, None) for face in faces.items
    ]
    with torch.inference_mode():
        logits = judged.classify(judged.embed(examples))
    for name, classes in FACE_CLASSES.items():
        pairs = [
            (label, classes[chosen])
            for label, chosen in zip(faces.classes[name], logits[name].argmax(dim=1), strict=True)
            if label
        ]
        labels, answers = zip(*pairs, strict=True)
        one = found[name, "classifier"]
        assert one.examples == len(pairs) == 21 - (name == "FER+")
        assert one.accuracy == pytest.approx(accuracy_score(labels, answers))
        shares = torch.softmax(logits[name].double(), dim=1).numpy()
        shares = shares[[label is not None for label in faces.classes[name]]]
        best = [
            max(
                f1_score(truth, shares[:, classes.index(emotion)] > n / 20, zero_division=0)
                for n in range(1, 20)
            )
            for emotion in EMOTIONS
            if (truth := np.array(labels) == emotion).any()
        ]
        assert one.f1 == pytest.approx(np.mean(best))
        six = found[name, "six outputs"]
        told = [
            classes[n] for row in six.confusion for n, count in enumerate(row) for _ in range(count)
        ]
        true = [
            label
            for label, row in zip(classes, six.confusion, strict=True)
            for _ in range(sum(row))
        ]
        occurring = [emotion for emotion in EMOTIONS if emotion in true]
        assert six.f1 == pytest.approx(
            f1_score(true, told, labels=occurring, average="macro", zero_division=0)
        )


def test_goals_are_met_or_not_by_what_was_measured():
    def one(name, given, f1, wacc=0.5, labels=()):
        found = score(np.array([True, False]), np.array([True, False]))
        emotions = {"fear": dataclasses.replace(found, f1=f1, wacc=wacc)}
        return SetReport(name, given, 2, emotions, None, 0.1, labels)

    def label(name, by, right):
        counts = ((right, 100 - right), (0, 0))
        return Classification(name, by, ("fear", "neutral"), counts, f1=right / 100)

    faces = (
        label("FER2013", "classifier", 72),
        label("FER2013", "six outputs", 10),
        label("FER+", "six outputs", 85),
    )
    together = dict(zip(COMBINATIONS, (0.5, 0.6, 0.7, 0.605, 0.689, 0.72, 0.75), strict=True))
    report = Report(
        {},
        None,
        (
            one("GoEmotions", "textual", 0.639),
            one("FER+", "visual", 0.1, labels=faces),
            one("RAVDESS", "acoustic", 0.1, wacc=0.9),
            SetReport("ordinary speech", "acoustic", 40, {}, 0.05, 0.1),
            *(one("put together", given, f1) for given, f1 in together.items()),
        ),
        (),
    )
    assert [(round(goal.measured, 3), goal.met) for goal in report.goals] == [
        (0.05, True),
        (0.1, False),
        (0.9, True),
        (0.639, False),
        (0.72, True),
        (0.72, True),
        (0.85, False),
        (pytest.approx(0.05), True),
        (-0.011, False),
    ]
    assert [row[-1] for row in map(cells, report._goals().splitlines()[2:])] == [
        "yes", "no", "yes", "no", "yes", "yes", "no", "yes", "no",
    ]  # fmt: skip


def whole_utterances(toys):
    """A set of utterances with all three, some of which have lost one or two."""
    raw = [
        dict(
            zip(MODALITIES, ([np.repeat(face[:, :, None], 3, axis=2)] * 2, clip, text), strict=True)
        )
        for face, clip, text in zip(*(one.items for one in toys), strict=True)
    ]
    for row in range(0, 21, 5):
        del raw[row]["visual"]
    del raw[5]["textual"]
    return ExampleSet("films", COMBINATIONS[-1], raw, toys[0].truths)


def test_whole_utterances_are_judged_in_every_combination_that_they_have(toys):
    films = whole_utterances(toys)
    report = judge(untrained(), [films])
    assert {one.given: one.examples for one in report.sets} == {
        "visual": 16,
        "acoustic": 21,
        "textual": 20,
        "visual+acoustic": 16,
        "visual+textual": 16,
        "acoustic+textual": 20,
        "visual+acoustic+textual": 16,
    }
    assert {one.sets for one in report.trust} == {("films",)}
    with pytest.raises(UsageError, match="no validation example has acoustic"):
        judge(untrained(), [toys[0]])
    # Beside sets of one modality nothing is put together: the real ones decide.
    both = judge(untrained(), [*toys, films])
    assert "put together" not in str(both)
    assert both.trust[0].sets == ("FER+", "films")


# --- card and picture --------------------------------------------------------------------------


def test_the_card_gets_its_figures_between_its_marks(report, judged, tmp_path):
    save_model(judged, tmp_path / "x", training={"float32": report.means})
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


# --- the command -------------------------------------------------------------------------------


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


def run_live(*arguments):
    command = [sys.executable, str(REPO / "run_live.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=250)


def test_the_command_prints_writes_draws_and_renews_the_card(toys, report, judged, tmp_path):
    data_folder(tmp_path, toys)
    save_model(judged, tmp_path / "x.safetensors", training={})
    # In a process of its own, as the command is: here other tests have changed PyTorch's number of
    # threads, with which sums end in other last bits.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        full = fresh.submit(evaluate, tmp_path / "x.safetensors", tmp_path).result()
    save_model(judged, tmp_path / "x.safetensors", training={"float32": full.means})
    card = tmp_path / "CARD.md"
    card.write_text("<!-- figures: begin --><!-- figures: end -->")
    outputs = ("--json", tmp_path / "x.json", "--plot", tmp_path / "x.png", "--card", card)
    profile = ("--data", tmp_path, "--profile", tmp_path / "x.safetensors")
    done = run_live("evaluate", "mer", *profile, *outputs)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{full}\n"
    assert (tmp_path / "x.json").read_text() == full.to_json() + "\n"
    assert (tmp_path / "x.png").stat().st_size > 10_000
    assert str(full) in card.read_text()
    again = run_live("evaluate", "mer", *profile, *outputs)  # each replaces its own kind
    assert (again.returncode, again.stdout) == (0, f"{full}\n"), again.stderr
    assert (tmp_path / "x.json").read_text() == full.to_json() + "\n"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--json", "absent/x.json"], "absent/x.json cannot be written"),
        (["--profile", "absent.safetensors"], "absent.safetensors is not a file"),
    ],
)
def test_a_command_that_cannot_be_done_is_said_in_one_line(tmp_path, options, named):
    done = run_live("evaluate", "mer", "--data", tmp_path, *options)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert named in done.stderr


# --- the shipped checkpoint --------------------------------------------------------------------


@pytest.mark.timeout(900)  # minutes of two cores, more on slow ones
def test_the_shipped_checkpoint_beats_a_coin_on_every_modality(data, monkeypatch):
    """A part of each set, evenly drawn, to be quick; `evaluate` takes all."""
    monkeypatch.setattr(evaluation, "_TOGETHER_EXAMPLES", 150)
    model = MERModel.load("embedded")
    parts = []
    for one in data.valid:
        chosen = np.linspace(0, len(one) - 1, min(len(one), 400)).astype(int)
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
        # Always saying yes has a good F1 where most lines express something, as in this one.
        assert one.f1 > one.guess_f1 or one.name == "EmoryNLP", one
    assert report.thresholds == model.thresholds


def test_evaluate_refuses_what_it_cannot_read(tmp_path):
    with pytest.raises(UsageError, match="not a file"):
        evaluate(tmp_path / "absent", tmp_path)
    with pytest.raises(UsageError, match="missing from the data folder"):
        evaluate("embedded", tmp_path)
