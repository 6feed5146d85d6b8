"""Who was seen in an utterance, how well their lips go with the sound, and whose voice it is.

In: the faces that were followed, and the sound. Out: `SeenPerson`s, and a voice.
"""

from __future__ import annotations

import statistics

import numpy as np

from models.faces import CROP_SIDE
from models.people.identity import FaceEncoder
from models.people.speaking import RATE, SIDE, ActiveSpeakerDetector
from models.people.voices import VoiceEncoder
from models.prosody import prosody
from realtime.analysis import SeenPerson
from realtime.analyzers.following import Following
from realtime.media import SAMPLE_RATE, Samples, Vector

_WHOLE_S = 4.0
"""An utterance that is no longer is looked at whole for moving lips."""

_PART_S = 2.0
"""Of a longer one, so much in the middle of each half; pieces of 1 s say little. Of one that was
split at its longest, the film of the beginning is gone; then the part that is there decides."""

_JUDGED_FACES = 4
"""So many people, those with the largest faces, may be the one who speaks."""

_SHORTEST_VOICE_S = 0.4
"""Shorter sound has no voice that could be known again."""


_DIFFERENT = 0.55
"""Voices less alike than this are two. Of one voice, pieces of 1.6 s were at least 0.57 alike
(LibriSpeech, 159 pauses); five of six pairs of voices are less."""


class People:
    """The networks that tell people apart; read only, so any number of threads may share them."""

    def __init__(self) -> None:
        self._speaking = ActiveSpeakerDetector()
        self._identity = FaceEncoder()
        self._voices = VoiceEncoder()

    def warm_up(self) -> None:
        """Have each network work once: the first time it takes several times as long."""
        second = np.zeros(SAMPLE_RATE, np.float32)
        prosody(second, "")
        self._voices.embed(second)
        self._identity.embed([np.zeros((CROP_SIDE, CROP_SIDE, 3), np.uint8)])
        self._speaking.synchrony(np.zeros((RATE, SIDE, SIDE), np.uint8), second)

    def voice(self, samples: Samples) -> Vector | None:
        """Whose voice it is; None if it is too short to tell."""
        if len(samples) < _SHORTEST_VOICE_S * SAMPLE_RATE:
            return None
        return self._voices.embed(samples)

    def differ(self, before: Samples, after: Samples) -> bool:
        """Whether two pieces of speech are by different voices, certainly.

        Args:
            before: float32 (n,), 16 kHz mono: at least 1.6 s.
            after: the same.
        """
        return float(self._voices.embed(before) @ self._voices.embed(after)) < _DIFFERENT

    def seen(
        self, following: Following, count: int, start_s: float, samples: Samples
    ) -> list[SeenPerson]:
        """Who was in view, and of several how well their lips go with the sound.

        Args:
            following: of the utterance.
            count: so many frames of it count.
            start_s: where `samples` begin, in seconds of media time.
            samples: of the utterance, float32 (n,), 16 kHz mono.

        Returns:
            The largest face first.
        """
        tracks = following.tracks(count)
        lips = self._lips(following, tracks, count, start_s, samples) if len(tracks) > 1 else {}
        people = []
        for track in tracks:
            faces = following.faces(track, count)
            identity = self._identity.embed([faces[len(faces) // 2].image])[0]
            people.append(SeenPerson(faces, identity, lips.get(track)))
        return people

    def _lips(
        self,
        following: Following,
        tracks: list[int],
        count: int,
        start_s: float,
        samples: Samples,
    ) -> dict[int, float]:
        """How well the lips of each go with the sound, where they are seen."""
        found = {}
        for track in tracks[:_JUDGED_FACES]:
            scores = []
            for first, last in _parts(len(samples)):
                begin_s, end_s = (start_s + place / SAMPLE_RATE for place in (first, last))
                lips = following.lips(track, count, begin_s, end_s)
                if lips is not None:
                    synchrony = self._speaking.synchrony(lips, samples[first:last])
                    scores += [] if synchrony is None else [synchrony]
            if scores:
                found[track] = statistics.fmean(scores)
        return found


def _parts(length: int) -> list[tuple[int, int]]:
    """Which samples of so many are looked at: first, and the one after the last."""
    if length <= _WHOLE_S * SAMPLE_RATE:
        return [(0, length)]
    part = round(_PART_S * SAMPLE_RATE)
    starts = [round(length * (2 * half + 1) / 4) - part // 2 for half in range(2)]
    return [(start, start + part) for start in starts]
