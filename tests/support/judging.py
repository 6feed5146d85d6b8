"""Toy sets and models to be judged."""

import numpy as np
import torch
from toy_sets import toy_set
from toys import tiny

from models.training.datasets import (
    FACE_CLASSES,
)


def untrained():
    """A model of random weights whose logits differ between the toys: where they are all but
    the same, the calibration would enlarge the last bits of float32 into other answers."""
    model = tiny(classifiers=FACE_CLASSES)
    model.thresholds = None
    with torch.no_grad():
        faces = [np.repeat(face[:, :, None], 3, axis=2) for face in toy_set("visual").items]
        model.train()
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = None  # the plain mean of what it has seen
        model.embed([model.prepare([face], None, None) for face in faces])
        model.embed([model.prepare(None, clip, None) for clip in toy_set("acoustic").items])
    return model.eval()
