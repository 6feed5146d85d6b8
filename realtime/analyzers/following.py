"""Frames of one utterance in; at its end, who was seen in it, and whose lips go with the sound out.

Everybody's face is followed as the frames come. Faces and lips are cut out at once, so that no
frame has to be kept.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np

from models.faces import FaceFinder, FaceTracker, FaceTracks, align, area
from models.libraries import opencv
from models.people.speaking import RATE, SIDE, lips_square
from realtime.analysis import FACES, SeenFace, SeenPerson
from realtime.rings import spread

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.faces import Box, DetectedFace
    from models.people.speaking import Lips
    from realtime.media import GreyPicture, VideoFrame

MOST_FACES = 8
"""So many people are followed; who would be one more is passed over."""


class Following:
    """Everybody who is seen in one utterance.

    Args:
        finder: finds faces in a picture.
        lips: whether lips are cut out where there is more than one face.
    """

    def __init__(self, finder: FaceFinder, *, lips: bool = True) -> None:
        self._tracker = FaceTracker(finder)
        self._linked = FaceTracks(MOST_FACES)
        self._cut: dict[DetectedFace, SeenFace] = {}
        self._with_lips = lips
        self._lips: dict[int, list[tuple[float, npt.NDArray[np.uint8]]]] = {}
        self._times: list[float] = []  # of the frames

    def add(self, frame: VideoFrame) -> None:
        """Take the next frame."""
        self._tracker.add(frame.time, frame.image)
        self._take(frame)

    def follow(self, frame: VideoFrame) -> bool:
        """`add` the frame, if that takes no search; else False, and `found` must follow."""
        if not self._tracker.follow(frame.time, frame.image):
            return False
        self._take(frame)
        return True

    def found(self, frame: VideoFrame, faces: list[DetectedFace]) -> None:
        """`add` the frame, in which a search has found these faces."""
        self._tracker.found(frame.time, faces)
        self._take(frame)

    def tracks(self, count: int) -> list[int]:
        """The tracks that are seen in the first `count` frames, the largest first."""
        areas = {
            track: sum(area(face) for number, face in faces.items() if number < count)
            for track, faces in enumerate(self._linked.tracks)
        }
        return sorted((track for track in areas if areas[track]), key=lambda track: -areas[track])

    def faces(self, track: int, count: int) -> list[SeenFace]:
        """The face of a track in up to `FACES` of the first `count` frames that show it."""
        seen = self._linked.tracks[track]
        return spread([self._cut[seen[number]] for number in sorted(seen) if number < count], FACES)

    def main(self, count: int) -> list[SeenPerson]:
        """Who fills the most of the first `count` frames; nobody else."""
        return [
            SeenPerson(self.faces(track, count), identity=None, synchrony=None)
            for track in self.tracks(count)[:1]
        ]

    def lips(self, track: int, count: int, start_s: float, stop_s: float) -> Lips | None:
        """The lips of a track, `RATE` pictures a second from `start_s` to `stop_s` (media time).

        Only the film of the first `count` frames counts: whether later ones have come already is
        a matter of pace.

        Returns:
            uint8 (pictures, 80, 80); None if they were not seen for most of that time.
        """
        known = self._lips.get(track, [])
        film = [(time, lips) for time, lips in known if time <= self._times[count - 1]]
        times = [time for time, _ in film]
        wanted = np.arange(start_s, stop_s - 0.5 / RATE, 1 / RATE)
        if not film or not len(wanted):
            return None
        nearest = []
        for time in wanted:
            place = bisect_left(times, time)
            nearest.append(
                min(
                    range(max(0, place - 1), min(place + 1, len(times))),
                    key=lambda i: abs(times[i] - time),
                )
            )
        near = np.abs(np.array(times)[nearest] - wanted) < 2 / RATE
        if near.mean() < 0.5:
            return None
        return np.stack([film[place][1] for place in nearest])

    def _take(self, frame: VideoFrame) -> None:
        height, width, _ = frame.image.shape
        size = round(width * frame.scale), round(height * frame.scale)
        faces = self._tracker.pictures[-1]
        for face in faces:
            x, y, w, h = (value * frame.scale for value in face.box)
            image = align(frame.image, face.landmarks)
            self._cut[face] = SeenFace(frame.time, size, (x, y, w, h), face.confidence, image)
        self._linked.add(faces)
        self._times.append(frame.time)
        if self._with_lips:
            self._cut_lips(frame)

    def _cut_lips(self, frame: VideoFrame) -> None:
        """Of all who are seen in this frame or the one before, in the film between, if several."""
        number = len(self._times) - 1
        here = {
            track: (faces.get(number - 1), faces.get(number))
            for track, faces in enumerate(self._linked.tracks)
            if number in faces or number - 1 in faces
        }
        if len(here) < 2:
            return
        began = self._times[number - 1] if number else frame.time
        for picture in frame.film:
            if picture.time > began or not number:
                part = (picture.time - began) / ((frame.time - began) or 1)
                for track, (before, after) in here.items():
                    lips = cut_out(picture, _between(before, after, part))
                    self._lips.setdefault(track, []).append((picture.time, lips))


def _between(before: DetectedFace | None, after: DetectedFace | None, part: float) -> Box:
    """The box of a face on its way from one frame to the next."""
    first, last = before or after, after or before
    assert first is not None
    assert last is not None
    x, y, width, height = (
        a + (b - a) * min(max(part, 0.0), 1.0) for a, b in zip(first.box, last.box, strict=True)
    )
    return x, y, width, height


def cut_out(picture: GreyPicture, box: Box) -> npt.NDArray[np.uint8]:
    """The lips, uint8 (80, 80)."""
    x, y, side = lips_square(box)
    scale = SIDE / side
    move = np.array([[scale, 0, -x * scale], [0, scale, -y * scale]])
    cut: npt.NDArray[np.uint8] = opencv().warpAffine(
        picture.image, move, (SIDE, SIDE), borderValue=110
    )
    return cut
