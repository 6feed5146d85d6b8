"""What the voice network, which stays as it is, hears in each clip: found once, learnt from often.

In: the acoustic backbone and sets of clips. Out: the same sets, each clip as the means over time of
its embeddings, as it is and changed in several ways.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap

from models.errors import UsageError
from models.mer.acoustic import AcousticBackbone
from models.training.augmentation import augment_sound
from models.training.datasets import ExampleSet


@torch.inference_mode()
def encoded(
    backbone: AcousticBackbone,
    sets: Sequence[ExampleSet],
    file: Path,
    *,
    versions: int,
    seed: int,
    on_progress: Callable[[int, int], None],
) -> list[ExampleSet]:
    """Hear all clips of some sets.

    Args:
        backbone: in evaluation mode.
        sets: whose items are clips, float32 (n,) at 16 kHz mono.
        file: where the means are kept; what stands there already is not heard again.
        versions: of each clip; the first is as it is, the others are changed at random.
        seed: decides how.
        on_progress: called with the number of clips heard and that of all.

    Returns:
        The sets, whose items are float16 (versions, width): not standardised.

    Raises:
        UsageError: the file is damaged, or of other clips.
    """
    shape = (sum(map(len, sets)), versions, backbone.width)
    if file.is_file():
        try:
            means = open_memmap(file, "r+")
        except (ValueError, OSError) as error:
            raise UsageError(f"{file} cannot be resumed: {error}; remove it") from error
        if means.shape != shape:
            raise UsageError(f"{file} is of other clips or another network: remove it")
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        means = open_memmap(file, "w+", np.float16, shape)
        means[:] = np.nan  # what is not heard yet
    device = backbone.conv1.weight.device
    places = [(one, place) for one in sets for place in range(len(one))]
    for number, (one, place) in enumerate(places):
        if np.isnan(means[number]).any():
            clip = one.items[place]
            rng = np.random.default_rng([seed, number])
            changed = [clip] + [augment_sound(clip, rng) for _ in range(versions - 1)]
            spectrograms = [backbone.prepare(each).to(device) for each in changed]
            sequences, sounds = backbone.heard(spectrograms)
            mean = sequences.sum(dim=1) / sounds.sum(dim=1, keepdim=True)
            means[number] = mean.cpu().numpy()
        on_progress(number + 1, len(means))
    means.flush()
    ends = np.cumsum([len(one) for one in sets])[:-1]
    parts = np.split(means, ends)
    return [replace(one, items=list(part)) for one, part in zip(sets, parts, strict=True)]
