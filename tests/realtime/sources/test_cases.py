"""Small inputs that are odd as the field's are: each is heard, or refused in one line."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import networks
import pytest
from media_server import Files, serving
from playing import by_kind, events_of, lasting, results, warnings_of

from models.errors import UsageError
from realtime.analyzers.local import LocalAnalyzer
from realtime.events import SessionEnded
from realtime.sources import open_source

pytestmark = pytest.mark.slow

CASES = {
    # How many utterances, whether each has faces (some pictures show nobody), what is warned of.
    "plain_short.flac": (1, False, []),
    "restarted_clock.ts": (3, False, ["source.clocks"]),
    "clock_jumps_ahead.ts": (2, False, ["source.clocks"]),
    "video_clock_ahead.mkv": (2, True, ["source.clocks"]),
    "nine_channels.wav": (1, False, []),
    "opposite_phase.flac": (1, False, ["audio.channel"]),
    "silent_first_track.mkv": (2, True, ["audio.track"]),
    "no_duration.webm": (2, True, []),
    "paused_recorder.webm": (2, True, ["source.short"]),
    "left_only.flac": (1, False, []),
    "wrap.ts": (2, True, []),
    "odd_853x481.mp4": (1, True, []),
    "hevc10_hlg.mov": (1, True, []),
    "av1.webm": (1, True, []),
    "interlaced.mpg": (1, True, []),
    "fps1.mp4": (1, True, []),
    "vfr.mp4": (1, True, []),
    "sub_first.mkv": (2, True, []),
    "editlist.mp4": (2, True, []),
}

REFUSED = {"track_without_packets.webm": "has no sound"}

NO_MEDIA = {"README.md", "nogl"}


@pytest.fixture(scope="module")
def cases(shared: Path) -> Path:
    return shared / "media/cases"


@pytest.fixture(scope="module")
def analyzer() -> Iterator[LocalAnalyzer]:
    analyzer = networks.load()
    yield analyzer
    analyzer.close()


def test_every_case_has_its_answer(cases: Path) -> None:
    assert {path.name for path in cases.iterdir()} == {*CASES, *REFUSED, *NO_MEDIA}


@pytest.mark.parametrize("name", CASES)
async def test_a_case_is_heard(cases: Path, analyzer: LocalAnalyzer, name: str) -> None:
    utterances, faces, warnings = CASES[name]
    events = await events_of(cases / name, analyzer)
    assert len(results(events)) == utterances
    assert all(bool(result.faces) is faces for result in results(events))
    assert [warning.code for warning in warnings_of(events)] == warnings
    ended = events[-1]
    assert isinstance(ended, SessionEnded)
    assert ended.reason == "end"
    assert ended.time < 11


async def test_a_case_at_live_pace_is_the_same(cases: Path, analyzer: LocalAnalyzer) -> None:
    for name in ("video_clock_ahead.mkv", "opposite_phase.flac"):
        live = await events_of(cases / name, analyzer, pace="live")
        assert by_kind(lasting(live)) == by_kind(lasting(await events_of(cases / name, analyzer)))


@pytest.mark.parametrize("name", REFUSED)
async def test_a_case_is_refused(cases: Path, name: str) -> None:
    with pytest.raises(UsageError, match=REFUSED[name]):
        await open_source(str(cases / name))


async def test_a_recording_over_http_is_a_recording(cases: Path) -> None:
    with serving(partial(Files, directory=str(cases))) as url:
        for name in ("no_duration.webm", "paused_recorder.webm"):
            source = await open_source(f"{url}/{name}", "fast")
            assert not source.live, name
            async for _ in source:
                pass
            await source.aclose()
