"""Faces: where they are in a picture, and the main one cut out upright for the MER model.

In: pictures, RGB. Out: every face in each, or the face of one person through all of them: of
pictures that are far apart (`FaceFinder`), or of a film as it is shown (`FaceTracker`). Whose face
is the speaker's is decided in `realtime.analyzers`: `following` compares lips with the sound, and
`people` chooses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from models.libraries import facenet, opencv

if TYPE_CHECKING:
    from torch import Tensor

Image: TypeAlias = npt.NDArray[np.uint8]
"""uint8 (height, width, 3), RGB."""

Landmarks: TypeAlias = npt.NDArray[np.float32]
"""float32 (5, 2): x, y in pixels of the left eye, the right eye (as the viewer sees them), the tip
of the nose, the left and the right corner of the mouth."""

Box: TypeAlias = tuple[float, float, float, float]
"""x, y of the upper left corner, width, height, in pixels of the picture, inside of it."""

CROP_SIDE = 160
"""Pixels a side of a crop."""

TEMPLATE: Landmarks = np.array(
    [[51.4, 61.8], [108.6, 61.8], [80.0, 95.3], [55.9, 124.7], [104.1, 124.7]], dtype=np.float32
)
"""Where the landmarks come to lie in a crop. They are the mean landmarks that MTCNN finds in 355 of
500 FER+ training faces (those it is 99 % sure of, enlarged to 160x160, drawn with seed 0), made
symmetric; so a crop frames a face just as the training faces are framed."""

_CONFIDENCE = (0.6, 0.7, 0.9)
"""What the three networks of MTCNN must be sure of. The last is 0.7 by default; at 0.9 no face is
lost that could show an emotion, and hands and patterns pass no more."""

_PYRAMID = 0.709  # MTCNN's own: each level has half the area of the one before

SEARCH_EVERY_S = 2.0
"""A tracker searches whole pictures so often for people who have come into view."""

SEARCH_AGAIN_S = 0.5
"""The same while somebody it had found is missing, or nobody is there."""

_SAME = 0.5  # overlap (intersection over union) from which two boxes show the same face


@dataclass(frozen=True, slots=True, eq=False)
class DetectedFace:
    """One face in one picture.

    Attributes:
        box: where, in pixels of the picture.
        confidence: in (0.9, 1].
        landmarks: float32 (5, 2), see `Landmarks`; they may lie outside of the picture.
    """

    box: Box
    confidence: float
    landmarks: Landmarks


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """The face of the main person in one picture, cut out.

    Attributes:
        box: where, in pixels of the picture.
        confidence: in (0.9, 1].
        image: uint8 (160, 160, 3) RGB, turned upright and scaled to `TEMPLATE`.
    """

    box: Box
    confidence: float
    image: Image


class FaceFinder:
    """MTCNN (Zhang et al. 2016, https://arxiv.org/abs/1604.02878) as facenet-pytorch has it.

    A picture is looked at alone, so it gives the same digits in whatever company. The networks
    are only read, never written, so any number of threads may share one finder.

    Args:
        device: where the networks work, as PyTorch names it.
    """

    def __init__(self, device: str = "cpu") -> None:
        from models.acceleration import accelerate_pooling

        opencv()  # rather than in the middle of the first utterance
        networks = facenet().MTCNN(device=device)  # the weights lie inside the package
        self._device = device
        self._networks = (networks.pnet, networks.rnet, networks.onet)
        for network in self._networks:
            accelerate_pooling(network)

    def find(self, images: Sequence[Image]) -> list[Face | None]:
        """The face of one person in each picture of a sequence.

        Who stays in view and is large is the one: faces are linked from picture to picture, and
        the person whose faces cover the largest area in all is taken.

        Args:
            images: in the order of time; about one a second or two is enough to follow a face.

        Returns:
            One item a picture, None where that person is not seen.
        """
        main = main_track(self.detect(images))
        return [
            None if face is None else Face(face.box, face.confidence, align(image, face.landmarks))
            for image, face in zip(images, main, strict=True)
        ]

    def detect(self, images: Sequence[Image]) -> list[list[DetectedFace]]:
        """Every face in each picture.

        Args:
            images: uint8 (height, width, 3) RGB, of any sizes.

        Returns:
            One list a picture, the largest face first. Faces smaller than 20 pixels, or than 8 %
            of the picture's shorter side, are not looked for.
        """
        return [self._detect(image) for image in images]

    def follow(self, image: Image, faces: Sequence[DetectedFace]) -> list[DetectedFace]:
        """Those of `faces` that are still about where they were, a moment later.

        Only the last network of MTCNN looks, at the squares around the boxes, and corrects them.
        Its landmarks lie within 2 % (median) of the distance between the eyes of those that a
        search of the whole picture finds, in 1.5 ms instead of 40 to 100.

        Args:
            image: uint8 (height, width, 3) RGB, of the same size as the picture before.
            faces: in the picture before.

        Returns:
            The faces, the largest first.
        """
        import torch

        from models.cascade import look, squares_around

        height, width = _checked(image).shape[:2]
        if not faces:
            return []
        corners = [(x, y, x + w, y + h) for x, y, w, h in (face.box for face in faces)]
        squares = squares_around(np.array(corners, np.float32), width, height)
        with torch.inference_mode():
            found = look(self._pixels(image), squares, self._networks[2], _CONFIDENCE[2])
        return _distinct(_faces(*found, width, height))

    def _detect(self, image: Image) -> list[DetectedFace]:
        import torch

        from models.cascade import search

        height, width = _checked(image).shape[:2]
        smallest = max(20.0, 0.08 * min(height, width))
        if min(height, width) < smallest:
            return []
        with torch.inference_mode():
            pixels = self._pixels(image).float()
            found = search(pixels, smallest, self._networks, _CONFIDENCE, _PYRAMID)
        return _faces(*found, width, height)

    def _pixels(self, image: Image) -> Tensor:
        """uint8 (1, 3, height, width) where the networks work. In planes, because there torch
        averages quicker than over interleaved colours."""
        import torch

        planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return planes[None].to(self._device)


class FaceTracker:
    """The faces in the pictures of one film, followed as the pictures come.

    Whole pictures are searched now and then; between, each face is looked for where it was. What is
    found in a picture depends on the pictures before it, and on nothing else.
    """

    def __init__(self, finder: FaceFinder) -> None:
        self.pictures: list[list[DetectedFace]] = []
        """The faces in each picture so far, the largest first."""
        self._finder = finder
        self._searched_s = -math.inf  # when the last whole picture was searched
        self._known = 0  # how many faces were found then

    def add(self, time_s: float, image: Image) -> None:
        """Find the faces in the next picture, uint8 (height, width, 3) RGB, at `time_s` seconds."""
        if not self.follow(time_s, image):
            self.found(time_s, *self._finder.detect([image]))

    def follow(self, time_s: float, image: Image) -> bool:
        """`add` the picture if its faces can be looked for where they were.

        Returns:
            False if the whole picture has to be searched: then `found` must follow.
        """
        faces = self._finder.follow(image, self.pictures[-1]) if self.pictures else []
        complete = faces and len(faces) >= self._known
        if time_s - self._searched_s >= (SEARCH_EVERY_S if complete else SEARCH_AGAIN_S):
            return False
        self.pictures.append(faces)
        return True

    def found(self, time_s: float, faces: list[DetectedFace]) -> None:
        """These are the faces that `FaceFinder.detect` finds in the next picture."""
        self._searched_s, self._known = time_s, len(faces)
        self.pictures.append(faces)


class FaceTracks:
    """Which face in a picture is which of those in the pictures before it.

    A face continues the track whose last face is nearest, if their centres are no farther apart
    than one face is wide, and neither is twice as wide as the other. So a track goes on after
    pictures in which its face was not found.

    Args:
        most: so many tracks are begun; a face that would begin another is passed over.

    Attributes:
        tracks: each maps the number of a picture, from 0, to the face there.
    """

    def __init__(self, most: float = math.inf) -> None:
        self.tracks: list[dict[int, DetectedFace]] = []
        self._most = most
        self._pictures = 0

    def add(self, faces: Sequence[DetectedFace]) -> None:
        """Link the faces of the next picture, the largest first."""
        number = self._pictures
        self._pictures += 1
        last = [track[max(track)] for track in self.tracks]
        nearest_first = sorted(
            (_distance(before, face), track, index)
            for track, before in enumerate(last)
            for index, face in enumerate(faces)
        )
        linked: set[int] = set()
        for distance, track, index in nearest_first:
            if distance <= 1 and number not in self.tracks[track] and index not in linked:
                self.tracks[track][number] = faces[index]
                linked.add(index)
        for index, face in enumerate(faces):
            if index not in linked and len(self.tracks) < self._most:
                self.tracks.append({number: face})


def main_track(pictures: Sequence[Sequence[DetectedFace]]) -> list[DetectedFace | None]:
    """The faces of the person who fills the most of a sequence of pictures.

    Args:
        pictures: the faces in each picture, in the order of time.

    Returns:
        One item a picture, None where that person is not seen.
    """
    linked = FaceTracks()
    for faces in pictures:
        linked.add(faces)
    main = max(linked.tracks, key=lambda track: sum(map(area, track.values())), default={})
    return [main.get(number) for number in range(len(pictures))]


def align(image: Image, landmarks: Landmarks) -> Image:
    """The face with these landmarks, upright: uint8 (160, 160, 3) RGB."""
    cv2 = opencv()
    transform = similarity(landmarks, TEMPLATE)
    # Sampling a large face at few points would alias: halve the picture first, averaging.
    shrink = int(1 / np.hypot(*transform[0, :2]))
    if shrink > 1:
        small = (max(1, image.shape[1] // shrink), max(1, image.shape[0] // shrink))
        ratio = np.array(small) / (image.shape[1], image.shape[0])
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        transform = similarity((landmarks + 0.5) * ratio - 0.5, TEMPLATE)
    size = (CROP_SIDE, CROP_SIDE)
    crop: Image = cv2.warpAffine(image, transform, size, borderMode=cv2.BORDER_REPLICATE)
    return crop.astype(np.uint8, copy=False)


def similarity(
    source: npt.NDArray[np.floating], target: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """The turn, scale and shift, float64 (2, 3), that bring points (n, 2) nearest to others.

    Least squares in closed form: with points as complex numbers about their means, the factor is
    sum(conj(source) * target) / sum(|source|^2). It cannot mirror.
    """
    a = source.astype(np.float64) @ (1, 1j)
    b = target.astype(np.float64) @ (1, 1j)
    factor = np.vdot(a - a.mean(), b - b.mean()) / np.vdot(a - a.mean(), a - a.mean()).real
    shift = b.mean() - factor * a.mean()
    return np.array(
        [[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]]
    )


def area(face: DetectedFace) -> float:
    """Square pixels of the face's box."""
    return face.box[2] * face.box[3]


def _distance(a: DetectedFace, b: DetectedFace) -> float:
    """Between the centres, in widths of the mean face; infinite when the sizes are too unlike."""
    wide, narrow = max(a.box[2], b.box[2]), min(a.box[2], b.box[2])
    if wide > 2 * narrow:
        return float("inf")
    (ax, ay, aw, ah), (bx, by, bw, bh) = a.box, b.box
    dx, dy = (ax + aw / 2) - (bx + bw / 2), (ay + ah / 2) - (by + bh / 2)
    return float(np.hypot(dx, dy)) / ((aw + bw) / 2)


def _checked(image: Image) -> Image:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"a picture must be uint8 (height, width, 3), not {image.dtype} {image.shape}"
        )
    return image


def _faces(
    rows: npt.NDArray[np.float32], landmarks: npt.NDArray[np.float32], width: int, height: int
) -> list[DetectedFace]:
    """What MTCNN returned, as faces, the largest first.

    Args:
        rows: float32 (n, 5), two corners and a confidence each.
        landmarks: float32 (n, 5, 2).
        width, height: of the picture.
    """
    faces = [
        DetectedFace(_box(row[:4], width, height), float(row[4]), marks.astype(np.float32))
        for row, marks in zip(rows, landmarks, strict=True)
    ]
    return sorted((face for face in faces if area(face) > 0), key=area, reverse=True)


def _distinct(faces: list[DetectedFace]) -> list[DetectedFace]:
    """Without those that have come to lie on a larger one."""
    kept: list[DetectedFace] = []
    for face in faces:
        if all(_overlap(face.box, other.box) < _SAME for other in kept):
            kept.append(face)
    return kept


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def _box(corners: npt.NDArray[np.float32], width: int, height: int) -> Box:
    """Two corners as a box inside the picture."""
    left, right = np.clip(corners[[0, 2]].astype(float), 0, width).tolist()
    top, bottom = np.clip(corners[[1, 3]].astype(float), 0, height).tolist()
    return left, top, right - left, bottom - top
