"""Small inputs that are odd as the field's are: each is heard, or refused in one line."""

from __future__ import annotations

import asyncio
import shutil
from functools import partial
from pathlib import Path

import cases as making
import pytest
from media_server import Files, serving
from playing import by_kind, events_of, lasting, results, warnings_of
from recordings import read, sound_of
from talks import Talk

from models.errors import UsageError
from realtime.analyzers.local import LocalAnalyzer
from realtime.events import SessionEnded
from realtime.sources import open_source

pytestmark = pytest.mark.slow

Answer = tuple[int, bool, list[str]]
"""How many utterances, whether each has faces (some pictures show nobody), what is warned of."""

CASES: dict[str, Answer] = {
    "video_clock_ahead.mkv": (2, True, ["source.clocks"]),
    "silent_first_track.mkv": (2, True, ["audio.track"]),
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

MADE: dict[str, Answer] = {
    "plain_short.flac": (1, False, []),
    "nine_channels.wav": (1, False, []),
    "opposite_phase.flac": (1, False, ["audio.channel"]),
    "left_only.flac": (1, False, []),
    "no_duration.mkv": (2, True, []),
    "paused_recorder.mkv": (2, True, ["source.short"]),
    "restarted_clock.ts": (4, True, ["source.clocks"]),
    "clock_jumps_ahead.ts": (2, True, ["source.clocks"]),
}
"""What others see without the folder of real clips; it holds the like."""

REFUSED = {"track_without_packets.webm": "has no sound"}

NO_MEDIA = {"README.md", "nogl"}


@pytest.fixture(scope="module")
def cases(shared: Path) -> Path:
    return shared / "media/cases"


@pytest.fixture(scope="module")
def made(sentence: Talk, talk: Talk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the cases that are made here."""
    folder = tmp_path_factory.mktemp("cases")
    shutil.copy(sentence.path, folder / "plain_short.flac")
    sound = sound_of(asyncio.run(read(sentence.path)))
    making.nine_channels(sound, folder / "nine_channels.wav")
    making.opposite_phase(sound, folder / "opposite_phase.flac")
    making.left_only(sound, folder / "left_only.flac")
    making.no_duration(talk, folder / "no_duration.mkv")
    making.paused_recorder(talk, folder / "paused_recorder.mkv")
    making.restarted_clock(talk, folder / "restarted_clock.ts")
    making.clock_jumps_ahead(talk, folder / "clock_jumps_ahead.ts")
    return folder


def test_every_case_has_its_answer(cases: Path) -> None:
    there = {path.stem for path in cases.iterdir()}
    assert there == {Path(name).stem for name in (*CASES, *MADE, *REFUSED, *NO_MEDIA)}


async def heard(clip: Path, analyzer: LocalAnalyzer, answer: Answer) -> None:
    utterances, faces, warnings = answer
    events = await events_of(clip, analyzer)
    assert len(results(events)) == utterances
    assert all(bool(result.faces) is faces for result in results(events))
    assert [warning.code for warning in warnings_of(events)] == warnings
    ended = events[-1]
    assert isinstance(ended, SessionEnded)
    assert ended.reason == "end"
    assert ended.time < 13


@pytest.mark.parametrize("name", CASES)
async def test_a_case_is_heard(cases: Path, analyzer: LocalAnalyzer, name: str) -> None:
    await heard(cases / name, analyzer, CASES[name])


@pytest.mark.parametrize("name", MADE)
async def test_a_made_case_is_heard(made: Path, analyzer: LocalAnalyzer, name: str) -> None:
    await heard(made / name, analyzer, MADE[name])


async def test_a_case_at_live_pace_is_the_same(
    cases: Path, made: Path, analyzer: LocalAnalyzer
) -> None:
    for clip in (cases / "video_clock_ahead.mkv", made / "opposite_phase.flac"):
        live = await events_of(clip, analyzer, pace="live")
        assert by_kind(lasting(live)) == by_kind(lasting(await events_of(clip, analyzer)))


@pytest.mark.parametrize("name", REFUSED)
async def test_a_case_is_refused(cases: Path, name: str) -> None:
    with pytest.raises(UsageError, match=REFUSED[name]):
        await open_source(str(cases / name))


async def test_a_recording_over_http_is_a_recording(made: Path) -> None:
    with serving(partial(Files, directory=str(made))) as url:
        for name in ("no_duration.mkv", "paused_recorder.mkv"):
            source = await open_source(f"{url}/{name}", "fast")
            assert not source.live, name
            async for _ in source:
                pass
            await source.aclose()
