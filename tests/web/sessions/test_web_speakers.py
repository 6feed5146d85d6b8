"""What somebody knows better of speakers is told: while a session runs, and when it has ended."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from talks import Talk
from web_client import Client, hosted, serving

from models.errors import UsageError
from realtime.analyzers.local import LocalAnalyzer
from realtime.events import Event, SessionEnded, UtteranceResult, WireAverage, parse_event
from realtime.sources.pushed import PushedSource
from realtime.storage.store import SessionStore
from realtime.storage.values import StoredSession
from web.sessions.hosted import Hosted
from web.settings import ServerSettings

BEGAN = "2026-01-05T10:12:07+00:00"


def no_models() -> LocalAnalyzer:
    raise UsageError("what is kept can be seen without models")


def said(utterance: int, speaker: int) -> UtteranceResult:
    assert UtteranceResult.__doc__
    example = json.loads(UtteranceResult.__doc__.split("Example:")[1])
    by = {"id": speaker, "name": f"Speaker {speaker}", "by": "voice", "confidence": 0.9}
    told = parse_event(json.dumps({**example, "utterance": utterance, "speaker": by}))
    assert isinstance(told, UtteranceResult)
    return told


def the_end() -> SessionEnded:
    average = WireAverage.of(None)
    return SessionEnded(session="s", time=9.0, reason="end", utterances=3, average=average)


def events() -> list[Event]:
    return [said(1, 1), said(2, 2), said(3, 3), the_end()]


@pytest.fixture
def kept(tmp_path: Path) -> ServerSettings:
    """A server whose store has the session `film`, which has ended."""
    settings = ServerSettings(store=tmp_path / "s.sqlite")
    store = SessionStore(settings.store)
    store.begin(
        StoredSession(
            id="film",
            kind="upload",
            name="film.mp4",
            source="film.mp4",
            room=None,
            owner=None,
            started=datetime.fromisoformat(BEGAN),
            duration=9.0,
            recorded=False,
        )
    )
    for seq, event in enumerate(events(), 1):
        store.append("film", seq, event)
    store.close()
    return settings


async def ask(client: Client, id: str, speaker: int, **wish: Any) -> Any:
    answer = await client.http.post(f"/api/sessions/{id}/speakers/{speaker}", json=wish)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def check_corrections(client: Client, id: str, last_seq: int) -> None:
    """Of an ended session in which 1, 2 and 3 have said one thing each."""
    path = f"/api/sessions/{id}"
    told = await ask(client, id, 3, merge_into=1)
    assert told == await client.json(path)
    assert told["last_seq"] == last_seq + 2
    changed, average = await client.events(id, last_seq)
    assert (changed["seq"], changed["type"]) == (last_seq + 1, "speaker.changed")
    assert (changed["speaker"], changed["name"]) == (1, "Speaker 1")
    assert (changed["gone"], changed["utterances"]) == (3, [3])
    assert (average["seq"], average["type"]) == (last_seq + 2, "average.updated")
    assert [(one["id"], one["utterances"]) for one in average["speakers"]] == [(1, 2), (2, 1)]
    assert average["utterances"] == 3

    # Two at once: both are told, one after the other.
    await asyncio.gather(ask(client, id, 1, name=" Ann "), ask(client, id, 2, name="Bob"))
    assert (await client.json(path))["last_seq"] == last_seq + 6
    later = await client.events(id, last_seq + 2)
    assert [event["seq"] for event in later] == [*range(last_seq + 3, last_seq + 7)]
    assert {event["name"] for event in later if "name" in event} == {"Ann", "Bob"}
    assert [one["name"] for one in later[-1]["speakers"]] == ["Ann", "Bob"]
    both = await asyncio.gather(
        *(
            client.http.post(f"{path}/speakers/{gone}", json={"merge_into": into})
            for gone, into in ((1, 2), (2, 1))
        )
    )
    assert sorted(answer.status_code for answer in both) == [200, 404]

    await refused(client, path)
    (whole,) = (await client.events(id))[-1]["speakers"]
    assert whole["utterances"] == 3
    found = await client.json(f"{path}/results.json")
    assert found["session"]["last_seq"] == last_seq + 8
    assert found["average"]["speakers"] == [whole]


async def refused(client: Client, path: str) -> None:
    for speaker, wish, refusal in (
        (9, {"name": "Ann"}, (404, "unknown_speaker")),
        (3, {"name": "Ann"}, (404, "unknown_speaker")),
        (3, {"merge_into": 3}, (404, "unknown_speaker")),
        (0, {"name": "Ann"}, (422, "invalid_request")),
        (1, {}, (422, "invalid_request")),
        (1, {"name": "Ann", "merge_into": 2}, (422, "invalid_request")),
        (1, {"name": "  "}, (422, "invalid_request")),
        (1, {"name": "n" * 81}, (422, "invalid_request")),
        (1, {"merge_into": 0}, (422, "invalid_request")),
        (1, {"merge_into": "\ud800"}, (422, "invalid_request")),
        (1, {"name": "\ud800"}, (422, "invalid_request")),
    ):
        content = {"content": json.dumps(wish), "headers": {"Content-Type": "application/json"}}
        told = await client.error("POST", f"{path}/speakers/{speaker}", **content)
        assert told[:2] == refusal, wish


async def test_speakers_of_a_session_in_the_store_are_named_and_merged(
    kept: ServerSettings,
) -> None:
    async with serving(kept, no_models) as client:
        unknown = await client.error("POST", "/api/sessions/x/speakers/1", json={"name": "Ann"})
        assert unknown[:2] == (404, "unknown_session")
        same = await client.error("POST", "/api/sessions/film/speakers/1", json={"merge_into": 1})
        assert same[:2] == (409, "same_speaker")
        await check_corrections(client, "film", 4)
        told = await client.events("film")
    async with serving(kept, no_models) as client:
        assert await client.events("film") == told
        assert (await client.json("/api/sessions/film"))["last_seq"] == told[-1]["seq"]


async def test_speakers_of_a_session_that_has_just_ended_are_named_and_merged(
    tmp_path: Path,
) -> None:
    settings = ServerSettings(store=tmp_path / "s.sqlite")
    async with serving(settings, no_models) as client:
        session = hosted(client)
        for event in events():
            session.record(event)
        await session._finish()
        await check_corrections(client, session.id, 4)
        told = await client.events(session.id)
        assert session.to_json()["last_seq"] == told[-1]["seq"]
    async with serving(settings, no_models) as client:
        assert await client.events(session.id) == told
        assert (await client.json(f"/api/sessions/{session.id}"))["last_seq"] == told[-1]["seq"]


async def test_a_session_that_has_heard_nobody_has_no_speaker(tmp_path: Path) -> None:
    async with serving(ServerSettings(store=tmp_path / "s.sqlite"), no_models) as client:
        session = hosted(client)
        path = f"/api/sessions/{session.id}/speakers/1"
        assert (await client.error("POST", path, json={"name": "Ann"}))[:2] == (
            404,
            "unknown_speaker",
        )
        await session._finish()
        assert len(session.events) == 1


@pytest.mark.slow
async def test_a_running_session_is_told_who_speaks(long_talk: Talk, tmp_path: Path) -> None:
    async with serving(ServerSettings(store=tmp_path / "s.sqlite")) as client:
        id = (await client.upload(long_talk.path, pace="live")).json()["id"]
        path = f"/api/sessions/{id}"
        session = client.hub.get(id)
        async for _, event in session.follow():
            if isinstance(event, UtteranceResult) and event.speaker is not None:
                break
        assert session.state == "running"
        told = await ask(client, id, event.speaker.id, name="Ann")
        assert session.state == "running"
        for wish, refusal in (
            ({"merge_into": event.speaker.id}, (409, "same_speaker")),
            ({"merge_into": 99}, (404, "unknown_speaker")),
        ):
            answer = await client.error("POST", f"{path}/speakers/{event.speaker.id}", json=wish)
            assert answer[:2] == refusal
        await client.http.post(f"{path}/stop")
        events = await client.events(id)
        (changed,) = (e for e in events if e["type"] == "speaker.changed" and e["gone"] is None)
        assert changed["seq"] <= told["last_seq"]
        after = [e for e in events if e["seq"] > changed["seq"]]
        assert after[0]["type"] == "average.updated"
        assert after[-1]["type"] == "session.ended"
        names = {one["id"]: one["name"] for one in after[-1]["average"]["speakers"]}
        assert names[event.speaker.id] == "Ann"


def test_calls_and_a_server_for_one_person_look_for_nobody_else(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "s.sqlite")
    for kind, alone, expected in (
        ("call", False, True),
        ("camera", False, False),
        ("camera", True, True),
    ):
        source = PushedSource("ada", has_audio=True, has_video=False)
        settings = ServerSettings(store=store.path, alone=alone)
        session = Hosted(
            source, settings, store, kind=kind, name="", room=None, owner=None, at_end=lambda: None
        )
        assert session._alone is expected
    store.close()
