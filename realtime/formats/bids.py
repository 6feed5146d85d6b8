"""Findings as the Brain Imaging Data Structure (BIDS) keeps what happened in an experiment.

In: `Findings`. Out: the table ``…_events.tsv``, a row at a time, and its sidecar ``…_events.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from models.emotions import EMOTIONS, NEUTRAL
from realtime.events import UtteranceFailed
from realtime.formats.findings import Findings
from realtime.formats.tables import cell, delimited

COLUMNS: dict[str, dict[str, Any]] = {
    "onset": {
        "Description": "Beginning of the utterance, after that of the first session told here.",
        "Units": "s",
    },
    "duration": {"Description": "Length of the utterance.", "Units": "s"},
    "trial_type": {
        "Description": "The emotions whose estimate is above its threshold, with + between.",
        "Levels": {
            **{emotion: f"{emotion} is expressed" for emotion in EMOTIONS},
            "none": "none of the six is expressed",
            "failed": "the utterance could not be analysed",
        },
    },
    "person": {"Description": "Who was analysed; n/a of a recording."},
    "speaker": {"Description": "Who speaks, of those told apart in the session."},
    "utterance": {"Description": "Number of the utterance in its session, from 1."},
    "text": {"Description": "What was recognised of the words."},
    "confidence": {"Description": "How sure the recogniser is of the words, 0 to 1."},
    **{
        emotion: {"Description": f"Estimated probability that {emotion} is expressed, 0 to 1."}
        for emotion in EMOTIONS
    },
    NEUTRAL: {
        "Description": "Estimated probability that none of the six is expressed, 0 to 1; an "
        "estimate of its own, so that the seven need not add up to 1."
    },
}
"""Name to description, as the sidecar has it."""


def to_events_tsv(people: Iterable[Findings]) -> Iterator[str]:
    """One row an utterance; what is not known is ``n/a``."""
    yield from delimited([*COLUMNS], _rows(people), "\t")


def to_sidecar(people: Iterable[Findings]) -> Iterator[str]:
    """What the columns mean, and which models estimated them."""
    models = {
        f"emotions by {found.started.profile}, words by {found.started.stt}"
        for found in people
        if found.started
    }
    about = {"LongName": "Estimates of a model from faces, voices and words"}
    described: dict[str, Any] = dict(COLUMNS)
    described["trial_type"] = {**COLUMNS["trial_type"], **about}
    described["GeneratedBy"] = [{"Name": "live-emotion", "Description": "; ".join(sorted(models))}]
    yield json.dumps(described, indent=2, ensure_ascii=False) + "\n"


def _rows(people: Iterable[Findings]) -> Iterator[list[str]]:
    for found in people:
        for event in found.utterances():
            row: dict[str, object] = {
                "onset": round(found.began_s + event.start, 6),
                "duration": round(event.end - event.start, 6),
                "person": found.person or None,
                "utterance": event.utterance,
            }
            if isinstance(event, UtteranceFailed):
                row["trial_type"] = "failed"
            else:
                row |= {
                    "trial_type": "+".join(event.expressed) or "none",
                    "speaker": event.speaker and event.speaker.name,
                    "text": " ".join(event.transcript.text.split()) or None,
                    "confidence": event.transcript.confidence,
                    **event.emotions,
                    NEUTRAL: event.neutral,
                }
            yield [cell(row.get(name)) or "n/a" for name in COLUMNS]
