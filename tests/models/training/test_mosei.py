"""CMU-MOSEI from raw videos to a trained model, on videos, answers and backbones made here in
their true formats; only the face in them is a real one.
"""

import csv
import json
import shutil
import sys
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score
from toys import TINY_ALBERT, TINY_HUBERT, WORDS, tokenizer

import run_live
from models.emotions import EMOTIONS, MODALITIES
from models.errors import MissingWeights, UsageError
from models.mer import MERModel
from models.mer.checkpoint import read_training
from models.mer.paper import HubertBackbone, InceptionBackbone
from models.training import paper
from models.training.datasets import with_neutral
from models.training.mosei import Utterances, read_mosei
from models.training.mosei_raw import build_mosei, read_answers, read_transcripts
from models.training.paper import PaperTask, train_paper
from models.training.starting_points import starting_model

torch.set_num_threads(1)

VIDEOS = ("plain", "-a_b_", "c__1", "d0")  # as odd as the names of real ones
EACH = 8  # utterances a video
LENGTH_S, EVERY_S = 0.6, 0.75
IDS = [f"{video}_{number}" for video in VIDEOS for number in range(EACH)]
SPEECHLESS, SILENT = "d0_8", "mute_0"


def kinds(number):
    """Which emotions utterance `number` of `IDS` expresses: none, one or two of the six."""
    kind = number % 8
    return [kind] if kind < 6 else [] if kind == 6 else [number // 8, 5 - number // 8]


def sound(videos_ids):
    """Half a second of a chord for each utterance, a tone for each emotion; 16 kHz."""
    samples = np.zeros(int((len(videos_ids) * EVERY_S + 0.5) * 16_000), np.float32)
    for place, number in enumerate(videos_ids):
        time = np.arange(int(LENGTH_S * 16_000)) / 16_000
        tones = [np.sin(2 * np.pi * 250 * 1.6**kind * time) for kind in kinds(number)]
        start = int(place * EVERY_S * 16_000)
        samples[start : start + len(time)] = 0.3 * np.sum([0 * time, *tones], axis=0)
    return samples


def write_video(path, seconds, picture_at, samples=None):
    """10 frames a second, a key frame each 2 s, and the sound in AAC at 44.1 kHz."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10, options={"g": "20"})
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        audio = None
        if samples is not None:
            audio = container.add_stream("aac", rate=44_100, layout="stereo")
        for number in range(round(seconds * 10)):
            frame = av.VideoFrame.from_ndarray(picture_at(number / 10), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
            frame.sample_rate = 16_000
            resampler = av.AudioResampler("fltp", "stereo", 44_100)
            for block in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(audio.encode(block))
            container.mux(audio.encode(None))


@pytest.fixture(scope="module")
def raw(shared, tmp_path_factory):
    """The folders of a release: four videos of eight utterances, and what goes wrong."""
    folder = tmp_path_factory.mktemp("raw")
    for name in ("videos", "transcripts", "labels", "splits"):
        (folder / name).mkdir()
    with av.open(str(shared / "media" / "talker_512.mp4")) as container:
        talker = next(container.decode(video=0)).to_ndarray(format="rgb24")
    empty = np.full((240, 320, 3), 90, np.uint8)
    seen = empty.copy()
    seen[20:220, 60:260] = cv2.resize(talker, (200, 200), interpolation=cv2.INTER_AREA)

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


def build(raw, out, **options):
    return build_mosei(
        *(raw / name for name in ("videos", "transcripts", "labels", "splits")), out, **options
    )


@pytest.fixture(scope="module")
def built(raw, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mosei")
    seen = []
    result = build(raw, folder, on_progress=seen.append)
    return folder, result, seen


# --- cutting -----------------------------------------------------------------------------------


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


# --- reading -----------------------------------------------------------------------------------


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


# --- the starting points -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The paper's three backbones, tiny where they can be, as their hubs publish them."""
    from facenet_pytorch import InceptionResnetV1
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


# --- training ----------------------------------------------------------------------------------


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


@pytest.fixture
def small(monkeypatch):
    """Faces as small as the face network takes, and a schedule for tiny backbones."""
    monkeypatch.setattr(InceptionBackbone, "side", 75)
    schedule = replace(paper.SCHEDULE, epochs=2, rate=3e-2, patience=None)
    monkeypatch.setattr(paper, "SCHEDULE", schedule)
    return schedule


def test_a_batch_is_of_seed_and_step_alone_and_a_pass_shows_each_once(built, here, small, tmp_path):
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


def test_resumed_training_comes_to_the_same_checkpoint(built, here, small, tmp_path, monkeypatch):
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


def test_the_command_learns_32_examples_by_heart(built, here, small, tmp_path, monkeypatch, capsys):
    folder, out = tmp_path / "mosei", tmp_path / "paper.safetensors"
    shutil.copytree(built[0], folder)
    # The same again and again: fewer epochs, which each end with a judgement and a state.
    (folder / "splits" / "train.txt").write_text("\n".join(IDS * 4))
    monkeypatch.setattr(paper, "SCHEDULE", replace(small, epochs=8))
    options = ["--data", folder, "--out", out, "--device", "cpu", "--profile", "paper"]
    monkeypatch.setattr(sys, "argv", ["run_live.py", "train", *map(str, options)])
    assert run_live.main() == 0
    table = capsys.readouterr().out.splitlines()
    assert table[-2].split()[:3] == ["mean", "1.000", "1.000"]
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
