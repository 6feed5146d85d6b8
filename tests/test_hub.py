"""What a hosted session keeps, and what those who follow it get."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.events import SourceWarning, TranscriptPartial
from realtime.sources.pushed import PushedSource
from web.hub import Hosted
from web.settings import Limits


def partial(number: int) -> TranscriptPartial:
    return TranscriptPartial(session="s", time=float(number), utterance=1, text=str(number))


def warning(number: int) -> SourceWarning:
    return SourceWarning(session="s", time=float(number), code="c", message=str(number))


def hosted(**limits: int) -> Hosted:
    source = PushedSource("ada", has_audio=True, has_video=False)
    return Hosted(
        source,
        Limits(**limits),  # type: ignore[arg-type]
        kind="ingest",
        name="ada",
        room=None,
        owner=None,
        at_end=lambda: None,
    )


@settings(deadline=None)
@given(
    pieces=st.lists(st.integers(0, 30), max_size=8),
    starts=st.lists(st.integers(0, 60), min_size=1, max_size=4),
)
def test_whoever_follows_gets_each_event_once_and_in_order(
    pieces: list[int], starts: list[int]
) -> None:
    async def run() -> None:
        session = hosted()
        total = sum(pieces)

        async def follow(after: int) -> list[int]:
            return [seq async for seq, _ in session.follow(after)]

        readers = [asyncio.create_task(follow(after)) for after in starts]
        for piece in pieces:
            for number in range(piece):
                session.record(partial(number))
            await asyncio.sleep(0)
        session.ended.set()
        session._wake()
        for after, reader in zip(starts, readers, strict=True):
            assert await reader == list(range(after + 1, total + 1))

    asyncio.run(run())


async def test_a_long_session_forgets_what_passed_and_keeps_what_lasts() -> None:
    session = hosted(max_events=100)
    for number in range(1000):
        session.record(warning(number) if number % 50 == 0 else partial(number))
    kept = session.events
    assert len(kept) <= 101
    assert [seq for seq, _ in kept] == sorted({seq for seq, _ in kept})
    assert kept[-1] == (1000, partial(999))
    assert sum(isinstance(event, SourceWarning) for _, event in kept) == 20
    assert not session._stop.is_set()


async def test_a_session_too_long_to_be_kept_is_stopped() -> None:
    session = hosted(max_events=100)
    for number in range(101):
        session.record(warning(number))
    last = session.events[-1][1]
    assert isinstance(last, SourceWarning)
    assert last.code == "events.full"
    assert len(session.events) == 102
    assert session._stop.is_set()
