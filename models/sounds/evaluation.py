"""How often sounds are heard where they are, and where they are not.

In: a folder of clips of which the labels tell what is heard. Out: a `SoundReport`.
"""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.clips import read_clip
from models.errors import UsageError
from models.sounds.runs import KINDS, PIECE_S, STEP_S, WINDOW_S, WINDOWS, Sound, SoundRuns
from models.sounds.tagger import SoundTagger

_RATE = 16_000  # Hz
_SETS = {
    "esc10": "ESC-10",
    "emogator": "EmoGator",
    **dict.fromkeys(("nemo", "speechocean762", "librispeech_resemblyzer"), "speech"),
}
_HEARD_IN = {
    "laughter": "EmoGator Amusement",
    "crying": "ESC-10 Baby cry",
    "sneeze": "ESC-10 Person sneeze",
}
"""The kinds of which there are examples."""


@dataclass(slots=True)
class Group:
    """Clips with one label.

    Attributes:
        seconds: of all together.
        heard: of each kind, in how many clips it was heard.
        events: of each kind, how many there were.
    """

    clips: int = 0
    seconds: float = 0.0
    heard: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class SoundReport:
    """What was heard in each group of clips."""

    groups: dict[str, Group]

    def __str__(self) -> str:
        width = max(29, *map(len, self.groups))
        heads = " ".join(f"{kind:>8}" for kind in KINDS)
        lines = [f"{'heard in so many of 100 clips':{width}}  clips {heads}"]
        for name, group in self.groups.items():
            shares = (100 * group.heard[kind] / group.clips for kind in KINDS)
            lines.append(f"{name:{width}}  {group.clips:5} {' '.join(f'{x:8.0f}' for x in shares)}")
        rates = (f"{self.false_an_hour(kind):8.1f}" for kind in KINDS)
        hours = self.groups["speech"].seconds / 3600 if "speech" in self.groups else 0.0
        lines.append(f"{'events an hour of speech':{width}} {hours:4.1f} h {' '.join(rates)}")
        for kind in _HEARD_IN:
            recall, precision = self.recall(kind), self.precision(kind)
            right = f"recall {recall:.2f}, precision {precision:.2f}"
            lines.append(f"{kind}, {_HEARD_IN[kind]} among the clips of its set: {right}")
        return "\n".join(lines)

    def recall(self, kind: str) -> float:
        """Of the clips in which it is to be heard, the part in which it is."""
        group = self.groups.get(_HEARD_IN[kind], Group())
        return group.heard[kind] / group.clips if group.clips else 0.0

    def precision(self, kind: str) -> float:
        """Of the clips of the same set in which it is heard, the part in which it is to be."""
        of_set = _HEARD_IN[kind].partition(" ")[0]
        heard = {name: g.heard[kind] for name, g in self.groups.items() if name.startswith(of_set)}
        right = heard.get(_HEARD_IN[kind], 0)
        return right / sum(heard.values()) if right else 0.0

    def false_an_hour(self, kind: str) -> float:
        """Events an hour of ordinary speech."""
        speech = self.groups.get("speech", Group())
        return 3600 * speech.events[kind] / speech.seconds if speech.seconds else 0.0

    def to_json(self) -> str:
        """All figures as one JSON object."""
        return json.dumps({name: asdict(group) for name, group in self.groups.items()}, indent=2)


def evaluate(
    tagger: SoundTagger, folder: Path, part: str, on_progress: Callable[[int, int], None]
) -> SoundReport:
    """Hear the clips of a folder, one after the other, each as a session would.

    Args:
        folder: with ``labels.tsv``: columns file, set, label, split, original_label.
        part: ``train``, on which the thresholds were chosen, or ``valid``.
        on_progress: called with the number of clips heard so far and that of all.

    Raises:
        UsageError: there are no such clips.
    """
    try:
        with (folder / "labels.tsv").open(encoding="utf-8", newline="") as file:
            table = [*csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
        rows = [row for row in table if row["split"] == part and row["set"] in _SETS]
    except (OSError, KeyError) as error:
        raise UsageError(f"{folder} has no labels.tsv of clips ({error})") from None
    if not rows:
        raise UsageError(f"{folder} has no clips of the part {part}")
    groups: defaultdict[str, Group] = defaultdict(Group)
    for done, row in enumerate(rows, 1):
        name = _SETS[row["set"]]
        if name != "speech":
            name += f" {row['original_label'].removeprefix('non-speech: ')}"
        samples = read_clip(folder / row["file"])
        sounds = heard_in(tagger, samples)
        group = groups[name]
        group.clips += 1
        group.seconds += len(samples) / _RATE
        group.heard.update({sound.kind for sound in sounds})
        group.events.update(sound.kind for sound in sounds)
        on_progress(done, len(rows))
    return SoundReport(dict(sorted(groups.items())))


def heard_in(tagger: SoundTagger, samples: npt.NDArray[np.float32]) -> list[Sound]:
    """The sounds of a recording.

    Args:
        samples: float32 (n,), 16 kHz mono.
    """
    runs = SoundRuns()
    found: list[Sound] = []
    piece, window, step = (round(s * _RATE) for s in (PIECE_S, WINDOW_S, STEP_S))
    for start in range(0, max(step, len(samples) - step), WINDOWS * step):
        part = samples[start : start + piece]
        count = WINDOWS if len(part) > window else 1  # of those that hold some
        heard = tagger.hear(np.pad(part, (0, piece - len(part))))
        for number, each in enumerate(heard[:count]):
            found += runs.take(start / _RATE + number * STEP_S, each)
    return [*found, *runs.end()]
