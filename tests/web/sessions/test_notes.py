"""Notes that somebody writes about moments of a session, while it runs and when it has ended."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from web_client import Client, hosted, serving

from models.errors import UsageError
from realtime.analyzers.local import LocalAnalyzer
from realtime.events import SessionEnded, WireAverage
from realtime.storage.store import RETRY_S
from web.settings import ServerSettings


def no_models() -> LocalAnalyzer:
    raise UsageError("what is kept can be seen without models")


async def write(client: Client, id: str, at: float, text: str) -> Any:
    answer = await client.http.post(f"/api/sessions/{id}/notes", json={"at": at, "text": text})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def texts(client: Client, id: str) -> list[str]:
    """What an export has of the notes."""
    found = await client.json(f"/api/sessions/{id}/results.json")
    return [note["text"] for note in found["notes"]]


async def test_notes_are_written_and_deleted_whenever(tmp_path: Path) -> None:
    settings = ServerSettings(store=tmp_path / "s.sqlite")
    async with serving(settings, no_models) as client:
        session = hosted(client)
        path = f"/api/sessions/{session.id}/notes"
        # While it runs; two at once have a number each.
        both = await asyncio.gather(
            write(client, session.id, 7, "  later\x1b "), write(client, session.id, 0.5, "sooner")
        )
        assert sorted(note["note"] for note in both) == [1, 2]
        assert await texts(client, session.id) == ["sooner", "later\\x1b"]
        average = WireAverage.of(None)
        end = SessionEnded(session="s", time=9, reason="end", utterances=0, average=average)
        session.record(end)
        await session._finish()
        # When it has ended.
        assert (await write(client, session.id, 9, "at the end"))["note"] == 3
        (sooner,) = (note for note in both if note["text"] == "sooner")
        assert (await client.http.delete(f"{path}/{sooner['note']}")).status_code == 204
        for number in (sooner["note"], 4):
            told = await client.error("DELETE", f"{path}/{number}")
            assert told[:2] == (404, "unknown_note")
        told = await client.events(session.id)
        assert [event["type"] for event in told] == [
            "note.changed",
            "note.changed",
            "session.ended",
            "note.changed",
            "note.changed",
        ]
    async with serving(settings, no_models) as client:
        # When the server has been down, too.
        assert await client.events(session.id) == told
        assert (await write(client, session.id, 1, "again"))["note"] == 4
        assert await texts(client, session.id) == ["again", "later\\x1b", "at the end"]
        assert (await client.json(f"/api/sessions/{session.id}"))["last_seq"] == len(told) + 1
        assert (await client.http.delete(f"{path}/4")).status_code == 204
        table = (await client.http.get(f"/api/sessions/{session.id}/notes.csv")).text
        assert [line.rpartition(",")[2] for line in table.splitlines()] == [
            "text",
            "later\\x1b",
            "at the end",
        ]


async def test_what_is_no_note_is_refused(tmp_path: Path) -> None:
    async with serving(ServerSettings(store=tmp_path / "s.sqlite"), no_models) as client:
        id = hosted(client).id
        for at, text in ((-1, "a"), (1e9, "a"), ("x", "a"), (0, "  "), (0, "a" * 501), (0, None)):
            told = await client.error(
                "POST", f"/api/sessions/{id}/notes", json={"at": at, "text": text}
            )
            assert told[:2] == (422, "invalid_request"), (at, text)
        body = {"at": 0, "text": "a"}
        told = await client.error("POST", "/api/sessions/x/notes", json=body)
        assert told[:2] == (404, "unknown_session")


@pytest.mark.parametrize("ended", [False, True])
async def test_a_note_that_cannot_be_stored_is_refused(tmp_path: Path, ended: bool) -> None:
    settings = ServerSettings(store=tmp_path / "s.sqlite")
    async with serving(settings, no_models) as client:
        session = hosted(client)
        path = f"/api/sessions/{session.id}/notes"
        await write(client, session.id, 1, "kept")
        if ended:
            await session._finish()
            client.hub._sessions.clear()  # only the store knows it any more
        writer = client.hub.store._writer
        writer.execute("PRAGMA query_only = ON")
        told = await client.error("POST", path, json={"at": 2, "text": "lost"})
        assert told[:2] == (503, "store.failed")
        writer.execute("PRAGMA query_only = OFF")
        await asyncio.sleep(RETRY_S + 0.1)
        again = await write(client, session.id, 3, "kept, too")
        assert again["text"] in await texts(client, session.id)
    async with serving(settings, no_models) as client:
        assert (await texts(client, session.id))[-1] == "kept, too"
