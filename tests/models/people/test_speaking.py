"""Whose lips go with the sound: the network against its public layout, and on real talkers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from recordings import frames_of, read, sound_of
from torch import nn
from torch.nn import functional as F

from models.faces import FaceFinder
from models.people.speaking import RATE, SIDE, ActiveSpeakerDetector, Lips, lips_square, mfcc
from models.registry import resolve
from realtime.analyzers.following import cut_out
from realtime.media import SAMPLE_RATE, VideoFrame


def test_the_lips_are_in_the_middle_of_the_lower_face() -> None:
    assert lips_square((100, 50, 60, 80)) == (110, 86, 40)


def test_coefficients_are_a_hundred_a_second_and_begin_with_the_energy() -> None:
    second = np.sin(np.arange(SAMPLE_RATE) * 0.2).astype(np.float32)
    loud, quiet = mfcc(second * 0.5), mfcc(second * 0.05)
    assert loud.shape == quiet.shape == (99, 13)
    # Ten times the amplitude is a hundred times the power; the shape of the spectrum is the same.
    np.testing.assert_allclose(loud[5:-5, 0] - quiet[5:-5, 0], np.log(100), atol=1e-3)
    np.testing.assert_allclose(loud[5:-5, 1:], quiet[5:-5, 1:], atol=1e-2)
    assert np.isfinite(mfcc(np.zeros(1600, np.float32))).all()
    assert mfcc(np.zeros(0, np.float32)).shape == (0, 13)


def test_it_computes_what_the_public_layout_computes() -> None:
    """With three dimensions, and normalisation apart, as the network was published."""
    from safetensors.torch import load_file

    state = {name: value.float() for name, value in load_file(resolve("lr-asd")).items()}
    rng = np.random.default_rng(0)
    lips = rng.integers(0, 256, (12, SIDE, SIDE), dtype=np.uint8)
    samples = rng.standard_normal(12 * SAMPLE_RATE // RATE + 400).astype(np.float32) * 0.1

    def normal(x: torch.Tensor, name: str) -> torch.Tensor:
        values = [state[f"{name}.{part}"] for part in ("running_mean", "running_var")]
        return F.batch_norm(x, *values, state[f"{name}.weight"], state[f"{name}.bias"], eps=0.001)

    def weighed(x: torch.Tensor, name: str, norm: str) -> torch.Tensor:
        return x * torch.sigmoid(normal(F.conv1d(x, state[f"{name}.weight"]), norm))

    x = ((torch.from_numpy(lips).float() / 255 - 0.4161) / 0.1688)[None, None]
    y = torch.from_numpy(mfcc(samples)[:48]).T[None, None]
    for block in (1, 2, 3):
        for kind, number in (("s", 1), ("s", 2), ("t", 1), ("t", 2)):
            name = f"model.visualEncoder.block{block}.{kind}"
            weight = state[f"{name}_{number}.weight"]
            padding = tuple(side // 2 for side in weight.shape[2:])
            stride = (1, 2, 2) if (block, kind, number) == (1, "s", 1) else 1
            x = normal(F.conv3d(x, weight, None, stride, padding), f"{name}_norm_{number}").relu()
        for kind, number in (("m", 1), ("m", 2), ("t", 1), ("t", 2)):
            name = f"model.audioEncoder.block{block}.{kind}"
            weight = state[f"{name}_{number}.weight"]
            padding = tuple(side // 2 for side in weight.shape[2:])
            y = normal(F.conv2d(y, weight, None, 1, padding), f"{name}_norm_{number}").relu()
        if block < 3:
            x = F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
            y = F.max_pool2d(y, (1, 3), (1, 2), (0, 1))
    both = torch.cat((y.mean(2), x.amax((3, 4))), 1)
    both = weighed(both, "model.fusion.attention", "model.fusion.bn").transpose(1, 2)
    halves = []
    for way, sound in (("forward", both), ("backward", both.flip(1))):
        gru = nn.GRU(256, 64, batch_first=True)
        name = f"model.detector.gru_{way}."
        gru.load_state_dict({k.removeprefix(name): v for k, v in state.items() if name in k})
        halves.append(gru(sound)[0])
    around = torch.cat((halves[0], halves[1].flip(1)), 2).transpose(1, 2)
    around = weighed(around, "model.detector.attention.attention", "model.detector.attention.bn")
    logits = F.linear(around.transpose(1, 2), state["lossAV.FC.weight"], state["lossAV.FC.bias"])[0]
    expected = (logits[:, 1] - logits[:, 0]).detach().numpy()
    np.testing.assert_allclose(
        ActiveSpeakerDetector().scores(lips, samples), expected, rtol=1e-3, atol=1e-3
    )


def lips_of(frames: list[VideoFrame]) -> Lips:
    """Of somebody who hardly moves, from the first face on."""
    (face, *_) = FaceFinder().detect([frames[0].image])[0]
    return np.stack([cut_out(picture, face.box) for frame in frames for picture in frame.film])


async def test_a_talker_talks_when_he_does_and_a_picture_of_him_does_not(
    shared: Path,
) -> None:
    items = await read(shared / "media/talker_512.mp4")
    sound = sound_of(items)
    lips = lips_of(frames_of(items))[: 6 * RATE]
    detector = ActiveSpeakerDetector()
    speaks = detector.scores(lips, sound[: 6 * SAMPLE_RATE]).mean()
    poster = detector.scores(np.repeat(lips[:1], len(lips), 0), sound[: 6 * SAMPLE_RATE]).mean()
    noise = np.random.default_rng(0).standard_normal(6 * SAMPLE_RATE).astype(np.float32) * 0.05
    assert speaks > 3 > 0 > poster
    assert detector.scores(lips, noise).mean() < 0
