"""The log of real sessions: one line an event, and nothing of what was said or seen in it."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clips import beginning_of

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
async def test_no_word_no_face_no_score_and_no_name_is_logged(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    logs.configure(path)
    clip = beginning_of(shared / "media/talker_grid_120s.mp4", 12, tmp_path / "AdaLovelace.mp4")
    analyzer = LocalAnalyzer.load()
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
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("somewhere").exception("it broke")
    logging.getLogger("somewhere").info("of no interest")
    (line,) = lines(path)
    assert (line["level"], line["logger"], line["event"]) == ("error", "somewhere", "it broke")
    assert line["exception"].endswith("ValueError: two\nlines")


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
