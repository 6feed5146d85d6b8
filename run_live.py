"""The command line: `python run_live.py COMMAND --help` tells what each command does.

In: arguments. Out: text or JSON Lines, and an exit status: 0 done, 2 wrong usage or unreadable
input, 1 failure. Everything heavy is imported by the command that needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from models.errors import AnalyserError, UsageError

if TYPE_CHECKING:
    from rich.progress import TaskID

    from realtime.analysis import UtteranceAnalyzer
    from realtime.events import Event
    from realtime.session import LiveSession
    from realtime.terminal import PlainView

app = typer.Typer(
    help="Live multimodal emotion analysis: what was said and felt, utterance by utterance.",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _no_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


Profile = Annotated[
    str, typer.Option(help="The emotion model: embedded, paper, or the path of a checkpoint.")
]
Stt = Annotated[str, typer.Option(help="The speech-to-text engine: sphinx.")]
Events = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="Also write each event as a line of JSON; - for stdout."),
]


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
    events: Events = None,
    profile: Profile = "embedded",
    stt: Stt = "sphinx",
) -> None:
    """Analyse one live source, showing what is said and felt as it happens.

    A file is played as if it were live. Ctrl-C ends the session with its average.
    """
    raise typer.Exit(asyncio.run(_watch(source, microphone, camera, events, profile, stt)))


async def _watch(
    spec: str,
    microphone: str | None,
    camera: str | None,
    events: str | None,
    profile: str,
    stt: str,
) -> int:
    from rich.console import Console

    from realtime.analysis import UtteranceAnalyzer
    from realtime.session import LiveSession
    from realtime.sources import open_source
    from realtime.terminal import LiveView, PlainView

    with _event_lines(events) as lines, contextlib.ExitStack() as cleanup:

        async def load() -> UtteranceAnalyzer:
            analyzer = await asyncio.to_thread(UtteranceAnalyzer.load, profile, stt)
            cleanup.callback(analyzer.close)
            return analyzer

        # What is wrong with a file is said before the models load. A device is opened only
        # after that: it delivers at once, and nobody would take it.
        device = spec.split(":")[0] == "webcam"
        analyzer = await load() if device else None
        source = await open_source(spec, "live", microphone=microphone, camera=camera)
        async with contextlib.aclosing(source):
            session = LiveSession(source, analyzer or await load())
            console = Console(stderr=events == "-")
            view = LiveView(console, session) if console.is_terminal else PlainView(console)
            with _stopped_by_signals(session), view:
                return await _follow(session, lines, view.show)


@app.command()
def analyze(
    files: Annotated[list[str], typer.Argument(help="Sound or video files.")],
    events: Events = None,
    profile: Profile = "embedded",
    stt: Stt = "sphinx",
) -> None:
    """Analyse recordings as fast as this machine can, one after the other."""
    raise typer.Exit(asyncio.run(_analyze(files, events, profile, stt)))


async def _analyze(files: list[str], events: str | None, profile: str, stt: str) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from realtime.analysis import UtteranceAnalyzer
    from realtime.session import LiveSession
    from realtime.sources import open_source
    from realtime.terminal import PlainView

    results = Console(stderr=events == "-")
    # The bar and the results share a terminal if there is one; else the bar keeps to stderr.
    console = results if results.is_terminal else Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    analyzer: UtteranceAnalyzer | None = None
    statuses = [0]
    with _event_lines(events) as lines, progress:
        try:
            for file in files:
                try:
                    source = await open_source(file, "fast")
                except UsageError as error:
                    _complain(error)
                    statuses.append(2)
                    continue
                async with contextlib.aclosing(source):
                    if analyzer is None:
                        analyzer = await asyncio.to_thread(UtteranceAnalyzer.load, profile, stt)
                    session = LiveSession(source, analyzer)
                    bar = progress.add_task(Path(file).name, total=source.duration)
                    view = PlainView(results)

                    def show(event: Event, bar: TaskID = bar, view: PlainView = view) -> None:
                        progress.update(bar, completed=event.time)
                        view.show(event)

                    with _stopped_by_signals(session):
                        statuses.append(await _follow(session, lines, show))
                    progress.remove_task(bar)
                    if session.stopped:
                        break
        finally:
            if analyzer is not None:
                analyzer.close()
    return 1 if 1 in statuses else max(statuses)


async def _follow(session: LiveSession, lines: TextIO | None, show: Callable[[Event], None]) -> int:
    """Run a session to its end, passing its events on; returns the exit status it deserves."""
    status = 0
    async for event in session.events():
        if lines is not None:
            print(event.model_dump_json(), file=lines, flush=True)
        show(event)
        if event.type == "session.ended" and event.reason == "source_error":
            status = 1
    return status


@contextlib.contextmanager
def _event_lines(path: str | None) -> Iterator[TextIO | None]:
    """Where events are written as JSON Lines: a file, standard output for ``-``, or nowhere."""
    if path is None:
        yield None
    elif path == "-":
        yield sys.stdout
    else:
        try:
            lines = open(path, "w", encoding="utf-8")  # noqa: SIM115 - closed below
        except OSError as error:
            raise UsageError(
                f"events cannot be written to {path} ({error.strerror}): choose another path"
            ) from None
        with lines:
            yield lines


@contextlib.contextmanager
def _stopped_by_signals(session: LiveSession) -> Iterator[None]:
    """While this lasts, Ctrl-C or a polite kill ends the session; a second one, the program."""
    loop = asyncio.get_running_loop()

    def stop(number: int, _: object) -> None:
        signal.signal(number, before[number])
        loop.call_soon_threadsafe(session.stop)

    # signal.signal and not loop.add_signal_handler: Windows has only the former.
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
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

    from realtime.sources import list_devices

    found = list_devices()
    if not found:
        raise UsageError("no microphone and no camera was found: plug one in, or watch a file")
    table = Table("kind", "number", "name", "default")
    for device in found:
        table.add_row(device.kind, str(device.index), device.name, "yes" if device.default else "")
    Console().print(table)


@app.command()
def models() -> None:
    """List the weights of every model: what for, how big, under which licence, here or not."""
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


Data = Annotated[
    Path, typer.Option(metavar="FOLDER", help="The folder with faces/, speech/ and text/.")
]


@app.command()
def train(
    data: Data,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The checkpoint to write.")],
    profile: Annotated[str, typer.Option(help="The backbones: embedded or paper.")] = "embedded",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data.")] = 3,
    seed: Annotated[int, typer.Option(help="The same seed gives the same weights.")] = 1,
    resume: Annotated[bool, typer.Option(help="Go on from what is beside FILE.")] = False,
) -> None:
    """Train an emotion model; writes the checkpoint after every epoch."""
    from rich.console import Console
    from rich.progress import Progress, TimeRemainingColumn

    from models.training import Progress as Training
    from models.training import train as train_model

    columns = (*Progress.get_default_columns()[:3], TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("training", total=None)

        def show(training: Training) -> None:
            progress.update(
                bar,
                total=training.steps,
                completed=training.step,
                description=f"loss {training.loss:.3f}",
            )
            if training.report is not None:
                progress.console.print(str(training.report), markup=False, highlight=False)

        report = train_model(
            data,
            out,
            profile=profile,
            epochs=epochs,
            seed=seed,
            resume=resume,
            on_progress=show,
        )
    print(report)


@app.command()
def evaluate(
    data: Data,
    profile: Profile = "embedded",
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure an emotion model on the validation sets."""
    from models.training import evaluate as evaluate_model

    report = evaluate_model(profile, data)
    print(report.to_json() if json else report)


@app.command()
def bench(
    recording: Annotated[str, typer.Argument(help="A sound or video file in which one speaks.")],
    profile: Profile = "embedded",
    stt: Stt = "sphinx",
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure how quick this machine is: once at live pace, once at full speed."""
    from realtime.analysis import UtteranceAnalyzer
    from realtime.bench import measure

    analyzer = UtteranceAnalyzer.load(profile, stt)
    try:
        measurement = asyncio.run(measure(recording, analyzer))
    finally:
        analyzer.close()
    print(measurement.model_dump_json(indent=2) if json else measurement)


def _complain(error: AnalyserError) -> None:
    print(f"error: {error}", file=sys.stderr)


def main() -> int:
    """Run the command line; returns the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        return int(app(standalone_mode=False) or 0)
    except UsageError as error:
        _complain(error)
        return 2
    except AnalyserError as error:
        _complain(error)
        return 1
    except _WRONG_OPTIONS as error:
        command = error.ctx.command_path if error.ctx else "run_live.py"
        message = error.format_message().rstrip(".")
        print(f"error: {message}; see: {command} --help", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone, as in `| head`; Python must not complain at its exit.
        sys.stdout = None  # type: ignore[assignment]
        return 1


# The command line library's own error for a wrong option, of which BadParameter is one kind.
_WRONG_OPTIONS = typer.BadParameter.__mro__[1]


if __name__ == "__main__":
    sys.exit(main())
