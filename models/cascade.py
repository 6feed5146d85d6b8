"""MTCNN's cascade over one picture: a search through all of it, or a look at where faces just were.

In: pixels, and facenet-pytorch's three networks. Out: rows of two corners and a confidence, and
five landmarks each. K. Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded
Convolutional Networks", 2016, https://arxiv.org/abs/1604.02878.

`facenet_pytorch.models.utils.detect_face` does the same, to the digit. It does so in a thousand
small operations of PyTorch, before and after each of which its thread gives the interpreter up and
waits for it; beside eight live streams a search took two to four times as long as it computed. Here
only the networks are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.ops import nms

Rows: TypeAlias = npt.NDArray[np.float32]
"""float32 (n, ...), one row a box: x, y of two corners, and what is known of it."""

Network: TypeAlias = Callable[[Tensor], tuple[Tensor, ...]]

_CELL, _STRIDE = 12, 2  # of the first network: pixels that it sees, and between two of its outputs
_BATCH = 512  # crops that a network takes at once


def search(
    pixels: Tensor,
    smallest: float,
    networks: tuple[Network, Network, Network],
    confidence: Sequence[float],
    pyramid: float,
) -> tuple[Rows, Rows]:
    """Every face in a picture.

    Args:
        pixels: float32 (1, 3, height, width), RGB, 0 to 255.
        smallest: face to look for, in pixels.
        networks: MTCNN's P-Net, R-Net and O-Net.
        confidence: from which each of them passes a box on.
        pyramid: how many times as large as the one before each smaller picture is.

    Returns:
        Rows (n, 5), the last column the confidence, and landmarks float32 (n, 5, 2).
    """
    proposing, refining, deciding = networks
    height, width = pixels.shape[2:]
    levels = []
    scale = _CELL / smallest
    side = min(height, width) * scale
    while side >= _CELL:
        size = int(height * scale + 1), int(width * scale + 1)
        moves, odds = proposing(_normal(interpolate(pixels, size, mode="area")))
        rows = _proposed(_array(moves[0]), _array(odds[0, 1]), scale, confidence[0])
        levels.append(rows[_distinct(rows, 0.5)])
        scale, side = scale * pyramid, side * pyramid
    rows = np.concatenate(levels)
    rows = rows[_distinct(rows, 0.7)]
    sizes = np.tile(rows[:, 2:4] - rows[:, :2], 2)
    rows = np.column_stack([rows[:, :4] + rows[:, 5:] * sizes, rows[:, 4]])

    rows = _inside(_squares(rows), width, height)
    if len(rows):
        moves, odds = _batched(refining, _crops(pixels, rows, 24))
        rows, moved = _sure(rows, _array(odds)[:, 1], confidence[1], _array(moves))
        kept = _distinct(rows, 0.7)
        rows = _inside(_squares(_corrected(rows[kept], moved[kept])), width, height)
    rows, landmarks = look(pixels, rows, deciding, confidence[2])
    kept = _not_within(rows, 0.7)
    return rows[kept], landmarks[kept]


def look(pixels: Tensor, rows: Rows, network: Network, confidence: float) -> tuple[Rows, Rows]:
    """Which of the squares hold a face, and where in them: the last step of the search.

    Args:
        pixels: uint8 or float32 (1, 3, height, width).
        rows: squares (n, 4 or more), see `squares_around`.
        network: O-Net.
        confidence: from which it is a face.

    Returns:
        As `search` does.
    """
    if not len(rows):
        return np.empty((0, 5), np.float32), np.empty((0, 5, 2), np.float32)
    moves, marks, odds = _batched(network, _crops(pixels, rows, 48))
    rows, moved, marked = _sure(rows, _array(odds)[:, 1], confidence, _array(moves), _array(marks))
    sizes = rows[:, 2:4] - rows[:, :2] + 1
    landmarks = [
        sizes[:, axis, None] * marked[:, 5 * axis : 5 * axis + 5] + rows[:, axis, None] - 1
        for axis in (0, 1)
    ]
    return _corrected(rows, moved), np.stack(landmarks, axis=2)


def squares_around(rows: Rows, width: int, height: int) -> Rows:
    """Squares around boxes; without those that lie outside of the picture."""
    return _inside(_squares(rows), width, height)


def _proposed(moves: Rows, odds: Rows, scale: float, confidence: float) -> Rows:
    """Rows (n, 9): a box in pixels of the picture, its confidence, and how it is to be moved.

    Args:
        moves: float32 (4, rows, columns), a proposal at each place of a level of the pyramid.
        odds: float32 (rows, columns), how sure the network is of each.
    """
    places = odds >= confidence
    corners = np.argwhere(places)[:, ::-1].astype(np.float32) * _STRIDE
    scale = np.float32(scale)
    first, last = np.floor((corners + 1) / scale), np.floor((corners + _CELL) / scale)
    rows: Rows = np.column_stack([first, last, odds[places], moves[:, places].T])
    return rows


def _squares(rows: Rows) -> Rows:
    """Each box as a square about its middle, as wide or as high as it is."""
    sizes = rows[:, 2:4] - rows[:, :2]
    sides = sizes.max(axis=1, keepdims=True)
    first = rows[:, :2] + sizes * np.float32(0.5) - sides * np.float32(0.5)
    squares: Rows = np.column_stack([first, first + sides, rows[:, 4:]])
    return squares


def _corrected(rows: Rows, moves: Rows) -> Rows:
    """Each box with its corners moved, by parts of its size."""
    sizes = np.tile(rows[:, 2:4] - rows[:, :2] + 1, 2)
    corrected: Rows = np.column_stack([rows[:, :4] + moves * sizes, rows[:, 4:]])
    return corrected


def _inside(rows: Rows, width: int, height: int) -> Rows:
    """Those with at least one pixel of the picture."""
    left, top, right, bottom = _edges(rows, width, height).T
    inside: Rows = rows[(right >= left) & (bottom >= top)]
    return inside


def _edges(rows: Rows, width: int, height: int) -> npt.NDArray[np.int32]:
    """Left, top, right and bottom pixels of each box, counted from 1, within the picture."""
    edges = np.trunc(rows[:, :4]).astype(np.int32)
    edges[:, :2] = np.maximum(edges[:, :2], 1)
    edges[:, 2:] = np.minimum(edges[:, 2:], (width, height))
    return edges


def _crops(pixels: Tensor, rows: Rows, side: int) -> Tensor:
    """What is in each box, as the networks take it: float32 (n, 3, side, side)."""
    height, width = pixels.shape[2:]
    crops = [
        interpolate(
            pixels[:, :, top - 1 : bottom, left - 1 : right].float(), (side, side), mode="area"
        )
        for left, top, right, bottom in _edges(rows, width, height).tolist()
    ]
    return _normal(torch.cat(crops))


def _batched(network: Network, crops: Tensor) -> Iterator[Tensor]:
    """The outputs of a network; noise has thousands of squares that could be faces."""
    parts = [network(part) for part in torch.split(crops, _BATCH)]
    return (torch.cat(outputs) for outputs in zip(*parts, strict=True))


def _normal(pixels: Tensor) -> Tensor:
    return (pixels - 127.5) / 128


def _sure(rows: Rows, odds: Rows, confidence: float, *others: Rows) -> tuple[Rows, ...]:
    """Rows (n, 5) that a network is sure of, with its confidence, and the same of `others`."""
    sure = odds > confidence
    return np.column_stack([rows[sure, :4], odds[sure]]), *(other[sure] for other in others)


def _distinct(rows: Rows, overlap: float) -> npt.NDArray[np.int64]:
    """Which rows are left when each hides those less sure that overlap with it (by union)."""
    corners, odds = torch.from_numpy(rows[:, :4].copy()), torch.from_numpy(rows[:, 4].copy())
    kept: npt.NDArray[np.int64] = nms(corners, odds, overlap).numpy()
    return kept


def _not_within(rows: Rows, overlap: float) -> npt.NDArray[np.int64]:
    """The same, where each hides those that lie within it, or around it, with that part of the
    smaller one."""
    sizes = rows[:, 2:4] - rows[:, :2] + 1
    areas = sizes[:, 0] * sizes[:, 1]
    left = np.argsort(rows[:, 4])
    kept = []
    while len(left):
        best, left = left[-1], left[:-1]
        kept.append(best)
        shared = (
            np.minimum(rows[best, 2:4], rows[left, 2:4])
            - np.maximum(rows[best, :2], rows[left, :2])
            + 1
        ).clip(min=0)
        parts = shared[:, 0] * shared[:, 1] / np.minimum(areas[best], areas[left])
        left = left[parts <= overlap]
    return np.array(kept, np.int64)


def _array(tensor: Tensor) -> Rows:
    array: Rows = tensor.cpu().numpy()
    return array
