"""The log of the server as JSON, one line an event.

In: what sessions tell, and what goes wrong. Out: lines without words, faces, scores or names.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from models.errors import UsageError
from models.overwriting import holds_no_json
from realtime.events import (
    Event,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    TranscriptPartial,
    UtteranceProvisional,
)

logger = logging.getLogger(__name__)

_PASSING = (SpeechStarted, SpeechPaused, SpeechResumed, TranscriptPartial, UtteranceProvisional)

# What may stand in the log. All else is left out, also what an event may carry one day.
_TOLD = {
    *("session", "time", "duration", "stt"),
    *("utterance", "utterances", "start", "end", "latency", "modalities"),
    *("reason", "stage", "code"),
}


def configure(path: Path) -> None:
    """Write the log as JSON to a file, which is added to; or to stderr, for ``-``, and no text.

    Raises:
        UsageError: the file cannot be written, or holds something else.
    """
    if str(path) != "-" and holds_no_json(str(path)):
        raise UsageError(f"{path} exists and is no log: choose another path for the log")
    try:
        handler = logging.StreamHandler() if str(path) == "-" else logging.FileHandler(path)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written ({error.strerror}): choose another path for the log"
        ) from None
    handler.setFormatter(_JsonLines())
    if str(path) == "-":
        logging.basicConfig(handlers=[handler], force=True)
    else:
        logging.getLogger().addHandler(handler)
        # The terminal is told of warnings alone.
        logger.addHandler(handler)
        logger.propagate = False
    logger.setLevel(logging.INFO)


def log_event(kind: str, event: Event) -> None:
    """Log an event of a session of that kind; what passes soon only at level DEBUG."""
    level = logging.DEBUG if isinstance(event, _PASSING) else logging.INFO
    if logger.isEnabledFor(level):
        told = event.model_dump(mode="json", include=_TOLD)
        logger.log(level, event.type, extra={"told": {"kind": kind, **told}})


def log_server(event: str, **told: Any) -> None:
    """Log an event of the server itself, such as ``server.started``."""
    logger.info(event, extra={"told": told})


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, timezone.utc).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "told", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)
