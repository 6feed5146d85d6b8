"""The store when its disk is full or fails, and when its server is killed."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from earlier import SESSION, store_earlier
from store_kills import kill_servers
from storing import SOON_S, ended, looking_into, partial, row, rows_left, until, written

from realtime.events import (
    AverageUpdated,
    Event,
    SessionEnded,
    SourceWarning,
    UtteranceResult,
    WireAverage,
)
from realtime.storage import store as store_module
from realtime.storage.store import SessionStore
from realtime.storage.values import UtteranceInputs

# --- a disk that is full, or fails ---


def test_what_a_full_disk_did_not_take_is_stored_when_it_does(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "RETRY_S", 0.05)
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
    monkeypatch.setattr(store_module, "MAX_BEHIND", 50)
    written(store.begin(row("a")))
    store._writer.execute("PRAGMA query_only = ON")  # any other failure than a full disk
    waiting = [store.append("a", n, partial("a", n)) for n in range(1, 100)]
    assert {problem.code for f in waiting if (problem := f.result(SOON_S))} == {"store.failed"}
    assert len(store._behind) == 50
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


def test_what_would_take_the_place_of_something_else_is_told_and_not_stored(
    store: SessionStore,
) -> None:
    """As of two servers that use one file, however they came to it; the same again is no loss."""
    nothing = UtteranceInputs((), (), 1.0, None)
    store.begin(row("a", recorded=True))
    store.keep("a", 1, nothing, b"RIFF")
    for _ in range(2):
        written(store.append("a", 1, partial("a", 1)))
    for taken in (
        store.append("a", 1, partial("a", 1, "something else")),
        store.begin(row("a", name="somebody else")),
        store.keep("a", 1, nothing, b"something else"),
    ):
        problem = taken.result(SOON_S)
        assert problem is not None
        assert problem.code == "store.failed"
    assert store.events("a") == [(1, partial("a", 1))]
    assert store.sessions(10) == [row("a", recorded=True)]
    assert store.sound("a", 1) == b"RIFF"


def test_a_deletion_is_durable_though_nothing_can_be_written(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(store_module, "RETRY_S", 0.05)
    for id in "ab":
        store.begin(row(id))
        written(store.append(id, 1, partial(id, 1)))
    store._writer.execute("PRAGMA query_only = ON")
    waiting = store.append("b", 2, partial("b", 2))
    written(store.delete("a"))
    assert waiting.result(SOON_S) is not None
    assert [session.id for session in store.sessions(10)] == ["b"]
    assert (store.session("a"), store.events("a")) == (None, [])

    after_a_kill = shutil.copytree(store.path.parent, tmp_path / "copy") / store.path.name
    again = SessionStore(after_a_kill)
    assert [session.id for session in again.sessions(10)] == ["b"]
    again.close()

    store._writer.execute("PRAGMA query_only = OFF")
    until(lambda: [seq for seq, _ in store.events("b")] == [1, 2])
    with looking_into(store.path) as file:
        until(lambda: rows_left(file) == 0)
        assert file.db.execute("SELECT id FROM sessions").fetchall() == [("b",)]


def test_events_are_stored_though_nothing_can_be_removed(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "RETRY_S", 0.05)
    for id in "ab":
        store.begin(row(id))
        written(store.append(id, 1, partial(id, 1)))
    with looking_into(store.path) as file:
        file.db.execute(
            "CREATE TRIGGER jammed BEFORE DELETE ON events BEGIN SELECT raise(ABORT, 'jammed'); END"
        )
        written(store.delete("a"))
        for seq in range(2, 30):
            written(store.append("b", seq, partial("b", seq)))
        assert rows_left(file) == 1
        assert store.session("a") is None
        file.db.execute("DROP TRIGGER jammed")
        until(lambda: rows_left(file) == 0)


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


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_what_was_told_is_so_after_any_kill(tmp_path: Path) -> None:
    """A few kills; `tests/support/store_kills.py` does 200."""
    outcome = kill_servers(tmp_path, kills=9, seed=8)
    assert outcome.published > 100
    assert outcome.cut_off > 3
    assert outcome.deleted > 0
