"""Findings as JSON.

In: `Findings`. Out: one document, an utterance at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from realtime.formats.findings import Findings


def to_json(people: Sequence[Findings], *, together: bool = True) -> Iterator[str]:
    """Everything: the session, its models, the average, each utterance, sounds, notes, warnings.

    Args:
        together: an object with a list of `people`; else, of one person, that person alone.
    """
    if together:
        yield '{"people": ['
    for number, found in enumerate(people):
        yield ",\n" if number else ""
        yield from _person(found)
    yield "]}\n" if together else "\n"


def _person(found: Findings) -> Iterator[str]:
    models = found.started and {"profile": found.started.profile, "stt": found.started.stt}
    head = {"session": dict(found.session), "models": models}
    yield json.dumps(head, ensure_ascii=False)[:-1]
    yield f',\n"average": {found.average.model_dump_json()},\n"utterances": ['
    for number, utterance in enumerate(found.utterances()):
        yield f"{',' if number else ''}\n{utterance.model_dump_json()}"
    yield '],\n"sounds": ['
    for number, sound in enumerate(found.sounds()):
        yield f"{',' if number else ''}\n{sound.model_dump_json()}"
    yield '],\n"notes": ['
    for number, note in enumerate(found.notes):
        yield f"{',' if number else ''}\n{note.model_dump_json()}"
    yield '],\n"warnings": ['
    for number, warning in enumerate(found.warnings()):
        yield f"{',' if number else ''}\n{warning.model_dump_json()}"
    yield "]}"
