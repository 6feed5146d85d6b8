"""Whose face it is: one vector a face, near to those of the same person.

In: crops of faces. Out: vectors of length 1; the dot product of two is their similarity.

The network is MobileFaceNet, trained on MS-Celeb-1M.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from models.acceleration import accelerate
from models.faces import TEMPLATE, Image, similarity
from models.libraries import opencv
from models.people.mobilefacenet import SIDE, WIDTH, MobileFaceNet
from models.registry import resolve

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the pictures it learnt from
_LANDMARKS = np.array(  # where it learnt them to be
    [[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]], dtype=np.float32
)
_FROM_CROP = similarity(TEMPLATE, _LANDMARKS)


class FaceEncoder:
    """The network with its weights; read only, so any number of threads may share it."""

    def __init__(self) -> None:
        from safetensors.torch import load_file

        network = MobileFaceNet()
        network.load_state_dict(load_file(resolve("face-encoder")), strict=False)
        network.eval()
        accelerate(network)
        self._network = network

    def embed(self, faces: Sequence[Image]) -> npt.NDArray[np.float32]:
        """The identity of each face.

        Args:
            faces: uint8 (160, 160, 3) RGB, as `models.faces.align` cuts them out.

        Returns:
            float32 (faces, 128), each of length 1.
        """
        if not faces:
            return np.zeros((0, WIDTH), np.float32)
        cv2 = opencv()
        crops = np.stack(
            [
                cv2.warpAffine(face, _FROM_CROP, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
                for face in faces
            ]
        )
        pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
        mean, deviation = (torch.tensor(value).view(3, 1, 1) for value in (_MEAN, _DEVIATION))
        with torch.inference_mode():
            # One at a time: a face has the same vector in whatever company.
            return np.concatenate(
                [self._network(one[None]).numpy() for one in (pixels - mean) / deviation]
            )
