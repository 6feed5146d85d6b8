"""The log of the server as JSON, one line an event.

In: what sessions tell, and what goes wrong. Out: lines without words, faces, scores or names; and
without paths and tokens, which stand in the messages of errors.
"""

from __future__ import annotations

import json
import logging
import traceback
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
from web.observability.repeats import Repeats

logger = logging.getLogger(__name__)

_PASSING = (SpeechStarted, SpeechPaused, SpeechResumed, TranscriptPartial, UtteranceProvisional)

# What may stand in the log. All else is left out, also what an event may carry one day.
_TOLD = {
    *("session", "time", "duration", "stt"),
    *("utterance", "utterances", "start", "end", "latency", "modalities"),
    *("reason", "stage", "code"),
}


MAX_CAUSES = 5
"""Of an error, so many of those that led to it are told."""


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
    handler.setFormatter(JsonLines())
    if str(path) == "-":
        logging.basicConfig(handlers=[handler], force=True)
    else:
        logging.getLogger().addHandler(handler)
        # The terminal is told of warnings alone.
        logger.addHandler(handler)
        logger.propagate = False
    logger.setLevel(logging.INFO)


def sum_up_repeats() -> None:
    """From now on, log no more than the first few warnings of a kind; see `Repeats`."""
    for handler in {*logging.root.handlers, *logger.handlers}:
        handler.addFilter(Repeats(handler))


def log_event(kind: str, event: Event) -> None:
    """Log an event of a session of that kind; what passes soon only at level DEBUG."""
    level = logging.DEBUG if isinstance(event, _PASSING) else logging.INFO
    if logger.isEnabledFor(level):
        told = event.model_dump(mode="json", include=_TOLD)
        logger.log(level, event.type, extra={"told": {"kind": kind, **told}})


def log_server(event: str, **told: Any) -> None:
    """Log an event of the server itself, such as ``server.started``."""
    logger.info(event, extra={"told": told})


class JsonLines(logging.Formatter):
    """One line of JSON for each record."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "at": datetime.fromtimestamp(record.created, timezone.utc).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _bare(record),
            **getattr(record, "told", {}),
        }
        if record.exc_info and record.exc_info[1]:
            line["exception"] = _places(record.exc_info[1])
        return json.dumps(line)


def _bare(record: logging.LogRecord) -> str:
    """The message with its numbers, but without its texts: any of them may hold a name.

    Of several lines the first: in the others asyncio shows what a task was doing, and with what.
    """
    if not isinstance(record.msg, str):  # an error, say
        return type(record.msg).__name__
    template, *_ = record.msg.splitlines() or [""]
    if not isinstance(record.args, tuple):
        return template
    try:
        return template % tuple(
            value if isinstance(value, int | float) else "…" for value in record.args
        )
    except (TypeError, ValueError):  # %d, say, of what was no number
        return template


def _places(error: BaseException) -> str:
    """Which errors led to which, and where, without their messages."""
    lines: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(lines) < MAX_CAUSES:
        where = [
            f"{frame.f_globals.get('__name__')}:{line} {frame.f_code.co_name}"
            for frame, line in traceback.walk_tb(cause.__traceback__)
        ]
        lines.append(f"{type(cause).__qualname__} at {' > '.join(where)}")
        cause = cause.__cause__ or cause.__context__
    return "\n".join(lines)
