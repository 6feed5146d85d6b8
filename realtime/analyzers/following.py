"""Frames of one utterance in; at its end, five pictures of the main person's face out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.faces import FaceFinder, FaceTracker, align, main_track
from realtime.analysis import FACES, SeenFace
from realtime.rings import spread

if TYPE_CHECKING:
    from models.faces import DetectedFace
    from realtime.media import VideoFrame


class Following:
    """Follows everybody's face: who is the main person is known at the end.

    Faces are cut out at once, so that no frame has to be kept.
    """

    def __init__(self, finder: FaceFinder) -> None:
        self._tracker = FaceTracker(finder)
        self._cut: dict[DetectedFace, SeenFace] = {}

    def add(self, frame: VideoFrame) -> None:
        """Take the next frame."""
        self._tracker.add(frame.time, frame.image)
        self._cut_out(frame)

    def follow(self, frame: VideoFrame) -> bool:
        """`add` the frame, if that takes no search; else False, and `found` must follow."""
        if not self._tracker.follow(frame.time, frame.image):
            return False
        self._cut_out(frame)
        return True

    def found(self, frame: VideoFrame, faces: list[DetectedFace]) -> None:
        """`add` the frame, in which a search has found these faces."""
        self._tracker.found(frame.time, faces)
        self._cut_out(frame)

    def main_faces(self, count: int) -> list[SeenFace]:
        """The main person's face in up to `FACES` of the first `count` frames that show it."""
        main = main_track(self._tracker.pictures[:count])
        return spread([self._cut[face] for face in main if face is not None], FACES)

    def _cut_out(self, frame: VideoFrame) -> None:
        height, width, _ = frame.image.shape
        size = round(width * frame.scale), round(height * frame.scale)
        for face in self._tracker.pictures[-1]:
            x, y, w, h = (value * frame.scale for value in face.box)
            image = align(frame.image, face.landmarks)
            self._cut[face] = SeenFace(frame.time, size, (x, y, w, h), face.confidence, image)
