"""A session shown in a terminal: a live view, or plain lines where there is no terminal.

In: events. Out: text on a rich console. Emotions are told by words and marks, not by colour alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from models.emotions import EMOTIONS, NEUTRAL
from realtime.attribution import Attribution, share_of_talk
from realtime.baseline import Adjusted
from realtime.events import (
    AverageUpdated,
    Event,
    SessionEnded,
    SessionStarted,
    SoundHeard,
    SourceWarning,
    SpeakerChanged,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    TranscriptPartial,
    UtteranceFailed,
    UtteranceProvisional,
    UtteranceResult,
    WireAverage,
    neutral_shown,
)

BAR = 30  # columns
_QUIETEST_DB = -60.0


class Audible(Protocol):
    """What has a level to show: a session."""

    @property
    def level_db(self) -> float:
        """Loudness of the last tenth of a second, dB relative to full scale."""


def clock(seconds: float) -> str:
    """Media time as minutes and seconds: ``01:02.35``."""
    return f"{int(seconds // 60):02d}:{seconds % 60:05.2f}"


def bar(probability: float, threshold: float | None = None) -> str:
    """A probability as `BAR` columns, with the threshold, if there is one, marked by a line."""
    filled = round(probability * BAR)
    cells = ["█" if i < filled else "·" for i in range(BAR)]
    if threshold is not None:
        mark = min(BAR - 1, int(threshold * BAR))
        cells[mark] = "┃" if mark < filled else "│"
    return "".join(cells)


def expression(
    emotions: Mapping[str, float],
    expressed: tuple[str, ...],
    contributions: Mapping[str, Mapping[str, float]] | None = None,
) -> str:
    """What was expressed, most probable first: ``happiness 0.71, surprise 0.40``, or ``none``.

    With contributions each says what moved it: ``happiness 0.71 (words +0.40, face -0.03)``.
    """
    ordered = sorted(expressed, key=lambda label: -emotions[label])
    parts = [f"{label} {emotions[label]:.2f}" for label in ordered]
    if contributions is not None:
        parts = [
            f"{part} ({moved_by(contributions[label])})"
            for part, label in zip(parts, ordered, strict=True)
        ]
    return ", ".join(parts) or "none"


def moved_by(contributions: Mapping[str, float]) -> str:
    """How much each modality moved one probability, the strongest first."""
    strongest = sorted(contributions, key=lambda name: -abs(contributions[name]))
    rounded = {name: round(contributions[name], 2) + 0.0 for name in strongest}  # + 0: no -0.00
    return ", ".join(f"{_PLAIN_NAMES[name]} {moved:+.2f}" for name, moved in rounded.items())


def _less_rest(adjusted: Adjusted) -> str:
    return f"less rest: {expression(adjusted.emotions, adjusted.expressed)}"


_PLAIN_NAMES = {"visual": "face", "acoustic": "voice", "textual": "words"}


class PlainView:
    """One line for each thing worth a line; for pipes and files."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._known = Attribution()
        self._several = False  # speakers; once there were, each line says who speaks
        self._sounds: Counter[str] = Counter()

    def __enter__(self) -> PlainView:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def show(self, event: Event) -> None:
        """Print what the event tells, if it is worth a line."""
        if isinstance(event, SessionStarted):
            self._known, self._several, self._sounds = Attribution(), False, Counter()
        self._known.take(event)
        self._several |= len(self._known.names) > 1
        if line := self._line(event):
            self._console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def _line(self, event: Event) -> str | None:
        match event:
            case SessionStarted():
                return f"source    {event.source}  (model {event.profile}, words {event.stt})"
            case UtteranceResult():
                late = event.latency.end_to_result
                delay = "" if late is None else f"  {late:.2f} s after its end"
                said = event.transcript
                words = f'"{said.text}"' if said.text else said.shown
                speaker = self._known.of(event).speaker if self._several else None
                who = f"{speaker.name}: " if speaker else ""
                less_rest = f"{_less_rest(event.adjusted)}  " if event.adjusted else ""
                return (
                    f"{clock(event.start)}-{clock(event.end)}  {who}{words}  "
                    f"expressed: "
                    f"{expression(event.emotions, event.expressed, event.contributions)}  "
                    f"{NEUTRAL} {neutral_shown(event.neutral)}  "
                    f"{less_rest}[{len(event.faces)} faces]{delay}"
                )
            case UtteranceFailed():
                span = f"{clock(event.start)}-{clock(event.end)}"
                return f"{span}  failed in {event.stage}: {event.message}"
            case SoundHeard():
                self._sounds[event.kind] += 1
                return f"{clock(event.start)}-{clock(event.end)}  [{event.kind}]"
            case SourceWarning():
                return f"warning   {event.message}"
            case SpeakerChanged(speaker=number, name=name, gone=None):
                return f"speaker   {number} is now called {name}"
            case SpeakerChanged(speaker=number, name=name, gone=gone):
                return f"speaker   {gone} is the same as {number} ({name})"
            case SessionEnded():
                average = event.average
                counts = ", ".join(f"{kind} {n}" for kind, n in self._sounds.most_common())
                sounds = f"sounds    {counts}\n" if counts else ""
                if not average.utterances:
                    return f"{sounds}ended     {_ENDINGS[event.reason]}; no utterance was heard"
                each = ", ".join(f"{label} {p:.2f}" for label, p in average.emotions.items())
                adjusted = average.adjusted
                beyond = f"          {_less_rest(adjusted)}\n" if adjusted else ""
                return (
                    f"average   {average.utterances} utterances: {each}; "
                    f"{NEUTRAL} {neutral_shown(average.neutral)}\n"
                    f"          expressed on average: "
                    f"{expression(average.emotions, average.expressed)}\n"
                    f"{beyond}"
                    f"{_each_speaker(average)}"
                    f"{sounds}"
                    f"ended     {_ENDINGS[event.reason]}"
                )
        return None


def _each_speaker(average: WireAverage) -> str:
    """A line for each; none if there is one, for whom the average has told it."""
    if len(average.speakers) < 2:
        return ""
    return "".join(
        f"speaker   {speaker.name}: {share_of_talk(speaker, average)} of the talk, expressed on "
        f"average: {expression(speaker.emotions, speaker.expressed)}\n"
        for speaker in average.speakers
    )


_ENDINGS = {
    "end": "the source ended",
    "stopped": "stopped",
    "source_error": "the source broke; everything before it was analysed",
    "cut_off": "cut off, because its server was killed",
}


class LiveView:
    """The whole session on one screen, redrawn as it goes; results scroll by above it."""

    def __init__(self, console: Console, session: Audible) -> None:
        self._console = console
        self._session = session
        self._plain = PlainView(console)
        self._speaking = False
        self._now = 0.0
        self._partial = ""
        self._last: UtteranceResult | None = None
        self._provisional: UtteranceProvisional | None = None
        self._average: AverageUpdated | None = None
        self._source = ""
        self._live = Live(
            console=console, get_renderable=self.screen, refresh_per_second=8, transient=True
        )

    def __enter__(self) -> LiveView:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, event: Event) -> None:
        """Take the event into the picture; results, warnings and the end are printed above it."""
        self._now = max(self._now, event.time)
        match event:
            case SessionStarted():
                self._source = event.source
            case SpeechStarted() | SpeechResumed():
                self._speaking = True
            case SpeechPaused():
                self._speaking = False
            case TranscriptPartial():
                self._partial = event.text
            case UtteranceProvisional():
                self._provisional = event
            case UtteranceResult():
                self._last, self._partial, self._provisional = event, "", None
            case UtteranceFailed():
                self._partial, self._provisional = "", None
            case AverageUpdated():
                self._average = event
        self._plain.show(event)

    def screen(self) -> RenderableType:
        """The picture of this moment."""
        speaking = Text("● speech ", style="bold green")
        light = speaking if self._speaking else Text("○ silence", style="dim")
        level = max(0.0, 1 - self._session.level_db / _QUIETEST_DB)
        meter = "▮" * round(level * 20)
        head = Text.assemble(
            light, "  level ", (f"{meter:<20}", "cyan"), f"  {clock(self._now)}", style="default"
        )
        columns = Table.grid(padding=(0, 3))
        columns.add_row(self._utterance(), self._running())
        parts: list[RenderableType] = [head, Text(f"… {self._partial}", style="italic"), columns]
        if self._last and not self._provisional:
            for label in self._last.expressed:
                parts.append(Text(f"{label}: {moved_by(self._last.contributions[label])}"))
        if self._last and self._last.latency.end_to_result is not None:
            stages = ", ".join(f"{k} {v:.2f}" for k, v in self._last.latency.stages.items())
            late = self._last.latency.end_to_result
            parts.append(Text(f"result {late:.2f} s after the utterance ({stages} s)", style="dim"))
        # Not as wide as the terminal: the ^C that it echoes must not break the last line.
        return Panel(Group(*parts), title=Text(self._source), title_align="left", expand=False)

    def _utterance(self) -> RenderableType:
        shown = self._provisional or self._last
        if shown is None:
            return Text("no utterance yet", style="dim")
        so_far = " (so far)" if self._provisional else ""
        title = f"utterance {shown.utterance}{so_far}"
        return _bars(title, shown)

    def _running(self) -> RenderableType:
        if self._average is None:
            return Text("")
        return _bars(f"average of {self._average.utterances}", self._average)


def _bars(
    title: str, scores: UtteranceProvisional | UtteranceResult | AverageUpdated
) -> RenderableType:
    """Six bars with their thresholds; what is expressed is bright and marked with a star.

    Neutral stands apart below them, dim: it has no threshold.
    """
    lines = Text(f"{title}\n", style="bold")
    for label in EMOTIONS:
        above = label in scores.expressed
        style = "bold magenta" if above else "blue"
        lines.append(f"{'*' if above else ' '} {label:<9} ", style="bold" if above else "default")
        lines.append(bar(scores.emotions[label], scores.thresholds[label]), style=style)
        lines.append(f" {scores.emotions[label]:.2f}\n", style="bold" if above else "default")
    neutral = f"\n  {NEUTRAL:<9} {bar(scores.neutral or 0)} {neutral_shown(scores.neutral)}\n"
    lines.append(neutral, style="dim")
    return lines
