"""What a hosted session keeps, what those who follow it get, and what the store does for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storing import content, looking_into

from models.errors import UsageError
from realtime.analysis import Analyzer
from realtime.analyzers.local import LocalAnalyzer
from realtime.events import SourceWarning, TranscriptPartial
from realtime.sources.pushed import PushedSource
from realtime.storage import store as store_module
from realtime.storage.store import SessionStore
from realtime.storage.values import StoredSession
from web.errors import ApiError
from web.sessions.ended import Kept
from web.sessions.hosted import Hosted
from web.sessions.hub import Hub
from web.sessions.speakers import SpeakerWish
from web.settings import Limits, ServerSettings

SOON_S = 60  # generous: other work may keep the machine busy


def partial(number: int) -> TranscriptPartial:
    return TranscriptPartial(session="s", time=float(number), utterance=1, text=str(number))


def warning(number: int) -> SourceWarning:
    return SourceWarning(session="s", time=float(number), code="c", message=str(number))


def hosted(store: SessionStore, **limits: Any) -> Hosted:
    source = PushedSource("ada", has_audio=True, has_video=False)
    return Hosted(
        source,
        ServerSettings(store=store.path, limits=Limits(**limits)),
        store,
        kind="ingest",
        name="ada",
        room=None,
        owner=None,
        at_end=lambda: None,
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    opened = SessionStore(tmp_path / "s.sqlite")
    yield opened
    opened.close()


# --- one session ---


@pytest.mark.slow
def test_whoever_follows_gets_each_event_once_and_in_order(store: SessionStore) -> None:
    """While the session runs, and as well when only the store knows it."""

    async def follow(session: Hosted | Kept, after: int) -> list[int]:
        return [seq async for seq, _ in session.follow(after)]

    async def run(pieces: list[int], starts: list[int]) -> None:
        session = hosted(store)
        readers = [asyncio.create_task(follow(session, after)) for after in starts]
        for piece in pieces:
            for number in range(piece):
                session.record(partial(number))
            await asyncio.sleep(0)
        await session._published()
        session.ended.set()
        session._wake()
        row = store.session(session.id)
        assert row is not None
        for after, reader in zip(starts, readers, strict=True):
            assert await reader == list(range(after + 1, sum(pieces) + 1))
            assert await follow(Kept(row, store), after) == await reader

    @settings(deadline=None)
    @given(
        pieces=st.lists(st.integers(1, 30), min_size=1, max_size=8),
        starts=st.lists(st.integers(0, 60), min_size=1, max_size=4),
    )
    def check(pieces: list[int], starts: list[int]) -> None:
        asyncio.run(run(pieces, starts))

    check()


async def test_an_event_is_in_the_file_before_it_is_told(store: SessionStore) -> None:
    session = hosted(store)
    for number in range(100):
        session.record(partial(number))
        if number % 7 == 0:
            await asyncio.sleep(0.002)
    assert session.to_json()["last_seq"] == len(session.events) < 100
    with looking_into(store.path) as file:
        async for seq, event in session.follow():
            assert content(file, session.id, seq) == event.model_dump_json()
            if seq == 100:
                break


async def test_a_long_session_forgets_what_passed_and_keeps_what_lasts(store: SessionStore) -> None:
    session = hosted(store, max_events=100)
    for number in range(1000):
        session.record(warning(number) if number % 50 == 0 else partial(number))
    await session._published()
    kept = session.events
    assert len(kept) <= 101
    assert [seq for seq, _ in kept] == sorted({seq for seq, _ in kept})
    assert kept[-1] == (1000, partial(999))
    assert sum(isinstance(event, SourceWarning) for _, event in kept) == 20
    assert not session._stop.is_set()
    assert len(store.events(session.id)) == 1000


async def test_a_session_too_long_to_be_kept_is_stopped(store: SessionStore) -> None:
    session = hosted(store, max_events=100)
    for number in range(101):
        session.record(warning(number))
    await session._published()
    last = session.events[-1][1]
    assert isinstance(last, SourceWarning)
    assert last.code == "events.full"
    assert len(session.events) == 102
    assert session._stop.is_set()


async def test_a_full_disk_costs_one_warning_and_nothing_else(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "RETRY_S", 0.05)
    session = hosted(store)
    session.record(warning(0))
    await session._published()
    (pages,) = store._writer.execute("PRAGMA page_count").fetchone()
    store._writer.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(1, 300):
        session.record(partial(number))
    await session._published()
    told = [event for _, event in session.events]
    assert [event for event in told if isinstance(event, TranscriptPartial)] == [
        partial(number) for number in range(1, 300)
    ]
    (full,) = (event for event in told[1:] if isinstance(event, SourceWarning))
    assert full.code == "store.full"
    assert [seq for seq, _ in session.events] == [*range(1, 302)]

    store._writer.execute("PRAGMA max_page_count = 1000000")
    await until(lambda: store.events(session.id) == [*session.events])


# --- all sessions of a server ---


@asynccontextmanager
async def hub_of(settings: ServerSettings) -> AsyncIterator[Hub]:
    """A hub whose models are not loaded yet: its sessions tell what the test records."""
    go_on = threading.Event()

    def load() -> LocalAnalyzer:
        go_on.wait(SOON_S)
        raise UsageError("not needed any more")

    hub = Hub(settings, load)
    await hub.start()
    try:
        yield hub
    finally:
        await hub.aclose()
        go_on.set()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(SOON_S * 50):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen in time")


async def begin(hub: Hub, name: str, room: str | None = None) -> Hosted:
    source = PushedSource(name, has_audio=True, has_video=False)
    return await hub.begin(source, kind="call", name=name, room=room, owner=f"guest {name}")


def names(sessions: Any) -> list[str]:
    return [session.name for session in sessions]


async def test_a_name_cannot_turn_a_line_or_a_terminal(tmp_path: Path) -> None:
    odd, safe = "ann\u202e\x1b[1m\n", "ann\\u202e\\x1b[1m\\x0a"
    async with hub_of(ServerSettings(store=tmp_path / "s.sqlite")) as hub:
        session = await begin(hub, odd)
        assert session.name == session.to_json()["source"] == names(hub.recent(1))[0] == safe
    assert SpeakerWish.model_validate({"name": odd + "!"}).name == safe + "!"


async def test_a_server_that_is_back_knows_what_it_knew(tmp_path: Path) -> None:
    settings = ServerSettings(store=tmp_path / "s.sqlite", limits=Limits(max_ended=2))
    async with hub_of(settings) as hub:
        before = []
        for name in "abcde":
            session = await begin(hub, name, room="r" if name in "bd" else None)
            session.record(partial(1))
            session.stop()
            await session.ended.wait()
            before.append(session)
        running = await begin(hub, "f", room="r")
        assert [*hub.sessions.values()] == [*before[3:], running]
        assert names(hub.recent(10)) == ["f", "e", "d", "c", "b", "a"]
        assert names(hub.recent(2, before[3].id)) == ["c", "b"]
        assert names(hub.in_room("r")) == ["b", "d", "f"]
        assert isinstance(hub.get(before[0].id), Kept)
        with pytest.raises(ApiError, match="may have been deleted"):
            hub.get("nobody")
        running.record(partial(1))
        await hub.forget(before[1].id)
        with pytest.raises(ApiError, match="may have been deleted"):
            hub.get(before[1].id)

    async with hub_of(settings) as hub:
        assert not hub.sessions
        assert names(hub.recent(10)) == ["f", "e", "d", "c", "a"]
        for session in (before[0], before[4], running):
            kept = hub.get(session.id)
            assert kept.to_json() == session.to_json()
            assert kept.to_json()["reason"] == "stopped"
            assert [pair async for pair in kept.follow(1)] == [*session.events[1:]]
            assert [*kept.read()] == [*session.read()]
            assert kept.owner == session.owner
            kept.stop()
            with pytest.raises(ApiError, match="can be paused"):
                kept.pausing.change(True, "host")
        await hub.forget(running.id)
        assert names(hub.recent(10)) == ["e", "d", "c", "a"]


async def test_sessions_are_kept_for_so_many_days(tmp_path: Path) -> None:
    settings = ServerSettings(store=tmp_path / "s.sqlite", keep_days=7)
    store = SessionStore(settings.store)
    for name, days in (("old", 7.1), ("young", 6.9)):
        row = StoredSession(
            id=name,
            kind="upload",
            name=name,
            source=name,
            room=None,
            owner=None,
            started=datetime.now(timezone.utc) - timedelta(days=days),
            duration=None,
            recorded=False,
        )
        store.begin(row)
        store.append(name, 1, partial(1))
    store.close()
    async with hub_of(settings) as hub:
        await begin(hub, "running")
        await until(lambda: "old" not in names(hub.recent(10)))
        assert names(hub.recent(10)) == ["running", "young"]
        tomorrow = datetime.now(timezone.utc) + timedelta(days=1)
        assert hub.store.ended_before(tomorrow) == ["young"], "one that runs is never old"


async def test_looking_for_what_is_old_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not done in the thread of the event loop."""
    looked_in: list[int] = []
    look = SessionStore.ended_before

    def watched(store: SessionStore, when: datetime) -> list[str]:
        looked_in.append(threading.get_ident())
        return look(store, when)

    monkeypatch.setattr(SessionStore, "ended_before", watched)
    async with hub_of(ServerSettings(store=tmp_path / "s.sqlite", keep_days=7)):
        await until(lambda: bool(looked_in))
    assert threading.get_ident() not in looked_in


class Measured:
    """Of the models, what they say this machine can hold: the next of `capacities`, each time."""

    profile = engine = "none"

    def __init__(self, *capacities: int) -> None:
        self._capacities = list(capacities)

    def capacity(self) -> int:
        return self._capacities.pop(0)

    def close(self) -> None:
        pass


@asynccontextmanager
async def hub_measured(
    settings: ServerSettings, *capacities: int
) -> AsyncIterator[tuple[Hub, asyncio.Event]]:
    """A hub that was ready at once, and an event that ends its sessions."""
    hub = Hub(settings, lambda: cast(Analyzer, Measured(*capacities)))
    await hub.start()
    await until(lambda: hub.state == "ready")
    end = asyncio.Event()

    async def stay(_: Hosted, __: object) -> None:
        await end.wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hosted, "run", stay)
        try:
            yield hub, end
        finally:
            end.set()
            await hub.aclose()


async def test_what_the_machine_holds_is_measured_again_before_somebody_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ServerSettings(store=tmp_path / "s.sqlite")
    async with hub_measured(settings, 1, 3, 2, 5) as (hub, _):
        assert hub.max_sessions == 1  # it was busy then
        for name in "abc":
            await begin(hub, name)
        assert hub.max_sessions == 3
        with pytest.raises(ApiError, match="3 sessions are running"):
            await begin(hub, "soon after")
        monkeypatch.setattr("web.sessions.hub.MEASURE_EVERY_S", 0)
        with pytest.raises(ApiError, match="3 sessions are running"):  # never fewer
            await begin(hub, "later")
        outcomes = await asyncio.gather(
            *(begin(hub, name) for name in "defg"), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [Hosted, Hosted, ApiError, ApiError]


async def test_a_limit_that_was_given_is_kept(tmp_path: Path) -> None:
    settings = ServerSettings(store=tmp_path / "s.sqlite", limits=Limits(max_sessions=1))
    async with hub_measured(settings, 8, 8) as (hub, _):
        await begin(hub, "a")
        with pytest.raises(ApiError, match="1 session is running"):
            await begin(hub, "b")
