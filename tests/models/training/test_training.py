"""The embedded model's training: augmentation, batches, its stages, and what goes wrong."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from checkout import require_or_skip
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_sets import toy_set
from toys import tiny

from models.emotions import MODALITIES
from models.errors import UsageError
from models.mer import MERModel
from models.mer.checkpoint import read_training
from models.training import fitting
from models.training.augmentation import (
    augment_face,
    augment_sound,
    augment_text,
)
from models.training.batches import Pool, paired
from models.training.datasets import FACE_CLASSES, Data
from models.training.embedded import SCHEDULES, Faces, Voice, Words
from models.training.fitting import fit_stages, train_embedded
from models.training.fusion import Fusion
from models.training.heard import heard
from models.training.loop import Schedule, fit
from models.training.voices import encoded

# --- augmentation ------------------------------------------------------------------------------


@pytest.mark.slow
@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_augmented_examples_keep_their_form_and_follow_the_generator(seed):
    rng = np.random.default_rng(seed)
    face = rng.integers(0, 256, (48, 48), dtype=np.uint8)
    clip = (rng.standard_normal(rng.integers(100, 40_000)) * 0.1).astype(np.float32)
    text = "I can't believe, that you did this!"

    def changed():
        rng = np.random.default_rng([seed, 1])
        return augment_face(face, rng, side=64), augment_sound(clip, rng), augment_text(text, rng)

    (picture, sound, words), again = changed(), changed()
    assert picture.dtype == np.float32
    assert picture.shape == (64, 64)
    assert sound.dtype == np.float32
    assert 0.6 * len(clip) < len(sound) + 2000
    assert len(sound) < 1.2 * len(clip) + 2000
    assert words
    allowed = {*text.lower().split(), "believe", "this"}
    assert set(words.lower().split()) <= allowed
    np.testing.assert_array_equal(picture, again[0])
    np.testing.assert_array_equal(sound, again[1])
    assert words == again[2]


def test_silence_can_be_augmented():
    for seed in range(20):
        sound = augment_sound(np.zeros(5000, np.float32), np.random.default_rng(seed))
        assert np.abs(sound).max() < 1e-3


def test_a_face_keeps_its_light_and_its_place():
    face = np.full((48, 48), 20, np.uint8)
    face[12:36, 12:36] = 220
    pictures = [augment_face(face, np.random.default_rng(n), side=64) for n in range(50)]
    mean = np.mean(pictures, axis=0)
    assert mean[28:36, 28:36].mean() > mean[:6].mean() + 80


# --- batches -----------------------------------------------------------------------------------


def labelled(faces):
    """The toy faces with both labellings of the real ones: all ten annotators agree."""
    kinds = [int(row.argmax()) if row.any() else 6 for row in faces.truths]
    classes = {name: tuple(names[kind] for kind in kinds) for name, names in FACE_CLASSES.items()}
    return replace(faces, votes=np.eye(8, dtype=np.float32)[kinds] * 10, classes=classes)


@pytest.fixture
def toys():
    (faces, *others), (faces2, *others2) = (
        [toy_set(name, seed=seed) for name in MODALITIES] for seed in (0, 1)
    )
    return Data(train=(labelled(faces), *others), valid=(labelled(faces2), *others2))


def test_a_pass_shows_every_example_once_and_rare_neutral_ones_twice(toys):
    pool = Pool([toys.train[0]], seed=0)
    assert pool.in_one_pass == 16
    shown = [int(n) for first in range(0, 32, 8) for n in pool.in_turn(first, 8)]
    assert sorted(shown[:16]) == sorted([*range(14), *pool.alone[None]])
    assert sorted(shown[16:]) == sorted(shown[:16])
    assert shown[16:] != shown[:16]


def test_paired_examples_agree_lose_modalities_and_are_sometimes_led_astray():
    pools = {name: Pool([toy_set(name)], seed=0) for name in MODALITIES}
    places = {
        name: {id(item): n for n, item in enumerate(pool.items)} for name, pool in pools.items()
    }

    def disagreeing(name, **chances):
        """Part of the utterances of which this modality says another thing."""
        raw, truths = paired(pools, 400, np.random.default_rng(0), plain=0.0, **chances)
        said = [
            (pools[name].truths[places[name][id(one[name])]], truth)
            for one, truth in zip(raw, truths, strict=True)
            if name in one
        ]
        return np.mean([(words != truth).any() for words, truth in said])

    raw, truths = paired(pools, 400, np.random.default_rng(0), wrong=0.0, acted=0.0)
    assert {frozenset(one) for one in raw} > {frozenset(MODALITIES)}
    assert all(raw)
    assert 0.5 < (~truths.any(axis=1)).mean() < 0.7
    said = [
        [pools[name].truths[places[name][id(item)]].any() for name, item in one.items()]
        for one, truth in zip(raw, truths, strict=True)
        if truth.any() and len(one) == len(MODALITIES)
    ]
    assert all(any(each) for each in said)  # one of them tells, others may say nothing
    assert 0.3 < np.mean([not all(each) for each in said]) < 0.7
    assert all(disagreeing(name, wrong=0.0, acted=0.0) == 0 for name in MODALITIES)
    for name in MODALITIES:  # one of three is any of seven
        assert 0.2 < disagreeing(name, lost=0.0, wrong=1.0, acted=0.0) < 0.37
    assert 0.75 < disagreeing("acoustic", lost=0.0, wrong=0.0, acted=1.0) < 0.95
    assert disagreeing("textual", lost=0.0, wrong=0.0, acted=1.0) == 0


# --- the stages --------------------------------------------------------------------------------


def untrained():
    classifiers = {name: FACE_CLASSES[name] for name in FACE_CLASSES}
    model = tiny(classifiers=classifiers).requires_grad_(True)
    model.thresholds = None
    return model


def listened(model, sets, folder, *, versions=2):
    """The sets, voices among them heard by the model, which then knows their spread."""
    backbone = model.backbones["acoustic"].eval()
    options = {"versions": versions, "seed": 0, "on_progress": lambda done, clips: None}
    voices = [one for one in sets if one.modality == "acoustic"]
    if not voices:
        return sets
    heard_voices = encoded(backbone, voices, folder / "voices.npy", **options)
    means = np.concatenate([item for one in heard_voices for item in one.items])
    backbone.standardise(torch.from_numpy(means.astype(np.float32)))
    return [*(one for one in sets if one.modality != "acoustic"), *heard_voices]


def test_clips_are_heard_once_each_in_several_ways(tmp_path):
    backbone = untrained().backbones["acoustic"].eval()
    clips = toy_set("acoustic", repeat=1)
    sets = [replace(clips, items=clips.items[:2]), replace(clips, items=clips.items[2:])]
    file, done = tmp_path / "voices.npy", []

    def hear(sets, **changed):
        def tell(number, of):
            done.append((number, of))
            if changed.get("until") == number:
                raise InterruptedTrainingError

        options = {"versions": changed.get("versions", 2), "seed": 0, "on_progress": tell}
        return encoded(backbone, sets, file, **options)

    with pytest.raises(InterruptedTrainingError):
        hear(sets, until=3)
    # What was heard before is not heard again: these would make other means.
    others = [sets[0], replace(sets[1], items=[clip[::-1].copy() for clip in sets[1].items])]
    first, second = hear(others)
    assert done == [(1, 7), (2, 7), (3, 7), *((n, 7) for n in range(1, 8))]
    assert [len(one.items) for one in (first, second)] == [2, 5]
    heard_clips = [*clips.items[:3], *others[1].items[1:]]
    for clip, item in zip(heard_clips, [*first.items, *second.items], strict=True):
        expected = backbone.heard([backbone.prepare(clip)])[0].mean(dim=1)[0]
        assert item.shape == (2, 1024)
        torch.testing.assert_close(
            torch.from_numpy(item[0]).float(), expected, atol=2e-3, rtol=2e-3
        )
        assert not np.allclose(item[0], item[1], atol=1e-2)
    with pytest.raises(UsageError, match="other clips"):
        hear(sets, versions=3)
    file.write_bytes(b"no array")
    with pytest.raises(UsageError, match="cannot be resumed"):
        hear(sets)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [Faces, Voice, Words])
def test_a_batch_depends_on_seed_and_step_alone(stage, toys, tmp_path):
    model = untrained()
    sets = [
        listened(model, [one for one in part if one.modality == stage.name], folder)
        for part, folder in ((toys.train, tmp_path / "train"), (toys.valid, tmp_path / "valid"))
    ]

    def flat(batch):
        parts = []
        for part in batch:
            parts += part if isinstance(part, list) else [part]
        return parts

    one, other = (stage(model, *sets, seed=3) for _ in range(2))
    for step in (9, 2, 5):
        for mine, yours in zip(flat(one.batch(step)), flat(other.batch(step)), strict=True):
            torch.testing.assert_close(mine, yours, rtol=0, atol=0)
    assert not torch.equal(flat(one.batch(2))[-1], flat(one.batch(9))[-1]) or stage is not Faces


def test_texts_of_like_length_share_a_batch_and_none_is_left_out(toys):
    many = toy_set("textual", repeat=400)
    words = Words(untrained(), [many], [many], seed=0)
    lengths = [[len(tokens) for tokens in words.batch(step)[0]] for step in range(words.steps)]
    spread = np.mean([np.ptp(batch) for batch in lengths])
    assert spread < np.ptp([n for batch in lengths for n in batch]) / 2
    assert sum(map(len, lengths)) > 0.9 * words._pool.in_one_pass


SHORT = {
    name: tuple(replace(cycle, epochs=2, best="score") for cycle in cycles)
    for name, cycles in SCHEDULES.items()
}


@pytest.fixture
def quick(monkeypatch):
    """Stages with batches that the toys can fill."""
    for stage, size in ((Faces, 4), (Voice, 4), (Words, 4)):
        monkeypatch.setattr(stage, "size", size)
    monkeypatch.setattr(Words, "_together", 2)
    monkeypatch.setattr(Fusion, "steps", 3)


class InterruptedTrainingError(Exception):
    pass


def interrupted_after(last):
    """Ends a training when it has gone through these stages' epochs."""
    ended = []

    def stop(progress):
        if progress.epoch is not None:
            ended.append(progress.stage)
        if ended == last:
            raise InterruptedTrainingError

    return stop


@pytest.mark.slow
def test_resumed_training_comes_to_the_same_checkpoint(toys, tmp_path, quick):
    def run(name, **options):
        return fit_stages(
            untrained(),
            toys,
            toys.valid,
            tmp_path / name,
            seed=5,
            device=torch.device("cpu"),
            schedules=SHORT,
            **options,
        )

    stages = []
    whole, results = run("whole", on_progress=lambda progress: stages.append(progress.stage))
    voices = ["voices, train", "voices, valid"]
    assert list(dict.fromkeys(stages)) == [*voices, *MODALITIES, "fusion"]
    assert list(results) == [*MODALITIES, "fusion"]
    assert {name: len(result.epochs) for name, result in results.items()} == {
        name: 2 * len(cycles) for name, cycles in SHORT.items()
    }

    for ended in (["visual"] * 3, ["visual", "acoustic"]):  # in its second cycle, after that
        with pytest.raises(InterruptedTrainingError):
            run("parts", on_progress=interrupted_after(ended))
    report, _ = run("parts")
    assert report == whole
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()
    told = read_training(tmp_path / "whole")
    assert told["seed"] == 5
    assert told["float32"].keys() == whole.means.keys()
    model = MERModel.load(tmp_path / "whole")
    assert model.calibration is not None
    faces = [np.repeat(toys.valid[0].items[0][:, :, None], 3, axis=2)]
    assert set(model.predict(faces, None, None).contributions["anger"]) == {"visual"}


@pytest.mark.slow
@pytest.mark.parametrize("stage", [Faces, Voice, Words])
def test_each_stage_learns_what_its_toys_show(stage, quick, tmp_path):
    model = untrained()
    many, few = (toy_set(stage.name, repeat=n, seed=n) for n in (20, 2))
    if stage is Faces:
        many, few = labelled(many), labelled(few)
    if stage is Voice:
        many, few = (
            replace(one, items=one.items[:70], truths=one.truths[:70]) for one in (many, few)
        )
        many, few = listened(model, [many, few], tmp_path)
    task = stage(model, [many], [few], seed=0)
    before = {name: weight.clone() for name, weight in task.module.state_dict().items()}
    epochs = 4 if stage is Faces else 2  # faces learn the slowest
    schedule = Schedule(epochs=epochs, rate=2e-2, best="score", seed=0, precision="float32")
    result = fit(task, schedule, state=tmp_path / "state")
    quarter = len(result.losses) // 4
    first, last = result.losses[:quarter], result.losses[-quarter:]
    # Faces over ten seeds: 0.64 to 0.79 of the first.
    assert np.mean(last) < 0.9 * np.mean(first)
    after = task.module.state_dict()
    assert all(not torch.equal(before[name], after[name]) for name in before)


# --- what the recogniser hears -----------------------------------------------------------------


def test_texts_are_said_heard_and_not_said_again(tmp_path):
    if shutil.which("espeak-ng") is None:
        require_or_skip("espeak-ng, the synthetic voice")
    texts = toy_set("textual")
    plain = ["I am happy to see you", "you make me angry"]
    said = replace(texts, items=plain, truths=texts.truths[:2])
    done = []
    first = heard([said], 2, tmp_path / "heard.jsonl", on_progress=done.append)
    assert done == [1, 2]
    lines = [json.loads(line) for line in (tmp_path / "heard.jsonl").read_text().splitlines()]
    assert sorted(one for one, _ in lines) == sorted(plain)
    assert any(word in text.split() for _, text in lines for word in ("see", "you"))
    for text, truth in zip(first.items, first.truths, strict=True):
        row = plain.index(next(one for one, understood in lines if understood == text))
        np.testing.assert_array_equal(truth, said.truths[row])
    again = heard([said], 2, tmp_path / "heard.jsonl", on_progress=done.append)
    assert again.items == first.items
    assert done == [1, 2]
    with pytest.raises(UsageError, match="other sentences"):
        heard([replace(said, items=["another", "text"])], 2, tmp_path / "heard.jsonl")


def test_without_the_synthetic_voice_training_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="espeak-ng"):
        heard([toy_set("textual")], 2, tmp_path / "heard.jsonl")


# --- what goes wrong ---------------------------------------------------------------------------


def test_what_is_missing_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("LIVE_EMOTION_WEIGHTS", str(tmp_path))
    with pytest.raises(UsageError, match="no training to resume"):
        train_embedded(tmp_path, tmp_path / "out", resume=True)
    with pytest.raises(UsageError) as caught:
        train_embedded(tmp_path, tmp_path / "out")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_stage_that_fails_in_its_process_fails_the_training(tmp_path):
    with pytest.raises(UsageError):
        fitting._learn_at_once(tmp_path, tmp_path / "x", 1, lambda progress: None)
