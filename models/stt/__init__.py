"""Speech-to-text: the choice of an engine. What every engine does is in `models.stt.transcriber`.

In: a name. Out: a `Transcriber`.
"""

from __future__ import annotations

import logging

from models.errors import MissingWeights, UsageError
from models.registry import is_here, resolve
from models.stt.transcriber import Hypothesis, Transcriber, Transcript, Word
from models.worker import STUCK_S

__all__ = ["ENGINES", "Hypothesis", "Transcriber", "Transcript", "Word", "load_transcriber"]

logger = logging.getLogger(__name__)


# Best first, and the weights of each. Mean word error rate over the eight English sets of the Open
# ASR leaderboard, as published with Moonshine: moonshine-base 10.1 %, whisper-base.en 10.3 %,
# moonshine-tiny 12.7 %, whisper-tiny.en 12.8 %; whisper-small is better than all.
_WEIGHTS = {
    "whisper-small": "whisper-small",
    "moonshine-base": "moonshine-base",
    "whisper-base.en": "whisper-base.en",
    "moonshine-tiny": "moonshine-tiny",
    "whisper-tiny.en": "whisper-tiny.en",
    "silero": "silero-stt",
}

# Whisper listens to any utterance for 30 s, which takes the small one 5.5 s of a core: lively talk
# would leave it behind. The others take 1.7 s (base.en) and 0.8 s (tiny.en); Moonshine listens as
# long as the utterance lasts.
_NOT_LIVE = ("whisper-small",)

_EMBEDDED = "moonshine-tiny"  # comes with the installation, wherever there is a package of it

ENGINES = ("auto", "none", "moonshine", "whisper", *_WEIGHTS)
"""The names `load_transcriber` knows."""


def load_transcriber(name: str, stuck_s: float = STUCK_S) -> Transcriber:
    """An engine by its name; its own `name` says which it is.

    Args:
        name: ``auto``: the best whose weights are on this machine and that can follow live speech
            on two cores; without any, ``none``, and a warning; ``none``: no words; ``moonshine`` or
            ``whisper``: the best of these that is here; or an exact one of `ENGINES`.
        stuck_s: seconds after which an engine that gives no answer fails its utterance.

    Raises:
        UsageError: there is no such engine, or its weights cannot be read.
        MissingWeights: none of its weights are on this machine.
    """
    try:
        return _load(_choose(name), stuck_s)
    except MissingWeights as missing:
        if name != "auto":
            raise
        logger.warning("no words will be recognised: %s", missing)
        return _load("none", stuck_s)


def _choose(name: str) -> str:
    if name not in ENGINES:
        raise UsageError(
            f"no speech-to-text engine named '{name}'; choose one of: {', '.join(ENGINES)}"
        )
    if name == "auto":
        fitting = [engine for engine in _WEIGHTS if engine not in _NOT_LIVE]
        missing = _EMBEDDED
    else:
        fitting = [engine for engine in _WEIGHTS if engine.startswith(f"{name}-")] or [name]
        missing = fitting[-1]  # the smallest
    return next((e for e in fitting if e in _WEIGHTS and is_here(_WEIGHTS[e])), missing)


def _load(engine: str, stuck_s: float) -> Transcriber:
    if engine == "none":
        from models.stt.no_words import NoWords

        return NoWords()
    weights = resolve(_WEIGHTS[engine])
    if engine == "silero":
        from models.stt.silero import SileroTranscriber

        return SileroTranscriber(engine, weights, stuck_s)
    if engine.startswith("moonshine"):
        from models.stt.moonshine import MoonshineTranscriber

        return MoonshineTranscriber(engine, weights, stuck_s)
    from models.stt.whisper import WhisperTranscriber

    return WhisperTranscriber(engine, weights, stuck_s)
