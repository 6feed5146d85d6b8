"""The log of real sessions: one line an event, and nothing of what was said or seen in it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import networks
import pytest
import talks
from web_client import serving

from models.errors import UsageError
from realtime.analyzers.local import LocalAnalyzer
from realtime.events import (
    SourceWarning,
    TranscriptPartial,
    UtteranceFailed,
    UtteranceResult,
)
from realtime.session import LiveSession
from realtime.sources import open_source
from web.observability import logs
from web.settings import ServerSettings


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root, own = [*logging.root.handlers], [*logs.logger.handlers]
    level, propagate = logs.logger.level, logs.logger.propagate
    yield
    for handler in {*logging.root.handlers, *logs.logger.handlers} - {*root, *own}:
        handler.close()
    logging.root.handlers[:], logs.logger.handlers[:] = root, own
    logs.logger.setLevel(level)
    logs.logger.propagate = propagate


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def strings(value: Any) -> Iterator[str]:
    """All text in a JSON value but the names of its fields."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings(part)


@pytest.mark.slow
async def test_no_word_no_face_no_score_and_no_name_is_logged(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    logs.configure(path)
    clip = talks.film(tmp_path / "AdaLovelace.mp4", talks.SENTENCES[:3]).path
    analyzer = networks.load()
    try:
        session = LiveSession(await open_source(str(clip), "fast"), analyzer)
        events = [event async for event in session.events()]
    finally:
        analyzer.close()
    logs.log_server("server.started")
    for event in events:
        logs.log_event("upload", event)

    written = lines(path)
    assert written[0]["event"] == "server.started"
    told = written[1:]
    assert {line["session"] for line in told} == {session.id}
    assert {line["kind"] for line in told} == {"upload"}
    assert [line["event"] for line in told][:: len(told) - 1] == [
        "session.started",
        "session.ended",
    ]

    results = [event for event in events if isinstance(event, UtteranceResult)]
    ended = [line for line in told if line["event"] == "utterance.result"]
    assert len(ended) == len(results) >= 3
    assert [line["latency"] for line in ended] == [r.latency.model_dump() for r in results]

    assert "Ada" not in path.read_text()
    said = {word.text for result in results for word in result.transcript.words}
    said |= {
        word
        for event in events
        if isinstance(event, TranscriptPartial)
        for word in event.text.split()
    }
    assert len(said) > 5
    texts = [text for text in strings(told) if text != session.id]  # of hexadecimal digits: "a"
    logged = {word for text in texts for word in re.findall(r"[a-z']+", text.lower())}
    assert not said & logged
    # Of a result nothing is there but when it was, why it ended and how long the answer took.
    allowed = {"at", "level", "logger", "event", "kind", "session", "time", "utterance"}
    assert ended[0].keys() <= allowed | {"start", "end", "reason", "modalities", "latency"}
    assert all(line.keys().isdisjoint({"emotions", "faces", "transcript", "text"}) for line in told)


def test_what_fails_is_logged_by_its_place_not_by_its_message(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    logs.configure(path)
    warning = SourceWarning(session="s", time=1, code="camera.lost", message="Ada's camera")
    failure = UtteranceFailed(
        session="s", time=2, utterance=1, start=0, end=1, stage="stt", message="Ada said"
    )
    logs.log_event("call", warning)
    logs.log_event("call", failure)
    logs.log_event("call", TranscriptPartial(session="s", time=3, utterance=1, text="Ada"))
    assert [(line["event"], line.get("code"), line.get("stage")) for line in lines(path)] == [
        ("warning", "camera.lost", None),
        ("utterance.failed", None, "stt"),
    ]
    assert "Ada" not in path.read_text()


def test_other_warnings_become_lines_too(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    logs.configure(path)
    try:
        try:
            raise KeyError("two\nlines")
        except KeyError as error:
            raise ValueError("Ada.mp4 cannot be read") from error
    except ValueError:
        logging.getLogger("somewhere").exception("it broke")
    logging.getLogger("somewhere").info("of no interest")
    (line,) = lines(path)
    assert (line["level"], line["logger"], line["event"]) == ("error", "somewhere", "it broke")
    here = rf"{re.escape(__name__)}:\d+ test_other_warnings_become_lines_too"
    assert re.fullmatch(rf"ValueError at {here}\nKeyError at {here}", line["exception"])


async def test_of_a_message_nothing_is_logged_that_may_name_somebody(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    logs.configure(path)
    somewhere = logging.getLogger("somewhere")
    somewhere.warning("%s took %d of %.1f s: %r", "Ada.mp4", 3, 4.5, Path("/home/ada"))
    somewhere.warning("100 % of it")
    somewhere.warning("%(who)s left", {"who": "Ada"})
    somewhere.error(OSError("Ada's disk"), extra={"told": {"stage": "stt"}})
    asyncio.get_running_loop().call_exception_handler(
        {"message": "a task broke off", "task": "Ada's", "exception": ValueError("Ada said")}
    )
    assert [line["event"] for line in lines(path)] == [
        "… took 3 of 4.5 s: '…'",
        "100 % of it",
        "%(who)s left",
        "OSError",
        "a task broke off",
    ]
    assert "ada" not in path.read_text().lower()


async def test_nothing_that_people_send_or_choose_stands_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of files and of people, paths, tokens, right ones and wrong ones: all are Ada's."""
    path = tmp_path / "log.jsonl"
    logs.configure(path)

    def load() -> LocalAnalyzer:
        raise ValueError("/home/ada/weights are damaged")

    settings = ServerSettings(token="ada-lovelace-ada", store=tmp_path / "ada.sqlite")
    async with serving(settings, load) as client:
        right = {"Authorization": f"Bearer {settings.token}"}
        client.http.headers.update(right)
        (tmp_path / "ada.wav").write_bytes(b"RIFFada")
        assert (await client.upload(tmp_path / "ada.wav")).status_code in (400, 503)
        for method, asked in (
            ("GET", "/ada?token=ada"),
            ("POST", "/whip?name=ada"),
            ("GET", "/calls/ada?token=ada"),
            ("DELETE", "/api/sessions/ada"),
        ):
            assert (await client.http.request(method, asked)).status_code >= 400
        wrong = {"Authorization": "Bearer ada"}
        assert (await client.http.get("/api/calls", headers=wrong)).status_code == 401
        async with client.connect("/api/ingest", right) as socket:
            await socket.send('{"type": "start", "name": "ada"}')
            assert "models_failed" in str(await socket.recv())
        with monkeypatch.context() as broken:
            broken.setattr(client.hub, "settings", "ada")
            assert (await client.http.get("/api/server?name=ada")).status_code == 500
    assert {line["event"] for line in lines(path)} >= {
        "the models cannot be loaded",
        "Exception in ASGI application",
    }
    assert "ada" not in path.read_text().lower()


def test_a_path_leaves_the_terminal_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.basicConfig(force=True, level=logging.WARNING)  # as run_live.py does
    logs.configure(tmp_path / "log.jsonl")
    logs.log_event("call", SourceWarning(session="s", time=1, code="overload", message=""))
    assert capsys.readouterr() == ("", "")
    assert len(lines(tmp_path / "log.jsonl")) == 1


def test_a_dash_is_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Path("-"))
    logs.log_server("server.stopped")
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["event"] == "server.stopped"


def test_a_path_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written") as told:
        logs.configure(tmp_path / "nowhere" / "log.jsonl")
    assert "\n" not in str(told.value)
