"""An archive worked off: all recordings of some folders, several at a time, each only once.

In: files and folders. Out: the events of each recording in a file of its own, a table of all
utterances, and a summary on the screen.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from models.console import complain, console_on, standard_output
from models.errors import AnalyserError, UsageError
from models.naming import shown
from models.overwriting import BEGINNING, spare_others
from realtime.events import SessionEnded, parse_event
from realtime.formats.catalogue import BOM
from realtime.formats.findings import gather
from realtime.formats.tables import UTTERANCES, Row, to_csv, utterance_rows
from realtime.leaving import polite_endings
from realtime.media import thinner_for
from realtime.outputs import EventsFile
from realtime.reading import Results
from realtime.session import LiveSession
from realtime.sources import open_source
from realtime.terminal import clock, expression

if TYPE_CHECKING:
    from realtime.analysis import Analyzer

SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("aac", "aif", "aiff", "amr", "caf", "flac", "m4a", "mka", "mp2", "mp3", "oga", "ogg"),
        *("opus", "wav", "weba", "wma", "3gp", "asf", "avi", "flv", "m2ts", "m4v", "mkv", "mov"),
        *("mp4", "mpeg", "mpg", "mts", "ogv", "ts", "vob", "webm", "wmv"),
    )
)
"""Of the names of files that are taken for recordings in a folder."""

TABLE = "utterances.csv"

LONGEST_NAME = 255 - len(".jsonl.part")
"""Of a recording, in bytes, whose events are named after the whole of it: disks take 255."""


@dataclass(frozen=True)
class Recording:
    """One of the archive.

    Attributes:
        path: of the recording.
        name: what to call it: its path in the folder that was named.
        events: where its events are written, as JSON Lines.
    """

    path: Path
    name: str
    events: Path


@dataclass(frozen=True)
class Outcome:
    """How the analysis of one recording went.

    Attributes:
        recording: which.
        ended: what was told at its end; None if it could not be read at all.
        problem: what was wrong with it; empty if nothing was.
    """

    recording: Recording
    ended: SessionEnded | None
    problem: str = ""


@dataclass(frozen=True)
class Options:
    """How recordings are analysed; see the options of ``analyze``."""

    analyzer: str
    profile: str
    stt: str
    audio_track: str | None
    baseline: bool
    alone: bool


def recordings(inputs: Sequence[str], results: Path) -> list[Recording]:
    """All recordings in the files and folders, with the folder for what is found in them.

    Raises:
        UsageError: one is not there, a folder holds none, or the events of two would be one file.
    """
    found: dict[Path, Recording] = {}
    for given in inputs:
        top = Path(given)
        if not top.exists():
            raise UsageError(f"{given} does not exist")
        paths = [top]
        if top.is_dir():
            every = (path for path in sorted(top.rglob("*")) if path.is_file())
            paths = [path for path in every if path.suffix.lower() in SUFFIXES]
            if not paths:
                raise UsageError(f"{given} holds no recordings: name a folder of sound or video")
        for path in paths:
            name = path.relative_to(top) if top.is_dir() else Path(path.name)
            events = results / name.with_name(f"{_shortened(name.name)}.jsonl")
            if (other := found.get(events)) and not other.path.samefile(path):
                raise UsageError(
                    f"{other.path} and {path} would both be written to {events}: analyse them "
                    "with different folders for the results"
                )
            found[events] = Recording(path, str(name), events)
    return list(found.values())


def _shortened(name: str) -> str:
    """As much of a file's name as leaves room for what is put behind it."""
    while len(os.fsencode(name)) > LONGEST_NAME:
        name = name[:-1]
    return name


def analyse_all(todo: Sequence[Recording], options: Options, jobs: int) -> Iterator[Outcome]:
    """Analyse recordings in so many processes; gives each outcome as soon as it is there.

    Ctrl-C, a polite kill and a hangup end it with a `KeyboardInterrupt`, which leaves what is
    done. `AnalyserError` if a process was killed, as when memory is short.
    """
    fresh = multiprocessing.get_context("spawn")  # the threads of a library do not outlive a fork
    pool = ProcessPoolExecutor(jobs, fresh, _begin, (options,))
    before = {number: signal.signal(number, _interrupted) for number in polite_endings()}
    try:
        for future in as_completed([pool.submit(_analyse, one, options) for one in todo]):
            yield future.result()
    except BrokenProcessPool:
        raise AnalyserError(
            "a process was killed, perhaps because memory was short: run it again with fewer --jobs"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.kill()
        for number, handler in before.items():
            signal.signal(number, handler)


def earlier(recording: Recording) -> Outcome | None:
    """The outcome of an earlier run; None if it did not come to its end, or is out of date."""
    try:
        if recording.events.stat().st_mtime_ns < recording.path.stat().st_mtime_ns:
            return None
        with recording.events.open("rb") as lines:
            *_, last = lines
        event = parse_event(last)
    except (FileNotFoundError, ValueError):
        return None
    return _outcome(recording, event) if isinstance(event, SessionEnded) else None


def _outcome(recording: Recording, ended: SessionEnded) -> Outcome:
    whole = ended.reason == "end"
    return Outcome(recording, ended, "" if whole else "damaged; what could be read was analysed")


def write_table(done: Sequence[Recording], results: Path) -> Path:
    """Write one table of all utterances, as ``export --format csv`` does of one file."""
    path = results / TABLE
    with path.open("w", encoding="utf-8", newline="") as table:
        table.write(BOM)
        table.writelines(to_csv(UTTERANCES, _rows(done)))
    return path


def _holds_table(file: Path) -> bool:
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        return lines.readline(BEGINNING).startswith(",".join([*UTTERANCES][:2]))


def _rows(done: Sequence[Recording]) -> Iterator[Row]:
    for one in done:
        with Results(one.events).sessions() as sessions:
            yield from utterance_rows(gather(sessions, {}))


def _interrupted(_: int, __: object) -> None:
    raise KeyboardInterrupt


# --- in the terminal ---


def work_off(
    inputs: Sequence[str], results: Path, options: Options, jobs: int | None, *, again: bool
) -> int:
    """Analyse what is not done yet, and tell of all in one table; gives the exit status.

    Args:
        jobs: how many at once; None: one a core.
        again: what is done already, too.

    Raises:
        UsageError: see `recordings`; or a file in `results` holds something else.
        AnalyserError: see `analyse_all`.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    every = recordings(inputs, results)
    results.mkdir(parents=True, exist_ok=True)
    for one in every:
        EventsFile(str(one.events), [str(one.path)], force=again)  # spares what holds no events
    spare_others(results / TABLE, "table of utterances", _holds_table, force=again)
    outcomes: dict[Recording, Outcome] = {}
    if not again:
        outcomes = {one: outcome for one in every if (outcome := earlier(one))}
    todo = [one for one in every if one not in outcomes]
    jobs = min(jobs or os.cpu_count() or 1, len(todo) or 1)
    console = console_on(standard_output())
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    bar = progress.add_task("recordings", total=len(every), completed=len(outcomes))
    try:
        with progress:
            for outcome in analyse_all(todo, options, jobs):
                outcomes[outcome.recording] = outcome
                progress.advance(bar)
                if outcome.problem:
                    complain(f"{shown(outcome.recording.name)}: {outcome.problem}")
    except KeyboardInterrupt:
        left = len(every) - len(outcomes)
        complain(f"stopped; {left} of {len(every)} are left: the same command goes on with them")
        return 130
    read = [outcomes[one] for one in every if outcomes[one].ended]
    console.print(_summary(read))
    table = write_table([outcome.recording for outcome in read], results)
    console.print(f"one row per utterance: {table}", markup=False, highlight=False, soft_wrap=True)
    if any(outcome.ended is None for outcome in outcomes.values()):
        return 2
    return int(any(outcome.problem for outcome in outcomes.values()))


def _summary(outcomes: Sequence[Outcome]) -> Table:
    table = Table("recording", "length", "utterances", "expressed on average")
    for outcome in outcomes:
        assert outcome.ended is not None
        average = outcome.ended.average
        table.add_row(
            Text(shown(outcome.recording.name)),
            clock(outcome.ended.time),
            str(outcome.ended.utterances),
            Text(expression(average.emotions, average.expressed) if average.utterances else ""),
        )
    return table


# --- in the processes ---

_analyzer: Analyzer


def _begin(options: Options) -> None:
    """Load the models, once a process."""
    global _analyzer
    for number in polite_endings():
        signal.signal(number, signal.SIG_IGN)  # of the terminal; the pool kills its processes
    from realtime.analyzers import load_analyzer

    _analyzer = load_analyzer(options.analyzer, options.profile, options.stt)


def _analyse(recording: Recording, options: Options) -> Outcome:
    try:
        return asyncio.run(_analysed(recording, options))
    except AnalyserError as error:
        return Outcome(recording, None, str(error))


async def _analysed(recording: Recording, options: Options) -> Outcome:
    """Analyse one; its events have their name when they are whole."""
    source = await open_source(
        str(recording.path),
        "fast",
        thinner=thinner_for(options.alone),
        audio_track=options.audio_track,
    )
    source.name = shown(recording.name)
    recording.events.parent.mkdir(parents=True, exist_ok=True)
    part = recording.events.with_name(f"{recording.events.name}.part")
    async with aclosing(source):
        session = LiveSession(source, _analyzer, alone=options.alone, baseline=options.baseline)
        with part.open("w", encoding="utf-8") as lines:
            async for event in session.events():
                print(event.model_dump_json(), file=lines)
    os.replace(part, recording.events)
    assert isinstance(event, SessionEnded)
    return _outcome(recording, event)
