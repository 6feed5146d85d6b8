"""What a server keeps and gives back: over HTTP, of real sessions, after a kill, too."""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
import time
import wave
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import websockets
from checkout import bytes_in
from starting import doomed_server
from storing import all_that_is_kept, until
from talks import Talk
from web_client import SOON_S, Client, serving

from models.errors import UsageError
from realtime.analyzers.local import LocalAnalyzer
from realtime.storage.store import SessionStore
from web.app import create_app
from web.settings import Limits, ServerSettings

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

FEW = Limits(max_inputs=1)
"""In memory the inputs of the last utterance alone."""


def no_models() -> LocalAnalyzer:
    raise UsageError("what is kept can be seen without models")


def wait_for_file(folder: Path, name: str) -> None:
    deadline = time.monotonic() + SOON_S
    while not [*folder.glob(f"*/{name}")]:
        assert time.monotonic() < deadline, f"{name} never came"
        time.sleep(0.02)


@asynccontextmanager
async def uploading(address: str, folder: Path) -> AsyncIterator[None]:
    """While an upload is under way, of which the first bytes have come to `folder`."""
    _, writer = await asyncio.open_connection(*address.split(":"))
    writer.write(
        b"POST /api/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        b'--x\r\nContent-Disposition: form-data; name=video; filename="half.mp4"\r\n\r\nabc'
    )
    await asyncio.to_thread(wait_for_file, folder, "half.mp4")
    yield
    writer.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """Of a server that records nothing."""
    settings = ServerSettings(
        store=tmp_path_factory.mktemp("kept") / "s.sqlite",
        limits=FEW,
    )
    async with serving(settings) as client:
        yield client


async def test_a_killed_server_shows_when_it_is_back_what_it_had_told(
    long_talk: Talk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "s.sqlite"
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    told: list[dict[str, Any]] = []
    async with AsyncExitStack() as meanwhile:
        with doomed_server(
            *("--store", store, "--max-sessions", "4"), env={"TMPDIR": str(uploads)}
        ) as address:
            async with httpx.AsyncClient(base_url=address, timeout=SOON_S) as http:
                with long_talk.path.open("rb") as clip:
                    begun = await http.post("/api/sessions", files={"video": clip})
            id = begun.json()["id"]
            there = address.removeprefix("http://").rstrip("/")
            feed = websockets.connect(f"ws://{there}/api/sessions/{id}/events")
            socket = await meanwhile.enter_async_context(feed)
            while sum(event["type"] == "utterance.result" for event in told) < 3:
                told.append(json.loads(await asyncio.wait_for(socket.recv(), SOON_S)))
            await meanwhile.enter_async_context(uploading(there, uploads))

    monkeypatch.setattr(tempfile, "tempdir", str(uploads))
    assert len([*uploads.glob("*/*.mp4")]) == 2
    async with serving(ServerSettings(store=store), no_models) as client:
        assert [*uploads.iterdir()] == []
        (session,) = (await client.json("/api/sessions"))["sessions"]
        assert session == await client.json(f"/api/sessions/{id}")
        assert (session["id"], session["state"], session["reason"]) == (id, "ended", "cut_off")
        events = await client.events(id)
        assert events[: len(told)] == told
        assert [event["seq"] for event in events] == [*range(1, len(events) + 1)]
        assert session["last_seq"] == len(events)
        for after in (1, len(events) - 1, len(events), 10**30):
            assert await client.events(id, after) == events[after:]
        results = [event for event in events if event["type"] == "utterance.result"]
        averages = [event for event in events if event["type"] == "average.updated"]
        last = events[-1]
        assert (last["type"], last["reason"]) == ("session.ended", "cut_off")
        assert last["utterances"] == session["utterances"] == len(results)
        assert last["average"]["emotions"] == averages[-1]["emotions"]

        for name in ("results.json", "results.jsonl", "results.csv", "results.vtt", "report.html"):
            answer = await client.http.get(f"/api/sessions/{id}/{name}")
            assert answer.status_code == 200
            assert results[0]["transcript"]["text"] in answer.text
        del results[0]["seq"]
        view = await client.json(f"/api/sessions/{id}/utterances/1")
        assert view == {"result": results[0], "inputs": None}
        picture = await client.http.get(f"/api/sessions/{id}/picture")
        assert picture.content == b"--frame\r\n"
        stopped = await client.http.post(f"/api/sessions/{id}/stop")
        assert stopped.json() == session
        paused = await client.error("POST", f"/api/sessions/{id}/pause", json={"paused": True})
        assert paused[:2] == (409, "not_pausable")

        assert (await client.http.delete(f"/api/sessions/{id}")).status_code == 204
        assert (await client.error("GET", f"/api/sessions/{id}"))[:2] == (404, "unknown_session")
        assert await client.json("/api/sessions") == {"sessions": []}
        assert all_that_is_kept(store) == b""
        until(lambda: id.encode() not in bytes_in(tmp_path))


async def test_what_is_said_and_shown_is_not_kept_unless_it_is_recorded(
    client: Client, talk: Talk
) -> None:
    id = (await client.upload(talk.path)).json()["id"]
    events = await client.events(id)
    assert (await client.json(f"/api/sessions/{id}"))["recorded"] is False
    results = [event for event in events if event["type"] == "utterance.result"]
    assert len(results) == 2
    paths = [f"/api/sessions/{id}/utterances/{result['utterance']}" for result in results]
    views = [await client.json(path) for path in paths]
    assert [bool(view["inputs"]) for view in views] == [False, True]
    told = await client.error("GET", f"{paths[0]}/sound.wav")
    assert told[:2] == (404, "not_recorded")
    assert "--record" in told[2]
    words = results[0]["transcript"]["text"].encode()
    kept = all_that_is_kept(client.hub.settings.store)
    assert words in kept
    for sign in (b"JFIF", b"/9j/", b"RIFF", b"waveform"):
        assert sign not in kept
    assert words not in bytes_in(client.hub.settings.store.parent), "it is sealed"


async def test_recorded_media_is_found_again_until_it_is_deleted(
    talk: Talk, tmp_path: Path
) -> None:
    store = tmp_path / "s.sqlite"
    settings = ServerSettings(store=store, record=True, limits=FEW)
    async with serving(settings) as client:
        id = (await client.upload(talk.path)).json()["id"]
        results = [e for e in await client.events(id) if e["type"] == "utterance.result"]
        paths = [f"/api/sessions/{id}/utterances/{result['utterance']}" for result in results]
        seen = [await client.json(path) for path in paths]
        assert len(seen) > 1

    async with serving(settings, no_models) as client:
        assert (await client.json(f"/api/sessions/{id}"))["recorded"] is True
        assert [await client.json(path) for path in paths] == seen
        for result, view, path in zip(results, seen, paths, strict=True):
            assert len(view["inputs"]["faces"]) == len(result["faces"]) > 0
            answer = await client.http.get(f"{path}/sound.wav")
            assert answer.headers["content-type"] == "audio/wav"
            with wave.open(io.BytesIO(answer.content)) as sound:
                assert (sound.getframerate(), sound.getnchannels()) == (16_000, 1)
                seconds = sound.getnframes() / 16_000
                assert seconds == pytest.approx(result["end"] - result["start"], abs=1e-3)
                assert len(set(sound.readframes(sound.getnframes()))) > 50
        unknown = await client.error("GET", "/api/sessions/x/utterances/1/sound.wav")
        assert unknown[:2] == (404, "unknown_session")
        unknown = await client.error("GET", f"/api/sessions/{id}/utterances/0/sound.wav")
        assert unknown[:2] == (422, "invalid_request")
        words = results[0]["transcript"]["text"].encode()
        for sign in (b"RIFF", b"waveform", words):
            assert sign in all_that_is_kept(store)
            assert sign not in bytes_in(tmp_path), "it is sealed"
        assert (await client.http.delete(f"/api/sessions/{id}")).status_code == 204
        assert all_that_is_kept(store) == b""
        until(lambda: id.encode() not in bytes_in(tmp_path))


async def test_sessions_are_listed_a_page_at_a_time(client: Client, talk: Talk) -> None:
    ids = []
    for _ in range(3):
        ids.append((await client.upload(talk.path)).json()["id"])
        await client.events(ids[-1])

    async def listed(query: str) -> list[str]:
        found = await client.json(f"/api/sessions{query}")
        return [session["id"] for session in found["sessions"]]

    assert (await listed(""))[:3] == ids[::-1]
    assert await listed("?limit=2") == [ids[2], ids[1]]
    assert await listed(f"?limit=1&before={ids[1]}") == [ids[0]]
    for query, code in (("limit=0", "invalid_request"), ("before=x", "unknown_session")):
        assert (await client.error("GET", f"/api/sessions?{query}"))[1] == code


async def test_a_store_that_cannot_be_used_is_known_before_the_server_listens(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s.sqlite"
    path.write_text("dear diary")
    with pytest.raises(UsageError, match="cannot be kept in"):
        create_app(ServerSettings(store=path), LocalAnalyzer.load)
    path.unlink()
    store = SessionStore(path)
    with pytest.raises(UsageError, match="in use by another server"):
        create_app(ServerSettings(store=path), LocalAnalyzer.load)
    store.close()
