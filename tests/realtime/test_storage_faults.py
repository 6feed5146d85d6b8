"""The store when its disk is full or fails, and when its server is killed."""

from __future__ import annotations

import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

import pytest
from checkout import REPO
from earlier import SESSION, store_earlier
from storing import SOON_S, ended, partial, row, until, written

from realtime import storage
from realtime.events import (
    AverageUpdated,
    Event,
    SessionEnded,
    SourceWarning,
    UtteranceResult,
    WireAverage,
)
from realtime.storage import SessionStore
from realtime.stored import UtteranceInputs
from web.sessions.hosted import wire

KILLS = 200


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


@pytest.mark.slow
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
