"""A file that an earlier version of this program left behind becomes one of today, without loss."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from pathlib import Path

import pytest
from checkout import bytes_in
from earlier import RECORDED, SESSION, store_earlier
from storing import ended, partial, row, until, written

from realtime.events import UtteranceResult
from realtime.storage import tables, versions
from realtime.storage.store import SessionStore
from realtime.storage.values import UtteranceInputs

FOUND = row(
    RECORDED,
    kind="call",
    name="Ada “A” O'Hara",
    source="WHIP",
    room="r",
    owner="guest",
    started=datetime(2026, 1, 4, 9, tzinfo=timezone.utc),
    duration=None,
    recorded=True,
    time=9.0,
    utterances=3,
    last_seq=2,
    reason="end",
)


def check_all_is_there(store: SessionStore) -> None:
    cut_off, found = store.sessions(10)
    assert (cut_off.id, cut_off.name, cut_off.duration) == (SESSION, "talk.mp4", 120.0)
    assert (cut_off.reason, cut_off.last_seq, cut_off.utterances) == ("cut_off", 6, 1)
    assert found == store.session(RECORDED) == store.in_room("r")[0] == FOUND
    assert store.events(RECORDED) == [
        (1, partial(RECORDED, 1, "grün “日本”, it's")),
        (2, ended(RECORDED)),
    ]
    assert store.inputs(RECORDED, 1) == UtteranceInputs(
        faces=((0.5, b"\xff\xd8one"),),
        waveform=((-0.5, 0.5), (0.0, 0.25)),
        duration=2.0,
        frame=(640, 480),
    )
    assert store.sound(RECORDED, 1) == b"RIFF one"
    assert [seq for seq, _ in store.events(SESSION)] == [1, 2, 3, 4, 5, 6]
    result = store.result(SESSION, 1)
    assert isinstance(result, UtteranceResult)
    assert result.transcript.text == "Set green."


def test_a_file_of_version_1_is_taken_over_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All of it is found again, and nothing is left that is not sealed."""
    store_earlier(path)
    plain = "Set green.", "O'Hara", "talk.mp4", "日本", "RIFF one", "transcript.partial"
    assert all(word.encode() in bytes_in(path.parent) for word in plain)
    for _ in range(2):
        store = SessionStore(path)
        check_all_is_there(store)
        until(lambda: not any(word.encode() in bytes_in(path.parent) for word in plain))
        store.close()
    told = [message for message in caplog.messages if "earlier version" in message]
    assert len(told) == 1
    assert "2 sessions" in told[0]

    store = SessionStore(path)
    written(store.delete(RECORDED))
    assert [session.id for session in store.sessions(10)] == [SESSION]
    store.close()


class Killed(BaseException):
    """In place of a kill between two transactions; what one has begun, SQLite itself undoes."""


@pytest.mark.parametrize("done", range(4))
def test_a_takeover_that_was_killed_is_finished(
    path: Path, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    """Whether no session was moved, some, or all of them though that was not noted yet."""
    store_earlier(path)
    begun = itertools.count()

    def transaction(db: sqlite3.Connection) -> AbstractContextManager[None]:
        if next(begun) == done:
            raise Killed
        return tables.transaction(db)

    with monkeypatch.context() as patch:
        patch.setattr(versions, "transaction", transaction)
        with pytest.raises(Killed):
            SessionStore(path)
    store = SessionStore(path)
    check_all_is_there(store)
    store.close()
