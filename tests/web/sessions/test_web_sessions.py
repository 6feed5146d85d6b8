"""Sessions over a real server: uploads, sources, events, and what goes wrong with them."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import signal
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import pytest_asyncio
from recordings import film, write
from talks import Talk
from web_client import SOON_S, Client, rest_of, serving

from models.errors import UsageError
from realtime.analyzers.local import LocalAnalyzer
from realtime.events import event_schema
from web.sessions.uploads import PREFIX
from web.settings import Limits, ServerSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory, talk: Talk) -> AsyncIterator[Client]:
    """Of a server for all tests, whose uploads lie in a folder of their own."""
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path_factory.mktemp("uploads"))
    limits = Limits(max_upload_mb=5, max_sessions=3)
    settings = ServerSettings(limits=limits, allow_paths=(talk.path.parent,))
    async with serving(settings) as client:
        yield client
    assert uploads() == []
    tempfile.tempdir = before


def uploads() -> list[Path]:
    return [*Path(tempfile.gettempdir()).glob(f"{PREFIX}*")]


# --- uploads ---


@pytest.mark.slow
async def test_an_upload_is_analysed_and_followed_from_any_event_on(
    client: Client, talk: Talk
) -> None:
    answer = await client.upload(talk.path)
    session = answer.json()
    id = session["id"]
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/sessions/{id}"
    assert session["kind"] == "upload"
    assert session["name"] == session["source"] == "talk.mp4"
    assert session["duration"] == pytest.approx(talk.duration, abs=0.1)

    events = await client.events(id)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["type"] == "session.started"
    assert events[-1]["type"] == "session.ended"
    assert {event["session"] for event in events} == {id}
    assert "utterance.result" in {event["type"] for event in events}
    assert uploads() == []
    for after in (1, len(events) // 2, len(events) - 1, len(events), 10**6):
        assert await client.events(id, after) == events[after:]

    session = await client.json(f"/api/sessions/{id}")
    results = [event for event in events if event["type"] == "utterance.result"]
    assert session["state"] == "ended"
    assert session["utterances"] == len(results)
    assert session["last_seq"] == len(events)
    lines = (await client.http.get(f"/api/sessions/{id}/results.jsonl")).text.splitlines()
    assert [json.loads(line) for line in lines] == events
    assert session in (await client.json("/api/sessions"))["sessions"]


@pytest.mark.slow
async def test_an_utterance_is_shown_with_what_the_model_was_given(
    client: Client, talk: Talk
) -> None:
    id = (await client.upload(talk.path)).json()["id"]
    events = await client.events(id)
    result = next(event for event in events if event["type"] == "utterance.result")
    del result["seq"]
    view = await client.json(f"/api/sessions/{id}/utterances/{result['utterance']}")
    inputs = view["inputs"]
    assert view["result"] == result
    assert len(inputs["faces"]) == len(result["faces"]) == 5
    assert [face["time"] for face in inputs["faces"]] == [face["time"] for face in result["faces"]]
    head, _, data = inputs["faces"][0]["image"].partition(",")
    assert head == "data:image/jpeg;base64"
    assert PIL.Image.open(io.BytesIO(base64.b64decode(data))).size == (160, 160)
    assert len(inputs["waveform"]) == 240
    assert all(-1 <= low <= high <= 1 for low, high in inputs["waveform"])
    assert inputs["duration"] == pytest.approx(result["end"] - result["start"])
    assert inputs["frame"] == [*talk.size]
    assert await client.error("GET", f"/api/sessions/{id}/utterances/99") == (
        404,
        "unknown_utterance",
        f"session {id} has no result 99 (yet)",
    )


async def test_an_utterance_is_taken_for_rest_and_what_follows_is_told_without_it(
    client: Client, long_talk: Talk
) -> None:
    source = str(long_talk.path)
    begun = await client.http.post("/api/sessions", json={"source": source, "pace": "live"})
    id = begun.json()["id"]
    assert await client.error("POST", f"/api/sessions/{id}/rest") in (
        (409, "not_running", "the session is not running"),
        (409, "no_utterance", "no utterance has been analysed: speak first, calmly"),
    )
    results: list[Any] = []
    async with client.connect(f"/api/sessions/{id}/events") as feed:
        while len(results) < 2:
            event = json.loads(await feed.recv())
            if event["type"] == "utterance.result":
                results.append(event)
                await client.http.post(f"/api/sessions/{id}/rest")
    assert results[0]["adjusted"] is None
    assert results[1]["adjusted"]["resting"] == 1
    assert results[1]["adjusted"]["emotions"].keys() == results[1]["emotions"].keys()
    await client.http.post(f"/api/sessions/{id}/stop")
    await client.events(id)
    assert (await client.error("POST", f"/api/sessions/{id}/rest"))[:2] == (409, "not_running")


@pytest.mark.slow
async def test_odd_clips_come_to_their_end(
    client: Client, nobody: Path, crowd: Path, upright_talk: Talk
) -> None:
    for clip in (nobody, crowd, upright_talk.path):
        id = (await client.upload(clip)).json()["id"]
        last = (await client.events(id))[-1]
        assert last["type"] == "session.ended"
        assert last["reason"] == "end"
        assert uploads() == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("no_audio_track.mp4", None, "has no sound"),
        ("notes.mp4", b"these are no moving pictures" * 99, "is not a sound or video file"),
        ("empty.mp4", b"", "is empty"),
    ],
)
async def test_what_is_no_recording_of_a_speaker_is_refused(
    client: Client, tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    if content is None:
        content = write(tmp_path / name, frames=film(1)).read_bytes()
    status, code, message = await client.error(
        "POST", "/api/sessions", files={"video": (name, content)}
    )
    assert (status, code) == (400, "unreadable_source")
    assert message.startswith(f"{name} {said}")
    assert "\n" not in message
    assert uploads() == []


async def test_uploads_have_a_limit_whether_or_not_they_tell_their_size(client: Client) -> None:
    big = b"0" * 5_000_001
    told = await client.error("POST", "/api/sessions", files={"video": ("big.mp4", big)})
    assert told[:2] == (413, "too_big")

    async def pieces() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="video"; filename="big.mp4"\r\n\r\n'
        for start in range(0, len(big), 65536):
            yield big[start : start + 65536]

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    told = await client.error("POST", "/api/sessions", content=pieces(), headers=kind)
    assert told[:2] == (413, "too_big")
    assert "5 MB" in told[2]
    assert uploads() == []


def part(disposition: str, content: bytes) -> bytes:
    return f"--x\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content


@pytest.mark.parametrize(
    ("body", "boundary"),
    [
        (part("name=video; filename=a", b"abc"), "x"),
        (part("name=pace", b"fast\r\n--x--\r\n"), "x"),
        (part("name=pace", b"a" * 9999), "x"),
        (b"what is this", "x"),
        (b"", ""),
    ],
    ids=["cut off", "without a file", "long field", "no form", "no boundary"],
)
async def test_forms_that_are_not_whole_are_refused(
    client: Client, body: bytes, boundary: str
) -> None:
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    told = await client.error("POST", "/api/sessions", content=body, headers=kind)
    assert told[:2] == (400, "bad_form")
    assert uploads() == []


async def test_the_name_of_an_upload_leads_nowhere_else(client: Client, talk: Talk) -> None:
    clip = talk.path.read_bytes()
    files = {"video": ("../../etc/<b>talk:1</b>.mp4", clip)}
    session = (await client.http.post("/api/sessions", files=files)).json()
    assert session["name"] == "b_.mp4"
    await client.http.delete(f"/api/sessions/{session['id']}")
    assert uploads() == []


LONG = "日本語の長い名前" * 30


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (f"{LONG}.mp4", f"{LONG[:45]}.mp4"),
        (f"{LONG}.{LONG}", f"{LONG[:40]}.{LONG[:6]}"),
        ("\U0001f3ac" * 100, "\U0001f3ac" * 35),
        ("e\u0301" * 100 + ".mkv", "e\u0301" * 45 + "e.mkv"),
        ("a" * 300 + ".webm", "a" * 135 + ".webm"),
        ("[bold].mp4", "[bold].mp4"),
        ("two\nlines.mp4", "two%0Alines.mp4"),  # as browsers and httpx write a line break
    ],
)
async def test_long_names_are_shortened_by_bytes(
    client: Client, talk: Talk, sent: str, kept: str
) -> None:
    clip = talk.path.read_bytes()
    answer = await client.http.post("/api/sessions", files={"video": (sent, clip)})
    assert answer.status_code == 201, answer.text
    session = answer.json()
    assert session["name"] == session["source"] == kept
    assert len(kept.encode()) <= 140
    await client.http.delete(f"/api/sessions/{session['id']}")
    assert uploads() == []


async def test_what_keeps_an_upload_from_the_disk_is_told_as_it_is(
    client: Client, talk: Talk
) -> None:
    resource = pytest.importorskip("resource")
    clip = talk.path.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))  # bytes of any file
    try:
        told = await client.error("POST", "/api/sessions", files={"video": ("a.mp4", clip)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert told[:2] == (500, "not_kept")
    assert told[2].startswith("the recording cannot be kept (File too large): ")
    assert uploads() == []


# --- sources of the server ---


async def test_a_source_at_live_pace_shows_its_picture_until_it_is_stopped(
    client: Client, long_talk: Talk
) -> None:
    body = {"source": str(long_talk.path), "pace": "live"}
    answer = await client.http.post("/api/sessions", json=body)
    assert answer.status_code == 201
    id = answer.json()["id"]
    pictures = b""
    async with client.http.stream("GET", f"/api/sessions/{id}/picture") as stream:
        kind = stream.headers["content-type"]
        async for piece in stream.aiter_bytes():
            pictures += piece
            if pictures.count(b"--frame") == 4:
                break
    assert kind == "multipart/x-mixed-replace; boundary=frame"
    parts = pictures.split(b"--frame\r\n")[1:4]
    shown = [np.asarray(PIL.Image.open(io.BytesIO(p.partition(b"\r\n\r\n")[2]))) for p in parts]
    assert {image.shape for image in shown} == {(288, 384, 3)}
    assert not np.array_equal(shown[0], shown[1])

    assert await client.error("POST", f"/api/sessions/{id}/pause", json={"paused": True}) == (
        409,
        "not_pausable",
        "only a running session of a browser's camera can be paused",
    )
    stopped = await client.http.post(f"/api/sessions/{id}/stop")
    assert stopped.json()["id"] == id
    last = (await client.events(id))[-1]
    assert (last["type"], last["reason"]) == ("session.ended", "stopped")
    async with client.http.stream("GET", f"/api/sessions/{id}/picture") as stream:
        assert [piece async for piece in stream.aiter_bytes()] == [b"--frame\r\n"]

    assert (await client.http.delete(f"/api/sessions/{id}")).status_code == 204
    assert (await client.error("GET", f"/api/sessions/{id}"))[:2] == (404, "unknown_session")
    async with client.connect(f"/api/sessions/{id}/events") as feed:
        assert json.loads(await feed.recv())["error"]["code"] == "unknown_session"
        await feed.wait_closed()
        assert feed.close_code == 1008


async def test_a_session_that_runs_can_be_forgotten_while_it_is_followed(
    client: Client, long_talk: Talk
) -> None:
    body = {"source": str(long_talk.path), "pace": "live"}
    id = (await client.http.post("/api/sessions", json=body)).json()["id"]
    async with client.connect(f"/api/sessions/{id}/events") as feed:
        assert json.loads(await feed.recv())["type"] == "session.started"
        assert (await client.http.delete(f"/api/sessions/{id}")).status_code == 204
        assert (await rest_of(feed))[-1]["type"] == "session.ended"


@pytest.mark.slow
async def test_no_more_sessions_run_than_may(client: Client, long_talk: Talk) -> None:
    body = {"source": str(long_talk.path), "pace": "live"}
    begun = [(await client.http.post("/api/sessions", json=body)).json()["id"] for _ in range(3)]
    told = await client.error("POST", "/api/sessions", json=body)
    assert told[:2] == (503, "full")
    for id in begun:
        assert (await client.http.delete(f"/api/sessions/{id}")).status_code == 204
    assert not client.hub._tasks


@pytest.mark.slow
async def test_what_a_session_held_is_released_with_its_end(client: Client, talk: Talk) -> None:
    await asyncio.sleep(0.1)
    tasks, threads = len(asyncio.all_tasks()), threading.active_count()
    for _ in range(3):
        id = (await client.upload(talk.path)).json()["id"]
        async with client.connect(f"/api/sessions/{id}/events") as feed:
            await feed.recv()  # and goes
        await client.events(id)
    for _ in range(100):
        if len(asyncio.all_tasks()) <= tasks:
            break
        await asyncio.sleep(0.1)
    assert len(asyncio.all_tasks()) <= tasks
    assert threading.active_count() <= threads + 4  # the pool for short blocking work may grow
    assert not [t for t in threading.enumerate() if t.name.startswith("source")]


# --- errors ---


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("GET", "/api/nothing", {}, 404, "not_found"),
        ("PUT", "/api/sessions", {}, 405, "method_not_allowed"),
        ("GET", "/api/sessions/0123456789ab", {}, 404, "unknown_session"),
        ("POST", "/api/sessions/0123456789ab/stop", {}, 404, "unknown_session"),
        ("DELETE", "/api/sessions/0123456789ab", {}, 404, "unknown_session"),
        ("POST", "/api/sessions", {"json": {"source": ""}}, 422, "invalid_request"),
        (
            "POST",
            "/api/sessions",
            {"json": {"source": "a", "pace": "slow"}},
            422,
            "invalid_request",
        ),
        ("POST", "/api/sessions", {"content": b"a"}, 415, "unsupported_media_type"),
        ("POST", "/api/sessions", {"json": {"source": "nowhere.mp4"}}, 403, "paths_not_allowed"),
        ("POST", "/api/sessions", {"json": {"source": "ftp://a/b"}}, 400, "unreadable_source"),
        ("GET", "/api/sessions/x/utterances/one", {}, 422, "invalid_request"),
    ],
)
async def test_every_error_has_one_form(
    client: Client, method: str, path: str, options: dict[str, Any], status: int, code: str
) -> None:
    told = await client.error(method, path, **options)
    assert told[:2] == (status, code)
    assert "\n" not in told[2]


async def test_pages_schema_and_description_are_served(client: Client) -> None:
    for path, kind in (
        ("/", "text/html"),
        ("/api/docs", "text/html"),
        ("/static/dashboard/app.js", "text/javascript"),
        ("/static/common/style.css", "text/css"),
    ):
        answer = await client.http.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["cache-control"] == "no-cache"
    gone = await client.http.get("/calls/nowhere")
    assert gone.status_code == 404
    assert "There is no such call" in gone.text
    assert await client.json("/api/schema") == event_schema()
    described = await client.json("/openapi.json")
    assert {"/api/sessions", "/api/sessions/{id}/results.csv"} <= described["paths"].keys()
    assert "http" not in (await client.http.get("/")).text.replace("http-equiv", "")


# --- models that load, or do not ---


@pytest.mark.slow
async def test_the_page_answers_and_sessions_wait_while_the_models_load(talk: Talk) -> None:
    go_on = threading.Event()

    def load() -> LocalAnalyzer:
        go_on.wait(SOON_S)
        raise UsageError("the weights are not here: download them")

    clip = str(talk.path)
    async with serving(ServerSettings(allow_paths=(talk.path.parent,)), load) as client:
        try:
            assert (await client.http.get("/")).status_code == 200
            assert (await client.json("/api/server"))["state"] == "loading"
            ids = []
            for _ in range(2):
                begun = (await client.http.post("/api/sessions", json={"source": clip})).json()
                assert begun["state"] == "waiting"
                ids.append(begun["id"])
            await client.http.post(f"/api/sessions/{ids[0]}/stop")
            (ended,) = await client.events(ids[0])
            assert (ended["type"], ended["reason"]) == ("session.ended", "stopped")
        finally:
            go_on.set()
        warning, ended = await client.events(ids[1])
        assert (warning["type"], warning["code"]) == ("warning", "models_failed")
        assert warning["message"] == "the weights are not here: download them"
        assert (ended["type"], ended["reason"]) == ("session.ended", "source_error")
        server = await client.json("/api/server")
        assert (server["state"], server["problem"]) == ("failed", warning["message"])
        told = await client.error("POST", "/api/sessions", json={"source": clip})
        assert told == (503, "models_failed", warning["message"])


async def test_the_server_ends_though_the_models_still_load() -> None:
    go_on = threading.Event()

    def load() -> LocalAnalyzer:
        go_on.wait(SOON_S)
        raise UsageError("too late")

    async with serving(load=load) as client:
        assert (await client.json("/api/server"))["state"] == "loading"
    assert not go_on.is_set()
    go_on.set()
