"""Silero VAD: how likely it is that one window of sound is speech.

In: 512 samples at 16 kHz. Out: a probability. The weights are shared; a stream holds the state.
Model: Silero Team, "Silero VAD", https://github.com/snakers4/silero-vad (MIT), from its package.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from models.onnx_session import load_network
from models.registry import resolve

WINDOW = 512
"""Samples in one window: 32 ms at 16 kHz."""

_CONTEXT = 64  # the network also sees the last 64 samples of the window before
_STATE_SHAPE = (2, 1, 128)


@cache
def load_vad() -> SileroVAD:
    """The network, loaded at the first call and shared by all."""
    return SileroVAD()


class SileroVAD:
    """The network; open one stream for each source. Safe to share between threads."""

    def __init__(self) -> None:
        # The file comes from silero-vad's package, which is not imported: that would change the
        # number of torch's threads.
        self._network = load_network(resolve("silero-vad"))

    def stream(self) -> VADStream:
        """A stream at its beginning."""
        return VADStream(self)

    def run(
        self, window: npt.NDArray[np.float32], state: npt.NDArray[np.float32]
    ) -> tuple[float, npt.NDArray[np.float32]]:
        """One step: float32 (576,) and the state in, speech probability and new state out."""
        probability, new_state = self._network.run(
            None, {"input": window[None], "state": state, "sr": np.array(16_000, np.int64)}
        )
        return float(probability[0, 0]), new_state


class VADStream:
    """The memory of one source: recurrent state and the end of the window before."""

    def __init__(self, vad: SileroVAD) -> None:
        self._vad = vad
        self._state = np.zeros(_STATE_SHAPE, dtype=np.float32)
        self._context = np.zeros(_CONTEXT, dtype=np.float32)

    def probability(self, window: npt.NDArray[np.float32]) -> float:
        """Probability that the next window, float32 (512,), is speech.

        Raises:
            ValueError: the window does not hold 512 samples.
        """
        if window.shape != (WINDOW,):
            raise ValueError(f"a window is {WINDOW} samples, not {window.shape}")
        probability, self._state = self._vad.run(
            np.concatenate([self._context, window]), self._state
        )
        self._context = window[-_CONTEXT:]
        return probability
