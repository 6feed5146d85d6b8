"""The session store: durable before it is told, readable after any kill, and truly emptied."""

from __future__ import annotations

import itertools
import json
import os
import queue
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from checkout import REPO, bytes_in
from earlier import SESSION, store_earlier
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import UsageError
from realtime import storage
from realtime.events import (
    AverageUpdated,
    Event,
    SessionEnded,
    SessionStarted,
    SourceWarning,
    TranscriptPartial,
    UtteranceResult,
    WireAverage,
)
from realtime.storage import SessionStore
from realtime.stored import NotStored, StoredSession, UtteranceInputs
from web.sessions.hosted import wire

SOON_S = 60  # generous: other work may keep the machine busy
KILLS = 200

NOBODY = WireAverage(utterances=0, emotions={}, thresholds={}, expressed=())
BEGAN = datetime(2026, 1, 5, 10, 12, 7, 123456, tzinfo=timezone.utc)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "sessions.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[SessionStore]:
    opened = SessionStore(path)
    yield opened
    opened.close()


def row(id: str, **changes: Any) -> StoredSession:
    values: dict[str, Any] = {
        "id": id,
        "kind": "upload",
        "name": f"name of {id}",
        "source": f"source of {id}",
        "room": None,
        "owner": None,
        "started": BEGAN,
        "duration": 8.0,
        "recorded": False,
    }
    return StoredSession(**{**values, **changes})


def partial(id: str, number: int, text: str = "set green") -> TranscriptPartial:
    return TranscriptPartial(session=id, time=float(number), utterance=1, text=text)


def ended(id: str, at: float = 9.0) -> SessionEnded:
    return SessionEnded(session=id, time=at, reason="end", utterances=3, average=NOBODY)


def written(future: Future[NotStored | None]) -> None:
    assert future.result(SOON_S) is None


# --- what is kept ---


def test_what_is_kept_is_found_again(path: Path) -> None:
    store = SessionStore(path)
    session = row("a", room="r", owner="guest", name="Ada \ud800", recorded=True)
    events = [
        SessionStarted(session="a", time=0, source="x", profile="embedded", stt="moonshine-tiny"),
        partial("a", 1, "grün “日本” \0"),
        ended("a"),
    ]
    store.begin(session)
    for seq, event in enumerate(events, 1):
        written(store.append("a", seq, event))
    for _ in range(2):
        (found,) = store.sessions(10)
        assert found == store.session("a") == store.in_room("r")[0]
        assert found == row(
            "a",
            room="r",
            owner="guest",
            name="Ada ?",
            recorded=True,
            time=9.0,
            utterances=3,
            last_seq=3,
            reason="end",
        )
        assert store.events("a") == [*enumerate(events, 1)]
        assert store.events("a", after=1, most=1) == [(2, events[1])]
        assert store.session("b") is None
        assert store.events("b") == []
        store.close()
        assert store.sessions(10) == []
        assert store.append("a", 4, ended("a")).result(0) is not None
        store = SessionStore(path)
    store.close()


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 40)), max_size=12))
def test_sessions_at_once_keep_their_own_order(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[str, int]]
) -> None:
    store = SessionStore(tmp_path_factory.mktemp("order") / "s.sqlite")
    told: list[tuple[str, int]] = []
    counts = {id: itertools.count(1) for id in "abc"}
    for id in "abc":
        store.begin(row(id))
    for id, many in pieces:
        for seq in itertools.islice(counts[id], many):
            stored = store.append(id, seq, partial(id, seq))
            stored.add_done_callback(lambda _, pair=(id, seq): told.append(pair))  # type: ignore[misc]
    store.close()  # writes what waits
    expected = [(id, seq) for id, seq in told]
    again = {id: itertools.count(1) for id in "abc"}
    assert expected == [(id, next(again[id])) for id, many in pieces for _ in range(many)]
    store = SessionStore(store.path)
    for id in "abc":
        seqs = [seq for seq, _ in store.events(id)]
        assert seqs[:-1] == [*range(1, next(again[id]))]  # and then the end, as it was cut off
    store.close()


def test_sessions_are_listed_newest_first_page_by_page(store: SessionStore) -> None:
    rows = [row(f"{n:03}", started=BEGAN + timedelta(microseconds=n // 3)) for n in range(50)]
    for each in random.Random(1).sample(rows, len(rows)):
        last = store.begin(each)
    written(last)
    newest = sorted(rows, key=lambda each: (each.started, each.id), reverse=True)
    pages: list[StoredSession] = []
    while page := store.sessions(7, (pages[-1].started, pages[-1].id) if pages else None):
        pages += page
    assert pages == newest


def test_faces_and_sound_are_kept_with_their_utterance(store: SessionStore) -> None:
    inputs = UtteranceInputs(
        faces=((0.5, b"\xff\xd8one"), (1.5, b"\xff\xd8two")),
        waveform=((-0.5, 0.5), (0.0, 0.25)),
        duration=2.0,
        frame=(640, 480),
    )
    store.begin(row("a", recorded=True))
    unseen = UtteranceInputs(faces=(), waveform=(), duration=2.0, frame=None)
    store.keep("a", 1, inputs, b"RIFF one")
    written(store.keep("a", 2, unseen, b""))
    assert (store.inputs("a", 1), store.sound("a", 1)) == (inputs, b"RIFF one")
    assert (store.inputs("a", 2), store.sound("a", 2)) == (unseen, b"")
    assert (store.inputs("a", 3), store.sound("a", 3)) == (None, b"")


# --- who may use the file ---


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights")
def test_nobody_else_may_read_the_file(store: SessionStore) -> None:
    written(store.begin(row("a")))
    for file in store.path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file


def test_two_servers_do_not_share_a_file(store: SessionStore) -> None:
    store.begin(row("a"))
    with pytest.raises(UsageError, match=r"in use by another server.*--store") as told:
        SessionStore(store.path)
    assert "\n" not in str(told.value)
    written(store.append("a", 1, partial("a", 1)))
    store.close()
    SessionStore(store.path).close()


def of_another_program(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE recipes (name TEXT)")
    db.commit()
    db.close()


def of_the_future(path: Path) -> None:
    SessionStore(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 999")
    db.commit()
    db.close()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_bytes(b"dear diary" * 999), "not a database"),
        (lambda path: path.mkdir(), "cannot be kept in"),
        (of_another_program, "of another program"),
        (of_the_future, "newer version"),
    ],
    ids=["text", "folder", "recipes", "future"],
)
def test_a_file_that_cannot_be_used_is_left_as_it_is(path: Path, make: Any, said: str) -> None:
    path.parent.mkdir()
    make(path)
    before = path.read_bytes() if path.is_file() else None
    for _ in range(2):  # the first refusal lets go of the file
        with pytest.raises(UsageError, match=f"{said}.*--store") as told:
            SessionStore(path)
        assert "\n" not in str(told.value)
        assert str(path) in str(told.value)
    assert before == (path.read_bytes() if path.is_file() else None)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be kept in"):
        SessionStore(tmp_path / "file" / "sessions.sqlite")


# --- deleting ---


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 10**6))
def test_of_a_deleted_session_no_word_is_left(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """Whatever lies around it, and in whatever order sessions come and go."""
    chance = random.Random(seed)
    store = SessionStore(tmp_path_factory.mktemp("deleted") / "s.sqlite")
    there: dict[str, int] = {}
    for step in range(30):
        if there and chance.random() < 0.3:
            id = chance.choice([*there])
            del there[id]
            written(store.delete(id))
            left = bytes_in(store.path.parent)
            assert f"word-{id}-".encode() not in left
            assert f"name of {id}".encode() not in left
            assert store.session(id) is None
        else:
            id = f"{step:03}"
            there[id] = 0
            store.begin(row(id, source=f"word-{id}-source", recorded=True))
        for _ in range(chance.randint(0, 60) if there else 0):
            id = chance.choice([*there])
            there[id] += 1
            text = f"word-{id}-" * chance.choice((1, 1, 1, 9, 99, 999))
            store.append(id, there[id], partial(id, there[id], text))
            if chance.random() < 0.1:
                face = (0.0, f"word-{id}-face".encode() * 99)
                inputs = UtteranceInputs((face,), (), 1.0, None)
                store.keep(id, there[id], inputs, f"word-{id}-sound".encode() * 999)
            if chance.random() < 0.02:
                store.append(id, there[id] + 1, ended(id))
                there[id] += 1
    written(store.begin(row("last")))
    for id, last_seq in there.items():
        assert [seq for seq, _ in store.events(id)] == [*range(1, last_seq + 1)]
    store.close()


def test_what_somebody_else_reads_is_deleted_when_he_is_done(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "RETRY_S", 0.05)
    store.begin(row("a"))
    written(store.append("a", 1, partial("a", 1, "a secret")))
    reader = sqlite3.connect(store.path)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM sessions").fetchall()
    written(store.delete("a"))
    assert b"a secret" in bytes_in(store.path.parent)
    reader.close()
    until(lambda: b"a secret" not in bytes_in(store.path.parent))


def until(condition: Any) -> None:
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- a disk that is full, or fails ---


def test_what_a_full_disk_did_not_take_is_stored_when_it_does(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "RETRY_S", 0.05)
    store = SessionStore(path)
    written(store.begin(row("a")))
    (pages,) = store._writer.execute("PRAGMA page_count").fetchone()
    store._writer.execute(f"PRAGMA max_page_count = {pages}")
    inputs = UtteranceInputs((), ((0.0, 1.0),), 1.0, None)
    events: list[Event] = [partial("a", n, "a word " * 99) for n in range(1, 200)]
    waiting = [store.append("a", seq, event) for seq, event in enumerate(events, 1)]
    problems = [future.result(SOON_S) for future in waiting]
    assert {problem.code for problem in problems if problem} == {"store.full"}
    assert problems[-1] is not None
    refused = store.keep("a", 1, inputs, b"RIFF")
    assert refused.result(SOON_S) is not None
    time.sleep(0.2)  # it tries again, in vain
    assert len(store.events("a")) < len(events)

    store._writer.execute("PRAGMA max_page_count = 1000000")
    until(lambda: len(store.events("a")) == len(events))
    assert store.events("a") == [*enumerate(events, 1)]
    written(store.append("a", len(events) + 1, ended("a")))
    assert store.inputs("a", 1) is None, "sound and faces are not put off"
    store.close()


def test_a_full_disk_takes_no_more_memory_than_may_be(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "MAX_BEHIND", 50)
    written(store.begin(row("a")))
    store._writer.execute("PRAGMA query_only = ON")  # any other failure than a full disk
    waiting = [store.append("a", n, partial("a", n)) for n in range(1, 100)]
    assert {problem.code for f in waiting if (problem := f.result(SOON_S))} == {"store.failed"}
    assert len(store._behind) == 50
    deleting = store.delete("b")
    assert deleting.result(SOON_S) is not None
    store._writer.execute("PRAGMA query_only = OFF")
    until(lambda: [seq for seq, _ in store.events("a")] == [*range(1, 51)])


def test_one_thing_that_can_never_be_written_keeps_nothing_else_out(store: SessionStore) -> None:
    store.begin(row("a"))
    nowhere = store.append("b", 1, partial("b", 1))
    before = store.append("a", 1, partial("a", 1))
    broken = store.append("a", 2**70, partial("a", 2))
    after = store.append("a", 2, partial("a", 2))
    written(before)
    written(after)
    for never in (broken, nowhere):
        problem = never.result(SOON_S)
        assert problem is not None
        assert problem.code == "store.failed"
    assert [seq for seq, _ in store.events("a")] == [1, 2]


# --- killed ---


def test_a_session_that_was_cut_off_says_so(path: Path) -> None:
    """As its events tell: those of three sessions, one of which has ended, one not even begun."""
    store = SessionStore(path)
    for id in "abc":
        store.begin(row(id))
    judged = {
        "emotions": {"fear": 0.25},
        "neutral": 0.75,
        "thresholds": {"fear": 0.5},
        "expressed": (),
    }
    average = AverageUpdated(session="a", time=4.0, utterances=2, **judged)  # type: ignore[arg-type]
    store.append("a", 1, average.model_copy(update={"utterances": 1}))
    store.append("a", 2, average)
    store.append("a", 3, SourceWarning(session="a", time=7.5, code="c", message="m"))
    written(store.append("b", 1, ended("b")))
    store.close()

    store = SessionStore(path)
    end = SessionEnded(
        session="a",
        time=7.5,
        reason="cut_off",
        utterances=0,
        average=WireAverage(utterances=2, **judged),  # type: ignore[arg-type]
    )
    assert store.events("a", after=3) == [(4, end)]
    assert store.session("a") == row("a", time=7.5, last_seq=4, reason="cut_off")
    assert store.events("b") == [(1, ended("b"))]
    ((seq, event),) = store.events("c")
    assert (seq, event.type, event.time) == (1, "session.ended", 0.0)
    store.close()


def test_a_session_of_an_earlier_version_is_read_back_and_its_neutral_is_not_known(
    path: Path,
) -> None:
    store_earlier(path)
    store = SessionStore(path)
    result, end = store.result(SESSION, 1), store.events(SESSION)[-1][1]
    store.close()
    assert isinstance(result, UtteranceResult)
    assert (result.emotions["happiness"], result.neutral) == (0.61, None)
    assert isinstance(end, SessionEnded)
    assert (end.reason, end.average.utterances) == ("cut_off", 1)
    assert (end.average.emotions["happiness"], end.average.neutral) == (0.61, None)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_whatever_was_published_is_there_after_any_kill(tmp_path: Path) -> None:
    """200 servers are killed while their sessions publish; ten after one another use one file."""
    chance = random.Random(6)
    servers = subprocess.Popen(
        [sys.executable, REPO / "tests" / "support" / "publishing.py"],
        env={**os.environ, "PYTHONPATH": str(REPO)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert servers.stdin is not None
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: [*map(lines.put, servers.stdout or ())], daemon=True).start()
    published_in_all, cut_off = 0, 0
    try:
        for kill in range(KILLS):
            path = tmp_path / f"{kill // 10}.sqlite"
            print(path, kill, file=servers.stdin, flush=True)
            word, pid = lines.get(timeout=SOON_S).split()
            assert word == "pid"
            time.sleep(chance.random() * 0.2)
            os.kill(int(pid), signal.SIGKILL)
            published: defaultdict[str, list[str]] = defaultdict(list)
            while (line := lines.get(timeout=SOON_S)) != "gone\n":
                published[json.loads(line)["session"]].append(line.rstrip("\n"))
            cut_off += check_all_is_there(path, published)
            published_in_all += sum(map(len, published.values()))
    finally:
        servers.stdin.close()
        servers.wait(SOON_S)
    assert servers.returncode == 0
    assert published_in_all > 10 * KILLS
    assert cut_off > KILLS


def check_all_is_there(path: Path, published: dict[str, list[str]]) -> int:
    """How many sessions were cut off by the last kill."""
    store = SessionStore(path)
    assert store._writer.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    rows = {session.id: session for session in store.sessions(10_000)}
    assert published.keys() <= rows.keys()
    cut_off = 0
    for id, session in rows.items():
        told = [wire(seq, event) for seq, event in store.events(id)]
        numbers = [json.loads(line)["seq"] for line in told]
        assert numbers == [*range(1, len(told) + 1)]
        assert told[: len(published[id])] == published[id]
        last = json.loads(told[-1])
        assert (last["type"], last["reason"]) == ("session.ended", session.reason)
        assert session.last_seq == len(told)
        cut_off += session.reason == "cut_off" and bool(published[id])
    store.close()
    return cut_off
