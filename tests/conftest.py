"""Fixtures every test file may use: the real clips, or a skip that names what is missing."""

from __future__ import annotations

import json
import shutil
import signal
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from checkout import REPO, require_or_skip

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell has what runs in its background ignore Ctrl-C, and the programs that tests start, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real clips and data beside the repository."""
    folder = REPO.parent / "shared"
    if not (folder / "media" / "README.md").is_file():
        require_or_skip("../shared, the folder of real clips and data")
    return folder


@pytest.fixture(scope="session")
def decode() -> Callable[[Path], npt.NDArray[np.float32]]:
    """A function that decodes a whole clip at once: float32 (n,), 16 kHz mono."""
    import av

    def decode_file(path: Path) -> npt.NDArray[np.float32]:
        with av.open(str(path)) as container:
            resampler = av.AudioResampler("flt", "mono", 16_000)
            parts = [
                out.to_ndarray()[0]
                for frame in [*container.decode(audio=0), None]
                for out in resampler.resample(frame)
            ]
        return np.concatenate(parts)

    return decode_file


@pytest.fixture(scope="session")
def speech() -> npt.NDArray[np.float32]:
    """A synthetic voice says a sentence: float32 (n,), 16 kHz mono."""
    from models.training.heard import spoken

    if shutil.which("espeak-ng") is None:
        require_or_skip("espeak-ng, the synthetic voice")
    return spoken(0, "This is what was said.")


@pytest.fixture(scope="session")
def talker_truth(shared: Path) -> list[dict[str, Any]]:
    """The 40 utterances of the standard clip: ``start`` and ``end`` in seconds, ``text``."""
    truth = json.loads((shared / "media" / "talker_grid_120s.json").read_text(encoding="utf-8"))
    utterances: list[dict[str, Any]] = truth["utterances"]
    return utterances


@pytest.fixture(scope="session")
def halting(
    shared: Path, talker_truth: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A talker who halts twice for 0.4 s in the middle of what he says: long, but not long enough.

    His first four sentences, without the picture, and with only that much of the silence between
    two and two of them.
    """
    import av

    to = tmp_path_factory.mktemp("halting") / "halting.wav"
    with av.open(str(shared / "media/talker_grid_120s.mp4")) as container:
        resampler = av.AudioResampler("s16", "mono", 16_000)
        sound = np.concatenate(
            [
                part.to_ndarray()[0]
                for frame in container.decode(audio=0)
                for part in resampler.resample(frame)
            ]
        )
    silence = np.zeros(16_000, np.int16)
    parts = [silence]
    for number, utterance in enumerate(talker_truth[:4]):
        said = slice(int(utterance["start"] * 16_000), int(utterance["end"] * 16_000))
        parts += [sound[said], silence[: 6400 if number % 2 == 0 else None]]
    with wave.open(str(to), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(np.concatenate(parts).tobytes())
    return to
