"""Analyzers whose networks all tests of a process share: each loads a second and a half sooner."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from models.stt import load_transcriber
from models.worker import STUCK_S
from realtime.analyzers.local import (
    LocalAnalyzer,
    load_faces,
    load_mer,
    load_people,
    load_sounds,
)

if TYPE_CHECKING:
    from models.faces import FaceFinder
    from models.mer import MERModel
    from models.sounds.tagger import SoundTagger
    from realtime.analyzers.people import People


class Roomy(LocalAnalyzer):
    """One for eight streams: what a machine could hold that is busy with tests is not measured."""

    def capacity(self) -> int:
        """See `LocalAnalyzer.capacity`."""
        return 8


def load(*, stuck_s: float = STUCK_S) -> LocalAnalyzer:
    """`LocalAnalyzer.load` with its defaults; threads and recogniser are its own."""
    mer, faces, people, sounds = _networks()
    return Roomy(
        transcriber=load_transcriber("auto", stuck_s),
        faces=faces,
        people=people,
        sounds=sounds,
        mer=mer,
        profile="embedded",
        stuck_s=stuck_s,
    )


@cache
def _networks() -> tuple[MERModel, FaceFinder, People, SoundTagger]:
    return load_mer("embedded"), load_faces(), load_people(), load_sounds()
