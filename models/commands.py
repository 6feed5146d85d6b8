"""The commands of the models: which weights there are, how they are trained and how good they are.

In: arguments. Out: text or JSON. Everything heavy is imported by the command that needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from models.console import complain
from models.errors import UsageError
from models.overwriting import holds_drawing, spare_others, writing_json

if TYPE_CHECKING:
    from rich.progress import TaskID

    from models.training.loop import Progress as Training
    from models.training.loop import Result

PANEL = "Models: what is there, training, measurements"
"""Under which head these commands stand in the help."""

weights = typer.Typer()
training = typer.Typer()
evaluate = typer.Typer(help="Measure a model on recordings whose answers are known.")

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
Force = Annotated[
    bool,
    typer.Option("--force", help="Overwrite files that hold something else."),
]
Data = Annotated[
    Path,
    typer.Option(
        metavar="FOLDER",
        help="The folder with faces/, speech/ and text/; for paper, the one that mosei makes.",
    ),
]


@weights.callback(invoke_without_command=True)
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


@weights.command()
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


@training.command(rich_help_panel=PANEL)
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


@training.command(rich_help_panel=PANEL)
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
    train_model: Callable[..., tuple[object, dict[str, Result]]]
    if profile == "embedded":
        from models.training.fitting import train_embedded

        train_model = train_embedded
    elif profile == "paper":
        from models.training.paper import train_paper

        train_model = train_paper
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
        complain(str(error))


@evaluate.command("mer")
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
    with writing_json(json, force=force) as write:
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

    with writing_json(json, force=force) as write:
        report = evaluate_mosei(MERModel.load(profile), read_mosei(data))
        write(report.to_json())
    if json != "-":
        print(report)


@evaluate.command("stt")
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
    from rich.console import Console
    from rich.progress import Progress

    from models.acceleration import share_cores
    from models.stt import load_transcriber
    from models.stt.evaluation import evaluate

    share_cores()  # as in a session
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


@evaluate.command("sounds")
def evaluate_sounds(
    data: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Clips, and what they are in labels.tsv.")
    ],
    part: Annotated[
        Literal["train", "valid"],
        typer.Option(help="train: the clips on which the thresholds were chosen."),
    ] = "valid",
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure how often laughter, crying and the like are heard where they are, and are not."""
    from rich.console import Console
    from rich.progress import Progress

    from models.acceleration import share_cores
    from models.sounds.evaluation import evaluate
    from models.sounds.tagger import SoundTagger

    share_cores()  # as in a session
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("clips", total=None)
        report = evaluate(
            SoundTagger(),
            data,
            part,
            lambda done, total: progress.update(bar, completed=done, total=total),
        )
    print(report.to_json() if json else report)
