"""What the network hears."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio.functional
from safetensors.torch import load_file
from starting import run
from torchaudio.compliance.kaldi import get_mel_banks

from models.clips import read_clip
from models.registry import resolve
from models.sounds.evaluation import evaluate, heard_in
from models.sounds.runs import KINDS, PIECE_S, WINDOWS
from models.sounds.tagger import _CLASSES, SoundNetwork, SoundTagger, _clearness, _mel_bank, log_mel

RATE = 16_000


@pytest.fixture(scope="module")
def tagger() -> SoundTagger:
    return SoundTagger()


def test_every_kind_has_its_outputs() -> None:
    assert tuple(_CLASSES) == KINDS
    state = load_file(resolve("sound-tagger"))
    outputs = sum(count for count, _ in _CLASSES.values())
    network = SoundNetwork(outputs)
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)


def test_the_given_weights_are_those_that_are_shipped(shared: Path) -> None:
    folder = shared / "data" / "starting_points" / "efficientat_mn04"
    given = torch.load(folder / "mn04_as_mAP_432.pt", weights_only=True)
    shipped = load_file(resolve("sound-tagger"))
    for name, value in given.items():
        ours = shipped.get(name.replace(".conc_se_layers.0", ""))
        if ours is not None and not name.startswith("classifier.5"):
            torch.testing.assert_close(ours, value.reshape(ours.shape).half())


def test_the_spectrogram_is_that_of_the_sound_at_32_khz() -> None:
    """Which the network learnt with; made here the long way, from EfficientAT's description."""
    noise = np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32) * 0.1
    ours = log_mel(noise, _mel_bank())
    sound = torchaudio.functional.resample(torch.from_numpy(noise), RATE, 2 * RATE)
    sound = sound[1:] - 0.97 * sound[:-1]
    window = torch.hann_window(800, periodic=False)
    power = torch.stft(sound, 1024, 320, 800, window, return_complex=True).abs().square()
    bank, _ = get_mel_banks(128, 1024, 2.0 * RATE, 0.0, 15_000.0, 100.0, -500.0, 1.0)
    theirs = (torch.log(bank @ power[:-1] + 1e-5) + 4.5) / 5
    inside = slice(3, 197)  # the edges are padded in different places
    heard = slice(8, 100)  # bands up to 7.5 kHz
    difference = (ours[heard, inside] - theirs[heard, inside]).abs()
    assert difference.mean() < 0.01  # of 1.4, which the bands deviate from each other


def test_in_silence_and_noise_nothing_is_heard(tagger: SoundTagger) -> None:
    count = round(PIECE_S * RATE)
    silence = np.zeros(count, np.float32)
    noise = np.random.default_rng(0).standard_normal(count).astype(np.float32) * 0.1
    assert tagger.hear(silence) == [dict.fromkeys(KINDS, 0.0)] * WINDOWS
    assert max(max(window.values()) for window in tagger.hear(noise)) < 0.1
    assert tagger.hear(noise) == tagger.hear(noise)


def test_two_windows_of_a_piece_are_heard_as_each_alone(tagger: SoundTagger) -> None:
    count = round(PIECE_S * RATE)
    sound = np.random.default_rng(0).standard_normal(count).astype(np.float32) * 0.1
    sound[20_000:] = 0  # as behind the end of a recording, where the network is touchy
    alone = log_mel(sound[: 2 * RATE], tagger._bank)
    with torch.inference_mode():
        logits = tagger._network(alone[None, None])[0].tolist()
    together = tagger.hear(sound)[0]
    assert together == pytest.approx(_clearness(logits), abs=2e-3)


@pytest.mark.parametrize(
    ("name", "kind"), [("Baby_cry_2-80482-A", "crying"), ("Person_sneeze_2-118104-A", "sneeze")]
)
def test_a_baby_cries_and_a_person_sneezes(
    shared: Path, tagger: SoundTagger, name: str, kind: str
) -> None:
    clip = read_clip(shared / "data" / "speech_more" / "esc10" / f"{name}.opus")
    assert [sound.kind for sound in heard_in(tagger, clip)] == [kind]


@pytest.mark.parametrize("name", ["Rain_2-117625-A", "Clock_tick_4-181865-A"])
def test_other_noises_are_nothing(shared: Path, tagger: SoundTagger, name: str) -> None:
    clip = read_clip(shared / "data" / "speech_more" / "esc10" / f"{name}.opus")
    assert heard_in(tagger, clip) == []


def test_a_folder_of_clips_is_measured(shared: Path, tagger: SoundTagger, tmp_path: Path) -> None:
    clips = shared / "data" / "speech_more" / "esc10"
    lines = ["file\tset\tlabel\tsplit\toriginal_label"]
    for name in ("Baby_cry_2-80482-A", "Rain_2-117625-A"):
        (tmp_path / f"{name}.opus").symlink_to(clips / f"{name}.opus")
        label = name.rpartition("_")[0].replace("_", " ")
        lines.append(f"{name}.opus\tesc10\tother\tvalid\tnon-speech: {label}")
    (tmp_path / "labels.tsv").write_text("\n".join(lines))
    report = evaluate(tagger, tmp_path, "valid", lambda done, total: None)
    assert (report.recall("crying"), report.precision("crying")) == (1, 1)
    assert report.groups["ESC-10 Rain"].clips == 1
    assert "recall 1.00, precision 1.00" in str(report)


def test_a_folder_without_clips_is_told_in_one_line(tmp_path: Path) -> None:
    status, _, err = run("evaluate", "sounds", "--data", tmp_path)
    assert status == 2
    assert err.count("\n") == 1
    assert "labels.tsv" in err
