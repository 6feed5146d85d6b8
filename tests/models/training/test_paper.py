"""The paper's model: its starting points, and its training on CMU-MOSEI."""

import json
import shutil
import sys
from dataclasses import replace

import cv2
import facenet_pytorch
import numpy as np
import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from mosei_release import IDS
from sklearn.metrics import balanced_accuracy_score, f1_score
from torch import nn
from toys import TINY_ALBERT, TINY_HUBERT, tokenizer

import run_live
from models.emotions import EMOTIONS, MODALITIES
from models.errors import MissingWeights, UsageError
from models.mer import MERModel
from models.mer.checkpoint import read_training
from models.mer.paper import HubertBackbone, InceptionBackbone
from models.training import paper
from models.training.datasets import with_neutral
from models.training.mosei import read_mosei
from models.training.paper import PaperTask, train_paper
from models.training.starting_points import starting_model

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The paper's three backbones, tiny where they can be, as their hubs publish them."""
    from transformers import AlbertConfig, AlbertForPreTraining, HubertConfig, HubertModel

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    # With the layer for the identities that VGGFace2 has, ten of them.
    face = InceptionResnetV1(classify=True, num_classes=10)
    torch.save(face.state_dict(), folder / "20180402-114759-vggface2.pt")
    # As of 2022, in PyTorch's own format, when weight normalisation had other names.
    voice = HubertModel(HubertConfig(**TINY_HUBERT))
    voice.save_pretrained(folder / "distilhubert")
    (folder / "distilhubert" / "model.safetensors").unlink()
    old = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in voice.state_dict().items()
    }
    assert "encoder.pos_conv_embed.conv.weight_g" in old
    torch.save(old, folder / "distilhubert" / "pytorch_model.bin")
    # With the heads that it was pre-trained with, so that each name begins with "albert.".
    words = AlbertForPreTraining(AlbertConfig(**TINY_ALBERT))
    words.save_pretrained(folder / "albert-base-v2")
    (folder / "albert-base-v2" / "tokenizer.json").write_text(tokenizer())
    return folder, face.eval(), voice.eval(), words.albert.eval()


@pytest.fixture
def here(weights, monkeypatch):
    monkeypatch.setenv("LIVE_EMOTION_WEIGHTS", str(weights[0]))


# --- the starting points ---


@pytest.mark.slow
def test_the_paper_model_starts_from_weights_in_their_true_formats(weights, here, tmp_path):
    _, face, voice, words = weights
    model = starting_model("paper", tmp_path).eval()
    assert model.thresholds is None
    face.classify = False
    picture, clip, tokens = torch.randn(2, 3, 80, 80), torch.randn(1, 8000), torch.tensor([[2, 9]])
    started = model.backbones
    with torch.inference_mode():
        torch.testing.assert_close(started["visual"].network(picture), face(picture))
        torch.testing.assert_close(
            started["acoustic"].encoder(clip).last_hidden_state, voice(clip).last_hidden_state
        )
        torch.testing.assert_close(
            started["textual"].encoder(tokens).last_hidden_state, words(tokens).last_hidden_state
        )


@pytest.mark.parametrize(
    "name",
    [
        "20180402-114759-vggface2.pt",
        "distilhubert/pytorch_model.bin",
        "albert-base-v2/model.safetensors",
    ],
)
def test_a_damaged_starting_point_is_told_in_one_line(weights, tmp_path, monkeypatch, name):
    for path in weights[0].iterdir():
        (tmp_path / path.name).symlink_to(path)
    top = tmp_path / name.split("/")[0]
    if top.is_dir():
        top.unlink()
        shutil.copytree(weights[0] / top.name, top)
    else:
        top.unlink()
    (tmp_path / name).write_bytes(b"nothing")
    monkeypatch.setenv("LIVE_EMOTION_WEIGHTS", str(tmp_path))
    with pytest.raises(UsageError, match="cannot be read") as caught:
        starting_model("paper", tmp_path)
    assert "\n" not in str(caught.value)


def test_without_starting_points_training_names_them(built, tmp_path, monkeypatch):
    monkeypatch.setenv("LIVE_EMOTION_WEIGHTS", str(tmp_path))
    with pytest.raises(MissingWeights, match="inception-resnet-v1"):
        train_paper(built[0], tmp_path / "out", device="cpu")


# --- training ---


def test_in_training_the_face_network_keeps_its_statistics():
    """So a batch with a single face is no error, and company changes nothing."""
    backbone = InceptionBackbone().train()
    assert backbone.network.training
    backbone.network.dropout.p = 0.0
    before = {name: tensor.clone() for name, tensor in backbone.named_buffers()}
    faces = torch.randn(3, 3, 80, 80)
    together = backbone.network(faces)
    torch.testing.assert_close(backbone.network(faces[:1]), together[:1])
    for name, tensor in backbone.named_buffers():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    assert together.requires_grad


def test_in_training_short_clips_are_no_error_and_nothing_is_masked():
    config = {**TINY_HUBERT, "mask_time_prob": 0.9, "mask_time_length": 10}
    names = ("hidden", "attention", "activation", "feat_proj")
    config |= {"layerdrop": 0.0, **{f"{name}_dropout": 0.0 for name in names}}
    backbone = HubertBackbone(config).train()
    clips = [backbone.prepare(np.random.default_rng(n).random(n, np.float32)) for n in (9, 8000)]
    learning, _ = backbone(clips)
    torch.testing.assert_close(learning, backbone.eval()(clips)[0])


class TinyInception(nn.Sequential):
    """A face network of a few layers, in place of a hundred."""

    def __init__(self, pretrained=None):
        super().__init__(
            nn.Conv2d(3, 16, kernel_size=8, stride=8),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(64, InceptionBackbone.width),
        )


@pytest.fixture
def small(weights, tmp_path, monkeypatch):
    """Tiny backbones all, and a schedule for them."""
    folder = tmp_path / "small_weights"
    shutil.copytree(weights[0], folder)
    torch.manual_seed(0)
    torch.save(TinyInception().state_dict(), folder / "20180402-114759-vggface2.pt")
    monkeypatch.setenv("LIVE_EMOTION_WEIGHTS", str(folder))
    monkeypatch.setattr(facenet_pytorch, "InceptionResnetV1", TinyInception)
    monkeypatch.setattr(InceptionBackbone, "side", 80)
    schedule = replace(paper.SCHEDULE, epochs=2, rate=3e-2, patience=None)
    monkeypatch.setattr(paper, "SCHEDULE", schedule)
    return schedule


@pytest.mark.slow
def test_a_batch_is_of_seed_and_step_alone_and_a_pass_shows_each_once(built, small, tmp_path):
    mosei = read_mosei(built[0])
    model = starting_model("paper", tmp_path)
    one, two = PaperTask(model, mosei, seed=3), PaperTask(model, mosei, seed=3)
    assert one.steps == 4
    for step in (6, 1):
        (examples, truths), (others, again) = one.batch(step), two.batch(step)
        torch.testing.assert_close(truths, again, rtol=0, atol=0)
        for example, other in zip(examples, others, strict=True):
            assert example.keys() == other.keys()
            for name in example:
                torch.testing.assert_close(example[name], other[name], rtol=0, atol=0)
    passes = [torch.cat([one.batch(step)[1] for step in range(n, n + 4)]) for n in (0, 4)]
    assert not torch.equal(*passes)
    for shown in passes:
        assert shown.sum(dim=0).tolist() == with_neutral(mosei.train.truths).sum(axis=0).tolist()
        assert len(shown) == len(IDS)
    withheld = sum(
        {"acoustic", "textual"} - example.keys() != set()
        for step in range(12)
        for example in one.batch(step)[0]
    )
    assert 5 < withheld < 40  # of 96, each of the two with probability 0.1


def test_there_are_two_profiles_to_train(tmp_path, monkeypatch, capsys):
    options = ["--data", ".", "--out", str(tmp_path / "x"), "--profile", "large"]
    monkeypatch.setattr(sys, "argv", ["run_live.py", "train", *options])
    assert run_live.main() == 2
    said = "error: there is no profile large to train: choose embedded or paper\n"
    assert capsys.readouterr().err == said


class InterruptedTrainingError(Exception):
    pass


@pytest.mark.slow
def test_resumed_training_comes_to_the_same_checkpoint(built, small, tmp_path, monkeypatch):
    monkeypatch.setattr(paper, "_BATCH", 16)

    def stop(progress):
        if progress.epoch:
            raise InterruptedTrainingError

    def run(out, **options):
        return train_paper(built[0], tmp_path / out, device="cpu", seed=5, **options)

    with pytest.raises(UsageError, match="there is no training to resume"):
        run("whole", resume=True)
    whole, results = run("whole")
    assert len(results["paper"].epochs) == 2
    with pytest.raises(InterruptedTrainingError):
        run("parts", on_progress=stop)
    assert MERModel.load(tmp_path / "parts").thresholds  # an interruption leaves a usable one
    assert run("parts", resume=True) == (whole, results)
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()
    assert "research use" in read_training(tmp_path / "whole")["licences"]
    assert json.loads(whole.to_json())["parts"][1]["f1"] == whole.parts[1].f1


@pytest.mark.slow
@pytest.mark.timeout(900)  # minutes on slow cores
def test_the_command_learns_32_examples_by_heart(built, small, tmp_path, monkeypatch, capsys):
    folder, out = tmp_path / "mosei", tmp_path / "paper.safetensors"
    shutil.copytree(built[0], folder)
    # The same again and again: fewer epochs, which each end with a judgement and a state. In
    # bfloat16, as some processors compute, so few steps at such a rate are not always enough.
    (folder / "splits" / "train.txt").write_text("\n".join(IDS * 4))
    monkeypatch.setattr(paper, "SCHEDULE", replace(small, epochs=8, precision="float32"))
    options = ["--data", folder, "--out", out, "--device", "cpu", "--profile", "paper"]
    monkeypatch.setattr(sys, "argv", ["run_live.py", "train", *map(str, options)])
    assert run_live.main() == 0
    table = capsys.readouterr().out.splitlines()
    name, f1, wacc, *_ = table[-2].split()
    assert name == "mean"
    # Ten seeds, on one thread or two, gave F1 of 0.928 to 1.000 and WAcc of 0.981 to 1.000.
    assert float(f1) > 0.8
    assert float(wacc) > 0.9
    assert cv2.imread(str(out) + ".png").shape[2] == 3

    # What the table says is what scikit-learn says of what the model predicts.
    model, mosei = MERModel.load(out), read_mosei(folder)
    for column, part in ((2, mosei.valid), (4, mosei.test)):
        yes = np.array(
            [
                [emotion in scores.expressed for emotion in EMOTIONS]
                for item in part.items
                for scores in [model.predict(*map(item.get, MODALITIES))]
            ]
        )
        for place, emotion in enumerate(EMOTIONS):
            cells = table[1 + place].replace("> ", ">").split()
            assert cells[:2] == [emotion, f">{model.thresholds['+'.join(MODALITIES)][emotion]:.2f}"]
            truth = part.truths[:, place]
            assert cells[column] == f"{f1_score(truth, yes[:, place]):.3f}"
            assert cells[column + 1] == f"{balanced_accuracy_score(truth, yes[:, place]):.3f}"
