"""The commands that analyse: a live source, recordings; and how quick this machine is.

In: arguments. Out: text or JSON Lines. Everything heavy is imported by the command that needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from models.commands import Force, Profile, Stt
from models.console import complain, console_on, standard_error
from models.errors import UsageError
from models.libraries import opencv
from models.naming import shown
from realtime.leaving import polite_endings
from realtime.outputs import EventsFile, Outputs

if TYPE_CHECKING:
    from rich.progress import TaskID

    from realtime.analysis import Analyzer
    from realtime.bench.cluster import ClusterMeasurement
    from realtime.bench.report import Measurement
    from realtime.events import Event
    from realtime.session import LiveSession

app = typer.Typer()

Where = Annotated[
    str,
    typer.Option(
        "--analyzer",
        metavar="local|ray|ray:ADDRESS",
        help="Where the models work: in this program, or on a Ray cluster.",
    ),
]
AudioTrack = Annotated[
    str | None,
    typer.Option(
        metavar="N|LANG",
        help="Of a recording with several tracks of sound, which one: its number, from 1, or its "
        "language, as eng; left out, the best one that is not silent.",
    ),
]
Events = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="Also write each event as a line of JSON; - for stdout."),
]
People = Annotated[
    Literal["auto", "1"],
    typer.Option("--speakers", help="1: one person; nobody looks for others, which saves time."),
]
Osc = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Also send each result there, by OSC."),
]
Lsl = Annotated[
    bool, typer.Option("--lsl", help="Also send each result by Lab Streaming Layer (LSL).")
]
FormatName = Literal[
    "json", "csv", "faces", "sounds", "notes", "parquet", "vtt", "srt", "eaf", "textgrid", "bids",
    "bids-sidecar", "report",
]  # fmt: skip
Baseline = Annotated[
    Literal["off", "auto"],
    typer.Option(
        help="auto: learn how the person is at rest, from what looks neutral, and tell the scores "
        "without that as well.",
    ),
]


async def watch_in_terminal(
    spec: str,
    audio_track: str | None,
    microphone: str | None,
    camera: str | None,
    events: EventsFile,
    models: tuple[str, str, str],
    baseline: bool,
    alone: bool,
    osc: str | None,
    lsl: bool,
) -> int:
    """Analyse one live source on the screen until it ends or is stopped; gives the exit status."""
    from realtime.loading import load_in_thread
    from realtime.media import thinner_for
    from realtime.outlets.lsl import LslOutlet, pylsl
    from realtime.outlets.osc import OscOutlet
    from realtime.session import LiveSession
    from realtime.sources import open_source
    from realtime.terminal import LiveView, PlainView

    outputs = Outputs(events)
    if osc is not None:
        outputs.add(OscOutlet(osc))
    if lsl:
        pylsl()  # what is missing is told before the models load
    with contextlib.ExitStack() as cleanup:

        async def load() -> Analyzer:
            analyzer = await load_in_thread(lambda: _load(*models))
            cleanup.callback(analyzer.close)
            return analyzer

        # What is wrong with a file is said before the models load. A device is opened only
        # after that: it delivers at once, and nobody would take it.
        device = spec.split(":")[0] == "webcam"
        analyzer = await load() if device else None
        source = await open_source(
            spec,
            "live",
            thinner=thinner_for(alone),
            audio_track=audio_track,
            microphone=microphone,
            camera=camera,
        )
        async with contextlib.aclosing(source):
            cleanup.enter_context(outputs)
            analyzer = analyzer or await load()
            session = LiveSession(source, analyzer, alone=alone, baseline=baseline)
            if lsl and session.clock:
                outputs.add(LslOutlet(session.id, session.clock))
            console = console_on(outputs.screen)
            view = LiveView(console, session) if console.is_terminal else PlainView(console)
            with _stopped_by_signals(session), view:
                return await _follow(session, outputs, view.show)


@app.command(rich_help_panel="Analyse")
def analyze(
    files: Annotated[
        list[str], typer.Argument(help="Sound or video files; with --results, also folders.")
    ],
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Analyse several at a time; write the events of each to this folder, and one "
            "table of all. What is there already is not done again.",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="With --results: how many at a time; left out, one a core."),
    ] = None,
    audio_track: AudioTrack = None,
    events: Events = None,
    force: Force = False,
    speakers: People = "auto",
    baseline: Baseline = "off",
    profile: Profile = "embedded",
    stt: Stt = "auto",
    analyzer: Where = "local",
) -> None:
    """Analyse recordings as fast as this machine can, one after the other or side by side."""
    if results is not None:
        if events is not None:
            raise UsageError("--events is one file for all, --results a file for each: choose one")
        if analyzer == "ray":  # else each process would begin a cluster of its own
            raise UsageError("--results needs the address of the cluster: --analyzer ray:HEAD:6379")
        from realtime.archive import Options, work_off

        opencv()  # what cannot be loaded is told before anything begins
        options = Options(analyzer, profile, stt, audio_track, baseline == "auto", speakers == "1")
        raise typer.Exit(work_off(files, results, options, jobs, again=force))
    if jobs is not None:
        raise UsageError("--jobs is for --results, the folder for what is found: name one")
    file = EventsFile(events, files, force=force)
    models = analyzer, profile, stt
    learns, alone = baseline == "auto", speakers == "1"
    raise typer.Exit(asyncio.run(_analyze(files, audio_track, file, models, learns, alone)))


async def _analyze(
    files: list[str],
    audio_track: str | None,
    events: EventsFile,
    models: tuple[str, str, str],
    baseline: bool,
    alone: bool,
) -> int:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from realtime.loading import load_in_thread
    from realtime.media import thinner_for
    from realtime.session import LiveSession
    from realtime.sources import open_source
    from realtime.terminal import PlainView

    outputs = Outputs(events)
    results = console_on(outputs.screen)
    # The bar and the results share a terminal if there is one; else the bar keeps to stderr.
    console = results if results.is_terminal else console_on(standard_error())
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    view = PlainView(results)
    analyzer: Analyzer | None = None
    statuses = [0]
    with contextlib.ExitStack() as cleanup, progress:
        for file in files:
            try:
                source = await open_source(
                    file, "fast", thinner=thinner_for(alone), audio_track=audio_track
                )
            except UsageError as error:
                complain(str(error))
                statuses.append(2)
                continue
            async with contextlib.aclosing(source):
                if analyzer is None:
                    cleanup.enter_context(outputs)
                    analyzer = await load_in_thread(lambda: _load(*models))
                    cleanup.callback(analyzer.close)
                session = LiveSession(source, analyzer, alone=alone, baseline=baseline)
                bar = progress.add_task(source.name, total=source.duration)

                def show(event: Event, bar: TaskID = bar) -> None:
                    progress.update(bar, completed=event.time)
                    view.show(event)

                with _stopped_by_signals(session):
                    statuses.append(await _follow(session, outputs, show))
                progress.remove_task(bar)
                if session.stopped:
                    break
    return 1 if 1 in statuses else max(statuses)


def _load(analyzer: str, profile: str, stt: str) -> Analyzer:
    from realtime.analyzers import load_analyzer

    opencv()  # what cannot be loaded is told before the rest has taken its seconds
    return load_analyzer(analyzer, profile, stt)


async def _follow(session: LiveSession, outputs: Outputs, show: Callable[[Event], None]) -> int:
    """Run a session to its end, passing its events on; returns the exit status it deserves."""
    status = 0
    async for event in session.events():
        outputs.write(event)
        show(event)
        for problem in outputs.failures():
            status = 1
            if outputs.working:
                complain(f"{problem}; the analysis goes on without it")
            else:
                complain(f"{problem}; the analysis ends")
                session.stop()
        if event.type == "session.ended" and event.reason == "source_error":
            status = 1
    return status


@contextlib.contextmanager
def _stopped_by_signals(session: LiveSession) -> Iterator[None]:
    """While this lasts, Ctrl-C, a polite kill or a hangup ends the session; two, the program."""
    loop = asyncio.get_running_loop()

    def stop(number: int, _: object) -> None:
        signal.signal(number, before[signal.Signals(number)])
        loop.call_soon_threadsafe(session.stop)

    # signal.signal and not loop.add_signal_handler: Windows has only the former.
    before = {number: signal.signal(number, stop) for number in polite_endings()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@app.command(rich_help_panel="Analyse")
def export(
    file: Annotated[
        Path, typer.Argument(help="A store that no server uses, or what --events has written.")
    ],
    format: Annotated[FormatName, typer.Option("--format", help="What to write.")] = "csv",
    output: Annotated[
        Path | None, typer.Option(help="Where; left out, to the standard output.")
    ] = None,
    session: Annotated[
        str | None, typer.Option(metavar="ID", help="Of several sessions, this one.")
    ] = None,
    speakers: Annotated[bool, typer.Option(help="Whether captions name who speaks.")] = True,
    emotions: Annotated[bool, typer.Option(help="Whether captions tell emotions.")] = True,
    force: Force = False,
) -> None:
    """Write what was found as a table, captions, annotations or a report."""
    from realtime.formats.catalogue import FORMATS, Wish
    from realtime.formats.findings import gather
    from realtime.formats.pieces import in_pieces
    from realtime.reading import Results

    if output is not None and os.path.exists(output):
        if file.exists() and output.samefile(file):
            raise UsageError(f"{output} is what is to be exported: choose another path")
        if not force:
            raise UsageError(f"{output} exists: choose another path, or overwrite it with --force")
    chosen = FORMATS[format]
    with Results(file, session).sessions() as sessions, contextlib.ExitStack() as cleanup:
        if chosen.one_time and len(sessions) > 1:
            raise UsageError(
                f"{file} holds {len(sessions)} sessions: name one by --session, as "
                f"{sessions[-1].id}, the last"
            )
        title = sessions[0].name if sessions else file.name
        wish = Wish(title, together=len(sessions) != 1, speakers=speakers, emotions=emotions)
        pieces = in_pieces(chosen.write(gather(sessions, {}), wish))
        try:
            to = sys.stdout.buffer if output is None else cleanup.enter_context(output.open("wb"))
        except OSError as error:
            raise UsageError(
                f"{output} cannot be written ({error.strerror}): choose another path"
            ) from None
        to.writelines(pieces)
        to.flush()


@app.command(rich_help_panel="Analyse")
def devices() -> None:
    """List the microphones and cameras of this computer."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from realtime.sources import list_devices

    found = list_devices()
    if not found:
        raise UsageError("no microphone and no camera was found: plug one in, or watch a file")
    table = Table("kind", "number", "name", "default")
    for device in found:
        # Text: a name in brackets is no markup.
        name, default = Text(shown(device.name)), "yes" if device.default else ""
        table.add_row(device.kind, str(device.index), name, default)
    Console().print(table)


@app.command(rich_help_panel="Measure")
def bench(
    recording: Annotated[str, typer.Argument(help="A sound or video file in which one speaks.")],
    profile: Profile = "embedded",
    stt: Stt = "auto",
    analyzer: Where = "local",
    most_streams: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="How many live streams to try at once, at most.",
            show_default="8, on a cluster 4",
        ),
    ] = None,
    most_replicas: Annotated[
        int, typer.Option(min=1, help="On a cluster: how many replicas of each model to try.")
    ] = 2,
    soak: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            metavar="HOURS",
            help="Also play it over and over, for so many hours of media at full speed, "
            "and tell how memory grew.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure how quick this machine is, and on how many live streams at once.

    The recording is played live to its end; its first 40 s in 2, 4, 6, ... streams until they
    are too many; then at full speed, beside a path that does one step after the other.

    For a recording of two minutes that takes about seven.

    With --analyzer ray: its first 40 s in 1, 2, 4 streams for 1, 2 replicas of each model, and what
    it costs that each utterance crosses the network.
    """

    def tell(step: str) -> None:
        print(f"measuring: {step}", file=sys.stderr, flush=True)

    measurement: Measurement | ClusterMeasurement
    if analyzer == "local":
        from realtime.bench.local import measure

        measurement = asyncio.run(
            measure(
                recording,
                profile=profile,
                stt=stt,
                most_streams=most_streams or 8,
                soak_hours=soak,
                on_progress=tell,
            )
        )
    else:
        if soak is not None:
            raise UsageError("--soak is not for a cluster: leave out --analyzer")
        from realtime.analyzers import check_cluster

        check_cluster(analyzer)
        from realtime.bench.cluster import measure_cluster

        measurement = asyncio.run(
            measure_cluster(
                recording,
                analyzer,
                profile=profile,
                stt=stt,
                most_streams=most_streams or 4,
                most_replicas=most_replicas,
                on_progress=tell,
            )
        )
    print(measurement.model_dump_json(indent=2) if json else measurement)
