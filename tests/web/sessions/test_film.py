"""The film of a session over HTTP: of real sessions, also of one that was cut off by a kill."""

from __future__ import annotations

import asyncio
import errno
import io
import os
from pathlib import Path
from typing import Any

import av
import httpx
import pytest
from checkout import bytes_in
from starting import doomed_server
from storing import until
from talks import Talk
from web_client import SOON_S, Client, serving

from models.errors import UsageError
from realtime.analyzers.local import LocalAnalyzer
from realtime.storage.films import Films
from realtime.storage.sealed import SealedFile
from web.settings import ServerSettings

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]


def no_models() -> LocalAnalyzer:
    raise UsageError("a film can be watched without models")


async def film_of(client: Client, id: str) -> bytes:
    answer = await client.http.get(f"/api/sessions/{id}/film")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "video/mp4"
    assert int(answer.headers["content-length"]) == len(answer.content)
    return answer.content


def length(film: bytes) -> dict[str, float]:
    """How long the sound and the pictures are, in seconds."""
    with av.open(io.BytesIO(film)) as container:
        return {
            stream.type: max(float(p.pts * p.time_base) for p in container.demux(stream) if p.size)
            for stream in container.streams
            if container.seek(0) is None
        }


async def test_a_recorded_session_has_a_film_until_it_is_deleted(
    talk: Talk, sentence: Talk, tmp_path: Path
) -> None:
    settings = ServerSettings(store=tmp_path / "s.sqlite", record=True)
    async with serving(settings) as client:
        ids = []
        for each in (talk, sentence):
            begun = (await client.upload(each.path)).json()
            ids.append(begun["id"])
            if begun["state"] != "ended":
                assert begun["film"] is False
                early = await client.error("GET", f"/api/sessions/{ids[-1]}/film")
                assert early[:2] == (404, "no_film")
            events = await client.events(ids[-1])
            assert [event for event in events if event["type"] == "warning"] == []
            assert (await client.json(f"/api/sessions/{ids[-1]}"))["film"] is True
        films = [await film_of(client, id) for id in ids]

    assert length(films[0]) == pytest.approx(
        {"video": talk.duration, "audio": talk.duration}, abs=0.3
    )
    assert length(films[1]) == pytest.approx({"audio": sentence.duration}, abs=0.3)
    for sign in (b"ftyp", b"moov"):
        assert sign in films[0]
        assert sign not in bytes_in(tmp_path), "it is sealed"

    async with serving(settings, no_models) as client:
        listed = (await client.json("/api/sessions"))["sessions"]
        assert [session["film"] for session in listed] == [True, True]
        assert [await film_of(client, id) for id in ids] == films
        assert (await client.http.delete(f"/api/sessions/{ids[0]}")).status_code == 204
        gone = await client.error("GET", f"/api/sessions/{ids[0]}/film")
        assert gone[:2] == (404, "unknown_session")
        until(lambda: len([*(tmp_path / "s.sqlite.films").iterdir()]) == 1)
        assert await film_of(client, ids[1]) == films[1]


async def test_without_record_there_is_no_film(sentence: Talk, tmp_path: Path) -> None:
    async with serving(ServerSettings(store=tmp_path / "s.sqlite")) as client:
        id = (await client.upload(sentence.path)).json()["id"]
        await client.events(id)
        assert (await client.json(f"/api/sessions/{id}"))["film"] is False
        status, code, message = await client.error("GET", f"/api/sessions/{id}/film")
        assert (status, code) == (404, "no_film")
        assert "--record" in message
    assert not (tmp_path / "s.sqlite.films").exists()


async def test_a_player_asks_for_parts_of_a_film(sentence: Talk, tmp_path: Path) -> None:
    async with serving(ServerSettings(store=tmp_path / "s.sqlite", record=True)) as client:
        id = (await client.upload(sentence.path)).json()["id"]
        await client.events(id)
        film = await film_of(client, id)
        size = len(film)

        async def part(wanted: str) -> tuple[int, bytes, str | None]:
            answer = await client.http.get(f"/api/sessions/{id}/film", headers={"Range": wanted})
            return answer.status_code, answer.content, answer.headers.get("content-range")

        for wanted, first, stop in (
            ("bytes=0-", 0, size),
            ("bytes=0-0", 0, 1),
            ("bytes=7-99", 7, 100),
            ("bytes=100-", 100, size),
            (f"bytes={size - 1}-{size + 5}", size - 1, size),
            ("bytes=-10", size - 10, size),
            (f"bytes=-{size + 1}", 0, size),
        ):
            told = f"bytes {first}-{stop - 1}/{size}"
            assert await part(wanted) == (206, film[first:stop], told), wanted
        for wanted in (f"bytes={size}-", "bytes=-0", f"bytes={10**17}-"):
            status, _, told_size = await part(wanted)
            assert (status, told_size) == (416, f"bytes */{size}"), wanted
        for wanted in ("bytes=9-3", "bytes=-", "bytes=0-1,5-6", "lines=1-2", "bytes=x-", ""):
            assert await part(wanted) == (200, film, None), wanted


async def test_a_disk_that_is_full_ends_the_film_and_nothing_else(
    talk: Talk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Films.create

    def full(self: Films, id: str) -> SealedFile:
        file = create(self, id)

        def write(data: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        file.write = write  # type: ignore[method-assign]
        return file

    monkeypatch.setattr(Films, "create", full)
    async with serving(ServerSettings(store=tmp_path / "s.sqlite", record=True)) as client:
        id = (await client.upload(talk.path, pace="live")).json()["id"]
        events = await client.events(id)
        (warning,) = (event for event in events if event["type"] == "warning")
        assert warning["code"] == "film.failed"
        assert warning["message"] == "the film of this session ends here: the disk is full"
        assert events[-1]["type"] == "session.ended"
        assert events[-1]["reason"] == "end"
        assert events[-1]["utterances"] == len(talk.sentences)
        assert (await client.json(f"/api/sessions/{id}"))["film"] is False


async def test_what_a_killed_server_had_seen_can_be_watched(
    long_talk: Talk, tmp_path: Path
) -> None:
    store = tmp_path / "s.sqlite"
    session: dict[str, Any] = {"time": 0.0}
    with doomed_server("--store", store, "--record", "--max-sessions", "4") as address:
        async with httpx.AsyncClient(base_url=address, timeout=SOON_S) as http:
            with long_talk.path.open("rb") as clip:
                begun = await http.post(
                    "/api/sessions", files={"video": clip}, data={"pace": "live"}
                )
            id = begun.json()["id"]
            while session["time"] < 6:
                await asyncio.sleep(0.2)
                session = (await http.get(f"/api/sessions/{id}")).json()

    async with serving(ServerSettings(store=store), no_models) as client:
        session_now = await client.json(f"/api/sessions/{id}")
        assert (session_now["reason"], session_now["film"]) == ("cut_off", True)
        seen = length(await film_of(client, id))
        assert seen == pytest.approx({"video": 4.5, "audio": 4.5}, abs=2.5)
