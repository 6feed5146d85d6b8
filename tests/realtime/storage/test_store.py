"""The session store: durable before it is told, readable after any kill, and truly emptied."""

from __future__ import annotations

import itertools
import os
import random
import sqlite3
import stat
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from checkout import bytes_in
from hypothesis import given, settings
from hypothesis import strategies as st
from storing import BEGAN, SOON_S, ended, looking_into, partial, row, rows_left, until, written

from models.errors import UsageError
from realtime.events import (
    SessionStarted,
)
from realtime.storage import store as store_module
from realtime.storage.keys import SessionKey
from realtime.storage.store import SessionStore
from realtime.storage.values import StoredSession, UtteranceInputs

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


@pytest.mark.parametrize(
    "list_all",
    [
        lambda store: store.ended_before(BEGAN + timedelta(days=1)),
        lambda store: store.sessions(1000),
        lambda store: store.in_room("r"),
    ],
    ids=["ended_before", "sessions", "in_room"],
)
def test_a_lookup_does_not_wait_for_a_list(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch, list_all: Callable[[SessionStore], Any]
) -> None:
    """An event loop looks up single sessions, while thousands are listed in a thread."""
    store.begin(row("a", room="r"))
    written(store.append("a", 1, ended("a")))
    halfway, looked_up = threading.Event(), threading.Event()
    key_of = store._keys.of

    def of(number: int) -> SessionKey | None:
        if threading.current_thread() is not threading.main_thread():
            halfway.set()
            looked_up.wait(10)
        return key_of(number)

    monkeypatch.setattr(store._keys, "of", of)
    with ThreadPoolExecutor(1) as thread:
        listing = thread.submit(list_all, store)
        assert halfway.wait(SOON_S)
        assert store.session("a") is not None
        assert not listing.done()
        looked_up.set()
        assert len(listing.result(SOON_S)) == 1


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
def test_nobody_else_may_read_the_file(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not the files of an earlier version, or a copy of them, either; that is told, once."""

    def modes() -> set[int]:
        return {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    store = SessionStore(path)
    written(store.begin(row("a")))
    assert len([*path.parent.iterdir()]) == 5
    assert modes() == {0o600}
    with looking_into(path) as file:  # so that the log stays
        store.close()
        file.db.execute("SELECT 1 FROM sessions").fetchone()
        for each in path.parent.iterdir():
            each.chmod(0o644)
        assert not caplog.messages
        for _ in range(2):
            SessionStore(path).close()
            assert modes() == {0o600}
    [told] = caplog.messages
    assert all(f"{path}{suffix}" in told for suffix in ("", "-wal", "-shm", ".lock", ".keys"))


def test_two_servers_do_not_share_a_file(store: SessionStore) -> None:
    """By whatever name they call it."""
    linked = store.path.parent.parent / "linked.sqlite"
    linked.symlink_to(store.path)
    twin = linked.with_name("twin.sqlite")
    os.link(store.path, twin)
    store.begin(row("a"))
    for name, said in (
        (store.path, "in use by another server"),
        (linked, "in use by another server"),
        (twin, "has another name"),
    ):
        with pytest.raises(UsageError, match=rf"{said}.*--store") as told:
            SessionStore(name)
        assert "\n" not in str(told.value)
    written(store.append("a", 1, partial("a", 1)))
    store.close()
    twin.unlink()
    for name in (linked, store.path):
        again = SessionStore(name)
        assert again.path == store.path
        assert again.events("a")[0] == (1, partial("a", 1))
        again.close()


def test_without_its_keys_nothing_is_taken_for_deleted(path: Path, tmp_path: Path) -> None:
    """Which the keys of another store, or none, would mean."""
    other = SessionStore(tmp_path / "other.sqlite")
    written(other.begin(row("b")))
    other.close()
    store = SessionStore(path)
    written(store.begin(row("a")))
    store.close()
    keys = Path(f"{path}.keys")
    right = keys.read_bytes()
    for wrong, said in (
        (Path(f"{other.path}.keys").read_bytes(), "does not hold the keys"),
        (b"", "does not hold the keys"),
        (b"dear diary" * 99, "not a file of keys"),
    ):
        keys.write_bytes(wrong)
        with pytest.raises(UsageError, match=rf"{said}.*--store"):
            SessionStore(path)
    keys.write_bytes(right)
    store = SessionStore(path)
    assert store.session("a") is not None
    store.close()


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


@settings(deadline=None, max_examples=3)
@given(seed=st.integers(0, 10**6))
def test_of_a_deleted_session_no_word_is_left(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """Whatever lies around it, and in whatever order sessions come and go.

    No word lies in the files but sealed, and no copy of the key that opens it is left.
    """
    chance = random.Random(seed)
    store = SessionStore(tmp_path_factory.mktemp("deleted") / "s.sqlite")
    there: dict[str, int] = {}
    for step in range(30):
        if there and chance.random() < 0.3:
            id = chance.choice([*there])
            del there[id]
            key = key_of(store, id)
            assert bytes_in(store.path.parent).count(key) == 1
            written(store.delete(id))
            assert key not in bytes_in(store.path.parent)
            assert store.session(id) is None
            assert store.events(id) == []
            assert store.sound(id, 1) == b""
            assert id not in [session.id for session in store.sessions(99)]
        else:
            id = f"{step:03}"
            there[id] = 0
            words = {"source": f"word-{id}-source", "owner": "word-guest"}
            written(store.begin(row(id, **words, recorded=True)))
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
    for plain in (b"word-", b"name of"):
        assert plain not in bytes_in(store.path.parent)
    until(lambda: left_in(store) == 0)
    store.close()


def test_what_is_live_does_not_wait_for_what_is_deleted(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large session is gone at once; its rows go in pieces, between which events are stored."""
    monkeypatch.setattr(store_module, "SLICE_S", 0)
    store.begin(row("large", recorded=True))
    nothing = UtteranceInputs((), (), 10.0, None)
    for number in range(1, 51):
        written(store.keep("large", number, nothing, random.randbytes(400_000)))
    written(store.begin(row("live")))
    log = Path(f"{store.path}-wal")
    log_was = log.stat().st_size
    until(lambda: not store._to_remove)
    store._remove_at = time.monotonic() + 3600  # not yet: the test removes, to look in between
    written(store.delete("large"))
    assert store.session("large") is None
    assert store.sound("large", 1) == b""
    for seq in range(1, 51):
        assert left_in(store) == 51 - seq
        written(store.append("live", seq, partial("live", seq)))
        store._remove_some()
    assert left_in(store) == 0
    assert log.stat().st_size < log_was + 5_000_000, "a disk that is nearly full takes it, too"
    assert len(store.events("live")) == 50


def test_thousands_of_sessions_do_not_slow_down_the_next(store: SessionStore) -> None:
    for n in range(10_000):
        last = store.begin(row(f"{n:05}", started=BEGAN + timedelta(seconds=n)))
    written(last)

    def next_one(n: int) -> float:
        began = time.perf_counter()
        written(store.begin(row(f"next{n}")))
        written(store.append(f"next{n}", 1, ended(f"next{n}")))
        assert store.result(f"next{n}", 1) is None
        assert len(store.sessions(50)) == 50
        written(store.delete(f"next{n}"))
        return time.perf_counter() - began

    # Of ten, since other work keeps the machine busy; with a table a session each took 0.9 s.
    assert min(next_one(n) for n in range(10)) < 0.2


def test_a_deletion_that_was_killed_halfway_is_finished(store: SessionStore) -> None:
    """Its key is destroyed first: what it told stays gone, though its row is there."""
    store.begin(row("a"))
    written(store.append("a", 1, partial("a", 1)))
    written(store.begin(row("b")))
    store.close()
    with looking_into(store.path) as file:
        file.destroy_key("a")
        assert file.db.execute("SELECT count(*) FROM sessions").fetchone() == (2,)
    again = SessionStore(store.path)
    assert [session.id for session in again.sessions(10)] == ["b"]
    assert (again.session("a"), again.events("a")) == (None, [])
    until(lambda: left_in(again) == 0)
    again.close()


def test_what_somebody_else_reads_is_removed_when_he_is_done(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be read at once; then its rows go, and the log is emptied of them."""
    monkeypatch.setattr(store_module, "RETRY_S", 0.05)
    written(store.begin(row("session-a")))
    reader = sqlite3.connect(store.path)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM sessions").fetchall()
    key = key_of(store, "session-a")
    written(store.delete("session-a"))
    assert key not in bytes_in(store.path.parent)
    written(store.begin(row("session-b")))
    assert b"session-a" in bytes_in(store.path.parent)
    reader.close()
    until(lambda: b"session-a" not in bytes_in(store.path.parent))


def key_of(store: SessionStore, id: str) -> bytes:
    with looking_into(store.path) as file:
        held = file.held(id)
    assert held is not None
    return held[1].key


def left_in(store: SessionStore) -> int:
    with looking_into(store.path) as file:
        return rows_left(file)
