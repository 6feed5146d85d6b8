"""Clips through a session, and what must be the same of two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from realtime.analysis import Analyzer
from realtime.endpointing import EndpointingSettings
from realtime.events import (
    Event,
    SourceWarning,
    TranscriptPartial,
    UtteranceProvisional,
    UtteranceResult,
)
from realtime.session import LiveSession
from realtime.sources import open_source


async def events_of(
    clip: Path,
    analyzer: Analyzer,
    *,
    pace: Any = "fast",
    endpointing: EndpointingSettings | None = None,
    baseline: bool = False,
) -> list[Event]:
    source = await open_source(str(clip), pace)
    session = LiveSession(source, analyzer, endpointing=endpointing, baseline=baseline)
    return [event async for event in session.events()]


def results(events: list[Event]) -> list[UtteranceResult]:
    return [event for event in events if isinstance(event, UtteranceResult)]


def warnings_of(events: list[Event]) -> list[SourceWarning]:
    return [event for event in events if isinstance(event, SourceWarning)]


def lasting(events: list[Event]) -> list[dict[str, Any]]:
    """What must not depend on speed: no partial words, no provisional scores, no latencies, and
    no word of a machine that is too busy for those."""
    return [
        event.model_dump(exclude={"session": True, "latency": True})
        for event in events
        if not isinstance(event, TranscriptPartial | UtteranceProvisional)
        and getattr(event, "code", None) != "overload"
    ]


def by_kind(events: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Events of one kind come in one order; kinds may overtake each other at another pace."""
    kinds: dict[str, list[str]] = {}
    for event in events:
        kinds.setdefault(event["type"], []).append(json.dumps(event))
    return kinds
