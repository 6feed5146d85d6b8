"""The command line: `python run_live.py COMMAND --help` tells what each command does.

In: arguments. Out: text or JSON Lines, and an exit status: 0 done, 2 wrong usage or unreadable
input, 1 failure. Everything heavy is imported by the command that needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from models.errors import AnalyserError, UsageError
from models.libraries import cannot_load, opencv, unloadable
from realtime.leaving import leave
from realtime.naming import shown
from realtime.outputs import (
    EventsFile,
    Outputs,
    cannot_be_written,
    holds_drawing,
    holds_no_json,
    open_standard_streams,
    spare_others,
    standard_error,
)
from web.settings import DEFAULT_STORE, IceServer, Limits, ServerSettings

if TYPE_CHECKING:
    from rich.progress import TaskID

    from models.training.loop import Progress as Training
    from realtime.analysis import Analyzer
    from realtime.bench.cluster import ClusterMeasurement
    from realtime.bench.report import Measurement
    from realtime.events import Event
    from realtime.session import LiveSession
    from realtime.sources import Source
    from web.sessions.hub import Hub

app = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
)


Profile = Annotated[
    str, typer.Option(help="The emotion model: embedded, paper, or the path of a checkpoint.")
]
Stt = Annotated[
    str,
    typer.Option(
        metavar="ENGINE",
        help="The speech-to-text engine: moonshine, whisper, silero, an exact one such as "
        "whisper-base.en, none, or auto, which takes the best that is on this machine.",
    ),
]
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
Baseline = Annotated[
    Literal["off", "auto"],
    typer.Option(
        help="auto: learn how the person is at rest, from what looks neutral, and tell the scores "
        "without that as well.",
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Overwrite files that hold something else."),
]


def _with_limits(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` an option for each of `Limits`, in place of its parameter ``limits``."""
    types = get_type_hints(Limits)
    options = [
        inspect.Parameter(
            limit.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=limit.default,
            annotation=Annotated[
                types[limit.name],
                typer.Option(help=limit.metadata["about"], rich_help_panel="Limits"),
            ],
        )
        for limit in fields(Limits)
    ]

    @functools.wraps(command)
    def limited(**given: Any) -> None:
        limits = Limits(**{option.name: given.pop(option.name) for option in options})
        command(limits=limits, **given)

    own = inspect.signature(command, eval_str=True).parameters.values()
    parameters = [p.replace(kind=p.KEYWORD_ONLY) for p in own if p.name != "limits"] + options
    limited.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    limited.__annotations__ = {p.name: p.annotation for p in parameters}
    return limited


Port = Annotated[int, typer.Option(help="Where the dashboard listens; 0 takes any free port.")]
Store = Annotated[
    Path,
    typer.Option(
        envvar="LIVE_EMOTION_STORE",
        show_envvar=True,
        metavar="FILE",
        help="Where sessions are kept.",
        show_default="sessions.sqlite in ~/.local/share/live-emotion",
    ),
]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Open no browser.")]


@app.callback(invoke_without_command=True)
@_with_limits
def dashboard(
    *,
    context: typer.Context,
    host: Annotated[
        str,
        typer.Option(
            help="The address to listen at. At one that others can reach, everything takes a token."
        ),
    ] = "127.0.0.1",
    port: Port = 8000,
    no_browser: NoBrowser = False,
    profile: Profile = "embedded",
    stt: Stt = "auto",
    analyzer: Where = "local",
    token: Annotated[
        str | None,
        typer.Option(
            envvar="LIVE_EMOTION_TOKEN",
            show_envvar=True,
            help="What the host shows to be let in; left out, one is made where one is needed.",
        ),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Where browsers find this server through a proxy or tunnel, as "
            "https://emotions.example.org; may be given more than once.",
        ),
    ] = None,
    tls: Annotated[
        str | None,
        typer.Option(
            metavar="self-signed|CERTIFICATE,KEY",
            help="Encrypt: with a certificate made at start, or with these two PEM files.",
        ),
    ] = None,
    guest_hours: Annotated[
        float, typer.Option(min=0.01, help="How long the link to a call lets guests in.")
    ] = 24.0,
    allow_paths: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="Let the dashboard open files of this folder; may be given more than once.",
        ),
    ] = None,
    store: Store = DEFAULT_STORE,
    keep: Annotated[
        float | None,
        typer.Option(min=0.01, metavar="DAYS", help="Delete sessions after so many days."),
    ] = None,
    baseline: Baseline = "off",
    record: Annotated[
        bool,
        typer.Option("--record", help="Keep the sound and the faces of each utterance, too."),
    ] = False,
    log: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Write a line of JSON for each event, without words and scores; - for stderr.",
        ),
    ] = None,
    ice_server: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SERVER",
            help="For calls across networks: stun:HOST:PORT or turn:USER:PASSWORD@HOST:PORT; "
            "may be given more than once.",
        ),
    ] = None,
    limits: Limits,
) -> None:
    """Live multimodal emotion analysis: what was said and felt, utterance by utterance.

    Without a command: the dashboard in a browser, for cameras, recordings and calls.
    """
    if context.invoked_subcommand is None:
        certificate, _, key = (tls or "").partition(",")
        given = tls is not None and tls != "self-signed"
        if given and not (certificate and key):
            raise UsageError(f"{tls} is no --tls: give self-signed, or CERTIFICATE,KEY")
        settings = ServerSettings(
            host=host,
            port=port,
            token=token,
            origins=tuple(origin or ()),
            guest_hours=guest_hours,
            certificate=Path(certificate) if given else None,
            key=Path(key) if given else None,
            self_signed=tls == "self-signed",
            allow_paths=tuple(allow_paths or ()),
            store=store,
            keep_days=keep,
            baseline=baseline == "auto",
            record=record,
            limits=limits,
            ice_servers=tuple(IceServer.parse(text) for text in ice_server or ()),
        )
        _serve(settings, browser=not no_browser, models=(analyzer, profile, stt), log=log)
    elif any(
        (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE"
        for name in context.params
    ):
        raise UsageError(f"give the options of {context.invoked_subcommand} after it")


def _serve(
    settings: ServerSettings,
    *,
    browser: bool,
    models: tuple[str, str, str],
    log: str | None = None,
    first: Callable[[Hub], Awaitable[Source]] | None = None,
) -> None:
    from realtime.analyzers import load_analyzer
    from web.observability.logs import configure
    from web.server import serve

    opencv()  # what cannot be loaded is told at once: the models load while the page is shown
    if log is not None:
        configure(Path(log))
    serve(
        settings,
        lambda: load_analyzer(*models, settings.limits.stuck_s),
        told=lambda address: print(f"The dashboard is at {address} (Ctrl-C ends it)", flush=True),
        browser=browser,
        first=first,
    )


@app.command()
def watch(
    source: Annotated[
        str, typer.Argument(help="webcam, webcam:1, a sound or video file, an rtsp or http URL.")
    ],
    microphone: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="With webcam: its number or name, or off.")
    ] = None,
    camera: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="With webcam: its number or name, or off.")
    ] = None,
    audio_track: AudioTrack = None,
    events: Events = None,
    force: Force = False,
    baseline: Baseline = "off",
    profile: Profile = "embedded",
    stt: Stt = "auto",
    analyzer: Where = "local",
    web: Annotated[bool, typer.Option("--web", help="Show it in a browser.")] = False,
    port: Port = 8000,
    no_browser: NoBrowser = False,
    store: Store = DEFAULT_STORE,
) -> None:
    """Analyse one live source, showing what is said and felt as it happens.

    A file is played as if it were live. Ctrl-C ends the session with its average.
    """
    if web:
        if events is not None:
            raise UsageError("--events is not for --web: the page gives the results away")

        async def first(hub: Hub) -> Source:
            from realtime.sources import open_source

            if source.split(":")[0] == "webcam":
                await hub.ready()  # it delivers at once, and nobody would take it
            return await open_source(
                source,
                "live",
                audio_track=audio_track,
                microphone=microphone,
                camera=camera,
            )

        _serve(
            ServerSettings(port=port, store=store, baseline=baseline == "auto"),
            browser=not no_browser,
            models=(analyzer, profile, stt),
            first=first,
        )
        return
    models = analyzer, profile, stt
    file = EventsFile(events, [source], force=force)
    learns = baseline == "auto"
    watching = _watch(source, audio_track, microphone, camera, file, models, learns)
    raise typer.Exit(asyncio.run(watching))


async def _watch(
    spec: str,
    audio_track: str | None,
    microphone: str | None,
    camera: str | None,
    events: EventsFile,
    models: tuple[str, str, str],
    baseline: bool,
) -> int:
    from rich.console import Console

    from realtime.loading import load_in_thread
    from realtime.session import LiveSession
    from realtime.sources import open_source
    from realtime.terminal import LiveView, PlainView

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
            spec, "live", audio_track=audio_track, microphone=microphone, camera=camera
        )
        async with contextlib.aclosing(source):
            outputs = cleanup.enter_context(Outputs(events))
            session = LiveSession(source, analyzer or await load(), baseline=baseline)
            console = Console(file=outputs.screen)
            view = LiveView(console, session) if console.is_terminal else PlainView(console)
            with _stopped_by_signals(session), view:
                return await _follow(session, outputs, view.show)


@app.command()
def analyze(
    files: Annotated[list[str], typer.Argument(help="Sound or video files.")],
    audio_track: AudioTrack = None,
    events: Events = None,
    force: Force = False,
    baseline: Baseline = "off",
    profile: Profile = "embedded",
    stt: Stt = "auto",
    analyzer: Where = "local",
) -> None:
    """Analyse recordings as fast as this machine can, one after the other."""
    file = EventsFile(events, files, force=force)
    models = analyzer, profile, stt
    raise typer.Exit(asyncio.run(_analyze(files, audio_track, file, models, baseline == "auto")))


async def _analyze(
    files: list[str],
    audio_track: str | None,
    events: EventsFile,
    models: tuple[str, str, str],
    baseline: bool,
) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from realtime.loading import load_in_thread
    from realtime.session import LiveSession
    from realtime.sources import open_source
    from realtime.terminal import PlainView

    outputs = Outputs(events)
    results = Console(file=outputs.screen)
    # The bar and the results share a terminal if there is one; else the bar keeps to stderr.
    console = results if results.is_terminal else Console(file=standard_error())
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
                source = await open_source(file, "fast", audio_track=audio_track)
            except UsageError as error:
                _complain(str(error))
                statuses.append(2)
                continue
            async with contextlib.aclosing(source):
                if analyzer is None:
                    cleanup.enter_context(outputs)
                    analyzer = await load_in_thread(lambda: _load(*models))
                    cleanup.callback(analyzer.close)
                session = LiveSession(source, analyzer, baseline=baseline)
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
                _complain(f"{problem}; the analysis goes on without it")
            else:
                _complain(f"{problem}; the analysis ends")
                session.stop()
        if event.type == "session.ended" and event.reason == "source_error":
            status = 1
    return status


@contextlib.contextmanager
def _writing(path: str | None, *, force: bool) -> Iterator[Callable[[str], None]]:
    """How to write JSON: to a file, to standard output for ``-``, or to nowhere."""
    if path is None:
        yield lambda text: None
    elif path == "-":
        yield print
    else:
        spare_others(path, "JSON", lambda file: not holds_no_json(file), force=force)
        try:
            # What is there stays until there is something else to write.
            lines = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed below
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written ({error.strerror}): choose another path"
            ) from None

        def write(text: str) -> None:
            if os.path.isfile(path):  # pipes cannot be shortened
                lines.truncate(0)
            print(text, file=lines)

        with lines:
            yield write


@contextlib.contextmanager
def _stopped_by_signals(session: LiveSession) -> Iterator[None]:
    """While this lasts, Ctrl-C, a polite kill or a hangup ends the session; two, the program."""
    loop = asyncio.get_running_loop()

    def stop(number: int, _: object) -> None:
        signal.signal(number, before[number])
        loop.call_soon_threadsafe(session.stop)

    endings = [signal.SIGINT, signal.SIGTERM]
    # The terminal was closed, or the line to it was lost: unless nohup has said to go on then.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        endings.append(signal.SIGHUP)
    # signal.signal and not loop.add_signal_handler: Windows has only the former.
    before = {number: signal.signal(number, stop) for number in endings}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@app.command()
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


models_app = typer.Typer()
app.add_typer(models_app, name="models")


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """List the weights of every model: what for, how big, under which licence, here or not."""
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console
    from rich.table import Table

    from models.registry import listing

    table = Table("name", "purpose", "MB", "licence", "here")
    table.columns[0].no_wrap = True  # it is what one types
    for listed in listing():
        weights = listed.weights
        here = "yes" if listed.where else "no"
        size = f"{weights.size_mb:g}"
        table.add_row(weights.name, weights.purpose, size, weights.licence, here)
    Console().print(table)


@models_app.command()
def download(
    name: Annotated[str, typer.Argument(help="The name of the weights, as `models` lists it.")],
) -> None:
    """Fetch weights from their publisher, or from where $LIVE_EMOTION_MIRROR says.

    What Ctrl-C or a broken line interrupts goes on where it stopped, by the same command.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from models.registry import download as download_weights

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        bar = progress.add_task(name, total=None)
        where = download_weights(
            name, lambda here, total: progress.update(bar, completed=here, total=total)
        )
    print(where)


@app.command()
def mosei(
    videos: Annotated[
        Path, typer.Option(metavar="FOLDER", help="The full videos: Videos/Full/Combined.")
    ],
    transcripts: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Transcript/Segmented/Combined.")
    ],
    labels: Annotated[Path, typer.Option(metavar="FOLDER", help="The answers: Labels.")],
    splits: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Three lists of ids: train, valid and test.")
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The folder to make.")],
) -> None:
    """Cut the public release of CMU-MOSEI into what `train --profile paper` takes.

    What an interrupted run has cut is not cut again. What cannot be cut is listed and left out.
    """
    from collections import Counter

    import torch
    from rich.console import Console
    from rich.progress import Progress

    from models.training.mosei_raw import build_mosei

    torch.set_num_threads(1)  # videos are cut side by side, one a core
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("videos", total=None)
        built = build_mosei(
            videos,
            transcripts,
            labels,
            splits,
            out,
            on_progress=lambda built: progress.update(
                bar, completed=built.done, total=built.videos
            ),
        )
    print(f"{built.utterances} utterances of {built.videos} videos are in {out}")
    if built.left_out:
        print(f"{len(built.left_out)} were left out, see {out / 'left_out.tsv'}:")
    for why, count in Counter(built.left_out.values()).most_common():
        print(f"{count:>6} {why}")


Data = Annotated[
    Path,
    typer.Option(
        metavar="FOLDER",
        help="The folder with faces/, speech/ and text/; for paper, the one that mosei makes.",
    ),
]


@app.command()
def train(
    data: Data,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The checkpoint to write.")],
    profile: Annotated[str, typer.Option(help="The model: embedded or paper.")] = "embedded",
    seed: Annotated[int, typer.Option(help="The same seed gives the same weights.")] = 1,
    resume: Annotated[bool, typer.Option(help="Go on from what is beside FILE.")] = False,
    device: Annotated[str, typer.Option(help="Where to compute: auto, cpu or cuda.")] = "auto",
    force: Force = False,
) -> None:
    """Train an emotion model; its curves are drawn in FILE.png.

    A checkpoint and curves that are there already are replaced, other files only with --force.
    """
    import math

    from rich.console import Console
    from rich.progress import Progress, TimeRemainingColumn

    from models.mer.checkpoint import is_checkpoint
    from models.training.plots import draw_curves

    curves = out.with_name(out.name + ".png")
    for path in (out, curves):
        if path.is_dir():
            raise UsageError(f"{path} is a folder: choose another FILE")
    spare_others(out, "checkpoint", is_checkpoint, force=force)
    spare_others(curves, "curves", holds_drawing, force=force)
    if profile == "embedded":
        from models.training.fitting import train_embedded as train_model
    elif profile == "paper":
        from models.training.paper import train_paper as train_model
    else:
        raise UsageError(f"there is no profile {profile} to train: choose embedded or paper")

    columns = (*Progress.get_default_columns()[:3], TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bars: dict[str, TaskID] = {}

        def show(training: Training) -> None:
            stage, step, steps = training.stage, training.step, training.steps
            if stage not in bars:
                bars[stage] = progress.add_task(stage)
            loss = "" if math.isnan(training.loss) else f", loss {training.loss:.3f}"
            progress.update(bars[stage], total=steps, completed=step, description=stage + loss)
            if training.epoch is not None:
                figures = "".join(f", {name} {x:.3f}" for name, x in training.epoch.figures.items())
                line = f"{stage}: {step} of {steps} steps{loss}{figures}"
                progress.console.print(line, markup=False, highlight=False)

        report, results = train_model(
            data, out, seed=seed, resume=resume, device=device, on_progress=show
        )
    print(report)
    try:
        draw_curves(results, curves)
    except UsageError as error:  # the checkpoint is there all the same
        _complain(str(error))


evaluate_app = typer.Typer(help="Measure a model on recordings whose answers are known.")
app.add_typer(evaluate_app, name="evaluate")


@evaluate_app.command("mer")
def evaluate_mer(
    data: Data,
    profile: Profile = "embedded",
    json: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Also write all figures as JSON; - prints them alone."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="PATH.png", help="Also draw a picture; needs Matplotlib.")
    ] = None,
    card: Annotated[
        Path | None, typer.Option(metavar="PATH.md", help="Also renew the figures in a model card.")
    ] = None,
    force: Force = False,
) -> None:
    """Measure an emotion model on the validation sets; on CMU-MOSEI on the test part, too.

    Files of the kind that is written are replaced, others only with --force; of a card only its
    figures are.

    The card of the shipped model is made by: evaluate mer --data ../shared/data
    --card models/weights/CARD.md
    """
    if (data / "utterances.tsv").is_file():
        if plot is not None or card is not None:
            raise UsageError(f"{data} holds CMU-MOSEI: of that there is no picture and no card")
        _evaluate_mosei(data, profile, json, force=force)
        return
    if plot is not None:
        from models.training.picture import draw_report

        spare_others(plot, "drawing", holds_drawing, force=force)
    from models.training.card import around_figures, update_card
    from models.training.evaluation import evaluate as evaluate_model

    if card is not None:
        around_figures(card)  # what is wrong with it is told before the long measurement
    with _writing(json, force=force) as write:
        report = evaluate_model(profile, data)
        write(report.to_json())
    if json != "-":
        print(report)
    if plot is not None:
        draw_report(report, plot)
    if card is not None:
        update_card(card, profile, report)


def _evaluate_mosei(data: Path, profile: str, json: str | None, *, force: bool) -> None:
    from models.mer import MERModel
    from models.training.mosei import read_mosei
    from models.training.paper import evaluate_mosei

    with _writing(json, force=force) as write:
        report = evaluate_mosei(MERModel.load(profile), read_mosei(data))
        write(report.to_json())
    if json != "-":
        print(report)


@evaluate_app.command("stt")
def evaluate_stt(
    data: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            help="Clips with transcripts: transcripts.tsv (clip, tab, words) or CLIP.txt beside "
            "each, in the folder or below it.",
        ),
    ],
    stt: Stt = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure how many words a speech-to-text engine gets wrong, and how long it takes."""
    import torch
    from rich.console import Console
    from rich.progress import Progress

    from models.stt import load_transcriber
    from models.stt.evaluation import evaluate

    torch.set_num_threads(1)  # as in a session
    transcriber = load_transcriber(stt, stuck_s=3600)  # a clip may be long
    console = Console(stderr=True)
    try:
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            bar = progress.add_task(transcriber.name, total=None)
            report = evaluate(
                transcriber,
                data,
                lambda done, total: progress.update(bar, completed=done, total=total),
            )
    finally:
        transcriber.close()
    print(report.to_json() if json else report)


@app.command()
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


def _complain(problem: str) -> None:
    # Where it cannot be written either, the exit status tells.
    print(f"error: {shown(problem)}", file=standard_error(), flush=True)


def main() -> int:
    """Run the command line; returns the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what it cannot print must not end the program
            stream.reconfigure(errors="replace")
    try:
        return int(app(standalone_mode=False) or 0)
    except UsageError as error:
        _complain(str(error))
        return 2
    except AnalyserError as error:
        _complain(str(error))
        return 1
    except _WRONG_OPTIONS as error:
        command = error.ctx.command_path if error.ctx else "run_live.py"
        _complain(f"{error.format_message().rstrip('.')}; see: {command} --help")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except ImportError as error:
        _complain(str(unloadable(error)))
        return 2
    except OSError as error:
        return _failed(error)
    except SystemExit as error:  # by which the command line library tells of a closed pipe
        return int(error.code or 0)
    except Exception:
        traceback.print_exc()
        return 1


def _failed(error: OSError) -> int:
    """The exit status of an error of the system, which is told as far as it is to be expected."""
    if cannot_load(error):
        _complain(str(unloadable(error)))
        return 2
    if isinstance(error, BrokenPipeError):
        return 1  # whoever read our output has gone, as in `| head`
    if cannot_be_written(error):
        _complain(f"the output cannot be written ({error.strerror}): make room, or write elsewhere")
        return 1
    traceback.print_exception(error)
    return 1


# The command line library's own error for a wrong option, of which BadParameter is one kind.
_WRONG_OPTIONS = typer.BadParameter.__mro__[1]


if __name__ == "__main__":
    leave(main())
