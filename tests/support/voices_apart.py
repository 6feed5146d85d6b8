"""How well people are told apart by voice alone who speak with all kinds of emotion.

Clips of actors are given to `Speakers` in random order: of one alone, of two or three in turn. In:
the data folder. Out: how many of 100 utterances went to the right one, and how many speakers that
made of one, two or three. Run: ``python tests/support/voices_apart.py ../shared/data``.
"""

from __future__ import annotations

import csv
import itertools
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import numpy.typing as npt

from models.clips import read_clip
from models.people.voices import SAMPLE_RATE, VoiceEncoder
from realtime.speakers import Speakers

SETS = ("ravdess", "emodb", "nemo")
EACH = 15  # utterances of a person
STRINGS = 20  # of so many people each, of a set

_QUIET = 0.03  # of the peak: what is less loud before and after is no speech


class Utterance:
    """One clip: whose it is, its length in seconds, and its voice."""

    def __init__(self, encoder: VoiceEncoder, speaker: str, file: Path) -> None:
        sound = read_clip(file)
        loud = np.flatnonzero(np.abs(sound) > _QUIET * np.abs(sound).max())
        sound = sound[loud[0] : loud[-1] + 1]
        self.speaker = speaker
        self.seconds = len(sound) / SAMPLE_RATE
        self.voice: npt.NDArray[np.float32] = encoder.embed(sound)


def given(utterances: Sequence[Utterance]) -> tuple[float, int]:
    """How many of the utterances go to the right one, as a part, and how many speakers there are.

    Who is whose is what fits most utterances.
    """
    speakers = Speakers()
    whose: dict[int, int] = {}
    for number, one in enumerate(utterances):
        told = speakers.give(number, one.seconds, one.voice, None, {})
        assert told is not None
        whose[number] = told.speaker
        while (merged := speakers.settle()) is not None:
            whose.update(dict.fromkeys(merged.utterances, merged.speaker))
    people = sorted({one.speaker for one in utterances})
    found = sorted(set(whose.values()))
    pairs = Counter((one.speaker, whose[number]) for number, one in enumerate(utterances))
    right = max(
        sum(pairs[pair] for pair in zip(people, order, strict=True))
        for order in itertools.permutations([*found, *[0] * len(people)], len(people))
    )
    return right / len(utterances), len(found)


def main(data: Path) -> None:
    """Print a line for each set and number of people."""
    encoder = VoiceEncoder()
    clips: dict[str, dict[str, list[Path]]] = {name: defaultdict(list) for name in SETS}
    for folder in ("speech", "speech_more"):
        with (data / folder / "labels.tsv").open(encoding="utf-8") as table:
            for row in csv.DictReader(table, delimiter="\t"):
                if row["set"] in SETS:
                    clips[row["set"]][row["speaker"]].append(data / folder / row["file"])
    for name, people in clips.items():
        rng = np.random.default_rng(1)
        voices = {
            person: [
                Utterance(encoder, person, files[place])
                for place in rng.permutation(len(files))[: 2 * EACH]
            ]
            for person, files in people.items()
        }
        for count in (1, 2, 3):
            figures = []
            for _ in range(STRINGS):
                chosen = rng.choice(sorted(voices), count, replace=False)
                said = [
                    voices[person][place]
                    for person in chosen
                    for place in rng.permutation(len(voices[person]))[:EACH]
                ]
                figures.append(given([said[place] for place in rng.permutation(len(said))]))
            right, speakers = (fmean(column) for column in zip(*figures, strict=True))
            sys.stdout.write(
                f"{name:8} people: {count}  right: {right:.2f}  told: {speakers:.1f}\n"
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
