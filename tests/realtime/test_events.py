"""The wire schema: every documented example is a valid event and survives the journey."""

from __future__ import annotations

import json
import typing

import pydantic
import pytest

from realtime import events


def examples() -> list[tuple[type[pydantic.BaseModel], dict[str, object]]]:
    found = []
    for kind in typing.get_args(events.Event):
        text = kind.__doc__.split("Example:")[1]
        found.append((kind, json.loads(text)))
    return found


@pytest.mark.parametrize(("kind", "example"), examples(), ids=lambda v: getattr(v, "__name__", ""))
def test_documented_example_is_complete_and_valid(
    kind: type[pydantic.BaseModel], example: dict[str, object]
) -> None:
    event = events.parse_event(json.dumps(example))
    assert type(event) is kind
    assert json.loads(event.model_dump_json()) == example


def test_every_type_of_event_has_its_own_name() -> None:
    names = [kind.model_fields["type"].default for kind in typing.get_args(events.Event)]
    assert len(set(names)) == len(names) == 14


@pytest.mark.parametrize(
    "kind", [events.UtteranceProvisional, events.UtteranceResult, events.AverageUpdated]
)
def test_neutral_is_not_known_where_an_earlier_version_told_the_emotions(
    kind: type[events.Event],
) -> None:
    told = dict(examples())[kind]
    assert events.parse_event(json.dumps(told)).neutral == told.pop("neutral")
    before = events.parse_event(json.dumps(told))
    assert before.neutral is None
    assert json.loads(before.model_dump_json()) == {**told, "neutral": None}


def test_an_average_is_kept_as_it_was_told() -> None:
    told = events.parse_event(json.dumps(dict(examples())[events.AverageUpdated]))
    average = events.WireAverage.of(told)
    assert (average.emotions, average.neutral) == (told.emotions, told.neutral)
    assert events.WireAverage.of(None).neutral is None


def test_unknown_fields_are_ignored_and_unknown_types_refused() -> None:
    line = '{"type": "speech.started", "session": "a", "time": 1.0, "from_the_future": 1}'
    assert events.parse_event(line).time == 1.0
    with pytest.raises(pydantic.ValidationError):
        events.parse_event('{"type": "speech.sung", "session": "a", "time": 1.0}')
