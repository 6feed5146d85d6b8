"""Training texts as the recogniser hears them: a synthetic voice says them, it writes them down.

In: texts with their emotions. Out: the same emotions with what the embedded recogniser understood,
so that the language model meets the errors it will be given live.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import wave
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torchaudio

from models.errors import UsageError
from models.mer.acoustic import SAMPLE_RATE, Samples
from models.stt import Transcriber, load_transcriber
from models.training.datasets import ExampleSet

_MOST_WORDS = 25  # longer comments were never spoken
_VOICES = ("en-us", "en-us+f3", "en-us+m3", "en-gb", "en-gb+f2", "en-us+f4")
_WORDS_PER_MINUTE = (140, 160, 180)
_AT_ONCE = 2  # sentences: one is spoken while another is heard


def heard(
    sets: Sequence[ExampleSet],
    count: int,
    file: Path,
    *,
    on_progress: Callable[[int], None] = lambda done: None,
) -> ExampleSet:
    """The texts of some examples as the embedded recogniser understands them.

    Args:
        sets: textual sets, from which examples are drawn, always the same ones.
        count: how many examples.
        file: where sentences are kept as they are done (about 0.3 s of one core each); sentences
            that it already holds are not spoken again.
        on_progress: called with the number of sentences done.

    Returns:
        A set of `count` examples named ``heard``; a text may be empty.

    Raises:
        UsageError: espeak-ng, the synthetic voice, is not installed; or `file` is of other texts.
        MissingWeights: the embedded recogniser is not on this machine.
    """
    texts = [text for one in sets for text in one.items]
    truths = np.concatenate([one.truths for one in sets])
    order = np.random.default_rng(0).permutation(len(texts))
    chosen = [n for n in order if len(texts[n].split()) <= _MOST_WORDS][:count]
    done = _read(file) if file.is_file() else []
    wanted = [texts[n] for n in chosen]
    if [said for said, _ in done] != wanted[: len(done)]:
        raise UsageError(f"{file} holds other sentences than these: remove it")
    if len(done) < len(wanted):
        _continue(done, wanted, file, on_progress)
    return ExampleSet("heard", "textual", [text for _, text in done], truths[chosen])


def _continue(
    done: list[tuple[str, str]], wanted: list[str], file: Path, on_progress: Callable[[int], None]
) -> None:
    """Say and hear what is not yet done, adding it to `done` and to the file."""
    if shutil.which("espeak-ng") is None:
        raise UsageError(
            "espeak-ng is not installed: training needs its voice to learn the recogniser's "
            "errors (Debian: apt install espeak-ng)"
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    transcriber = load_transcriber("moonshine-tiny")
    try:
        with (
            file.open("a", encoding="utf-8") as lines,
            ThreadPoolExecutor(_AT_ONCE) as pool,
        ):
            numbered = list(enumerate(wanted))[len(done) :]
            for said, understood in pool.map(partial(_say_and_hear, transcriber), numbered):
                print(json.dumps([said, understood]), file=lines, flush=True)
                done.append((said, understood))
                on_progress(len(done))
    finally:
        transcriber.close()


def _say_and_hear(transcriber: Transcriber, numbered: tuple[int, str]) -> tuple[str, str]:
    number, text = numbered
    return text, transcriber.transcribe(spoken(number, text)).result().text


def spoken(number: int, text: str) -> Samples:
    """The synthetic voice, another one for each number, saying a text: float32 (n,), 16 kHz."""
    voice = _VOICES[number % len(_VOICES)]
    speed = _WORDS_PER_MINUTE[number // len(_VOICES) % len(_WORDS_PER_MINUTE)]
    command = ["espeak-ng", "--stdin", "--stdout", "-v", voice, "-s", str(speed)]
    recording = subprocess.run(command, input=text.encode(), capture_output=True, check=True)
    with wave.open(io.BytesIO(recording.stdout)) as sound:
        # It writes to a pipe, so it does not know the length that the header should tell.
        pcm = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
        rate = sound.getframerate()
    samples = torch.from_numpy(pcm.astype(np.float32) / 32768)
    heard: Samples = torchaudio.functional.resample(samples, rate, SAMPLE_RATE).numpy()
    return heard


def _read(file: Path) -> list[tuple[str, str]]:
    """The sentences of a file: what was said, what was understood."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [(said, understood) for said, understood in map(json.loads, lines)]
