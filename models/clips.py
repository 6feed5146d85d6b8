"""Recordings read whole, to measure and to learn from.

In: a file. Out: its sound.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import numpy.typing as npt

_SAMPLE_RATE = 16_000


def read_clip(file: Path | BinaryIO) -> npt.NDArray[np.float32]:
    """The sound of a file, float32 (n,), 16 kHz mono."""
    with av.open(file) as container:
        resampler = av.AudioResampler("flt", "mono", _SAMPLE_RATE)
        blocks = [
            block.to_ndarray()[0]
            for frame in (*container.decode(audio=0), None)
            for block in resampler.resample(frame)
        ]
    return np.concatenate(blocks)
