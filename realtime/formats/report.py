"""A report that needs no server and no network: one page of charts, words and a table.

In: `Findings` of one or more people. Out: HTML with Plotly's JavaScript in it, piece by piece.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from models.emotions import EMOTIONS, OUTPUTS
from models.prosody import Prosody
from realtime.attribution import share_of_talk
from realtime.events import (
    UtteranceFailed,
    UtteranceResult,
    WireAverage,
    WireSpeakerAverage,
    neutral_shown,
)
from realtime.formats.charts import DRAW, OVER_TIME, Figure, bars, note_point, plotly_js, point
from realtime.formats.findings import Findings

_SPANS = 12  # of each kind of sound that are told

PRINTED = 25
"""Utterances of each person that are printed: those which are clearest, and fit on one page."""


def report(title: str, people: Sequence[Findings]) -> Iterator[str]:
    """The whole page. Printed, it takes two sheets of A4 for each person."""
    figures: dict[str, Figure] = {}
    noted = {found.session["id"]: [*map(note_point, found.notes)] for found in people}
    name = f"{escape(title)}: estimates of emotion"
    yield f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{name}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{name}</h1>
<p>These are estimates of a model, from faces, voices and words. They tell how an utterance comes
across, not what a person feels, and they can be wrong.</p>
<p>Neutral tells how likely it is that none of the six emotions is expressed. It is an estimate of
its own, so the seven need not add up to 1.</p>
"""
    for found in people:
        yield from _section(found, figures)
    yield f"""{"" if people else "<p>Nobody has taken part.</p>"}
</main>
<script>"""
    yield plotly_js().read_text(encoding="utf-8")
    yield f"""</script>
<script>
const figures = {_script(figures)};
const timeline = {_script(OVER_TIME)};
const noted = {_script(noted)};
const utterances = {{}};
"""
    for found in people:
        yield f"utterances[{_script(found.session['id'])}] = ["
        for event in found.results():
            yield f"{_script(point(event))},\n"
        yield "];\n"
    yield f"""{DRAW}</script>
</body>
</html>
"""


@dataclass(frozen=True)
class _Counted:
    """What has to be known of the utterances before they are told.

    Attributes:
        last: None if none could be analysed.
        printed: numbers of the clearest.
    """

    analysed: int
    failed: int
    last: UtteranceResult | None
    printed: frozenset[int]


def _count_utterances(found: Findings) -> _Counted:
    analysed = failed = 0
    last: UtteranceResult | None = None
    clearest: list[tuple[float, int]] = []
    for event in found.utterances():
        if isinstance(event, UtteranceFailed):
            failed += 1
            continue
        analysed, last = analysed + 1, event
        above = max(event.emotions[label] - event.thresholds[label] for label in EMOTIONS)
        put = heapq.heappush if len(clearest) < PRINTED else heapq.heappushpop
        put(clearest, (above, event.utterance))
    return _Counted(analysed, failed, last, frozenset(number for _, number in clearest))


def _section(found: Findings, figures: dict[str, Figure]) -> Iterator[str]:
    """One person; adds what is to be drawn to `figures`, by the id of its place."""
    session, counted = found.session, _count_utterances(found)
    id = session["id"]
    name = found.person or session["name"]
    models = (
        f" Emotions by the model {found.started.profile}, words by {found.started.stt}."
        if found.started
        else ""
    )
    begun = f", begun {session['started'][:16].replace('T', ' ')} UTC" if session["started"] else ""
    failed = f", {counted.failed} failed" if counted.failed else ""
    yield f"""<section aria-labelledby="name-{id}">
<h2 id="name-{id}">{escape(name)}</h2>
<p>{escape(session["source"])}{begun},
{_clock(session["time"])} long. {_count(counted.analysed, "utterance")} analysed\
{failed}.{escape(models)}</p>
"""
    warnings = (f"{_clock(told.time)}: {escape(told.message)}" for told in found.warnings())
    yield from _list("Warnings", warnings, printed=3)
    if counted.last is not None:
        yield _charts(found, counted.last, figures)
        yield _people(found, name)
    notes = (f"{_clock(note.at)}: {escape(note.text)}" for note in found.notes)
    yield from _list("Notes", notes, printed=8)
    yield from _list("Sounds", _sounds(found), printed=3)
    yield from _table(found, name, counted)
    yield "</section>\n"


def _charts(found: Findings, last: UtteranceResult, figures: dict[str, Figure]) -> str:
    id, average = found.session["id"], found.average
    titles = {
        "average": f"Average of {_count(average.utterances, 'utterance')}",
        "last": f"Last utterance, {last.utterance}",
    }
    figures[f"average-{id}"] = bars(average)
    figures[f"last-{id}"] = bars(last)
    in_words = {
        "average": f"{_in_words(average)}{_voice(average.prosody)}",
        "last": f"“{escape(last.transcript.shown)}” {_in_words(last)}{_voice(last.prosody)}",
    }
    charts = "".join(
        f"""<div><h3>{titles[which]}</h3>
<div class="chart" id="{which}-{id}" role="img" aria-label="Chart; told in words below"></div>
<p>{in_words[which]}</p></div>
"""
        for which in titles
    )
    return f"""<div class="charts">{charts}</div>
<h3>Over time</h3>
<div class="chart" id="time-{id}" role="img" aria-label="Chart; told in words below"></div>
"""


def _in_words(scores: UtteranceResult | WireAverage) -> str:
    emotions, thresholds = scores.emotions, scores.thresholds
    each = ", ".join(
        f"<b>{label} {emotions[label]:.2f}</b>, above its threshold of {thresholds[label]:.2f}"
        if label in scores.expressed
        else f"{label} {emotions[label]:.2f} (threshold {thresholds[label]:.2f})"
        for label in sorted(EMOTIONS, key=lambda label: -emotions[label])
    )
    found = " and ".join(scores.expressed) or "none of the six"
    words = f"Expressed: {found}. In full: {each}. Neutral: {neutral_shown(scores.neutral)}."
    if scores.adjusted is None:
        return words
    found = " and ".join(scores.adjusted.expressed) or "none of the six"
    return f"{words} Less what is usual for this person at rest, expressed: {found}."


def _voice(prosody: Prosody | None) -> str:
    """How it was said, in a sentence; nothing where there was no sound."""
    if prosody is None:
        return ""
    parts = []
    if prosody.pitch_hz is not None:
        low, high = prosody.pitch_low_hz, prosody.pitch_high_hz
        parts.append(f"pitch {prosody.pitch_hz:.0f} Hz ({low:.0f} to {high:.0f})")
    if prosody.loudness_lufs is not None:
        parts.append(f"loudness {prosody.loudness_lufs:.0f} LUFS")
    if prosody.words_per_s is not None:
        parts.append(f"{prosody.words_per_s:.1f} words a second")
    parts.append(f"{prosody.paused_s:.1f} s of pauses in an utterance")
    return f" Voice: {', '.join(parts)}."


def _people(found: Findings, name: str) -> str:
    """The average of each speaker; nothing if there is one."""
    if not found.several:
        return ""
    heads = "".join(f'<th scope="col">{label}</th>' for label in EMOTIONS)
    rows = "".join(
        f"""<tr><th scope="row">{escape(speaker.name)}</th>\
<td>{share_of_talk(speaker, found.average)}</td><td>{speaker.utterances}</td>\
<td>{", ".join(speaker.expressed) or "none"}</td>{_means(speaker)}</tr>
"""
        for speaker in found.average.speakers
    )
    return f"""<h3>People</h3>
<div class="wide" tabindex="0" role="region" aria-label="People in {escape(name)}">
<table>
<thead><tr><th scope="col">Name</th><th scope="col">Share of talk</th>
<th scope="col">Utterances</th><th scope="col">Expressed on average</th>{heads}</tr></thead>
<tbody>{rows}</tbody>
</table></div>
"""


def _list(heading: str, items: Iterable[str], *, printed: int) -> Iterator[str]:
    """Under a heading, of which paper has the first few; nothing if there is none."""
    count = 0
    for count, item in enumerate(items, 1):
        if count == 1:
            yield f"<h3>{heading}</h3><ul>"
        kind = "" if count <= printed else ' class="screen"'
        yield f"<li{kind}>{item}</li>"
    if count > printed:
        yield f'<li class="print">and {count - printed} more, on the screen</li>'
    if count:
        yield "</ul>\n"


def _sounds(found: Findings) -> Iterator[str]:
    """How often each kind was heard, and when."""
    times: dict[str, list[str]] = {}
    for event in found.sounds():
        times.setdefault(event.kind, []).append(f"{_clock(event.start)} to {_clock(event.end)}")
    for kind, spans in sorted(times.items()):
        more = f" and {len(spans) - _SPANS} more" if len(spans) > _SPANS else ""
        yield f"{kind}, {_count(len(spans), 'time')}: {', '.join(spans[:_SPANS])}{more}"


def _table(found: Findings, name: str, counted: _Counted) -> Iterator[str]:
    heads = "".join(f'<th scope="col">{label}</th>' for label in OUTPUTS)
    speaker = '<th scope="col">Speaker</th>' if found.several else ""
    part = (
        f'<p class="print">The {PRINTED} clearest of {counted.analysed}.</p>'
        if counted.analysed > PRINTED
        else ""
    )
    yield f"""<h3>Utterances</h3>{part}
<div class="wide" tabindex="0" role="region" aria-label="Utterances of {escape(name)}">
<table>
<thead><tr><th scope="col">No.</th><th scope="col">From</th><th scope="col">To</th>{speaker}
<th scope="col">Words</th><th scope="col">Confidence</th>
<th scope="col">Expressed</th>{heads}</tr></thead>
<tbody>"""
    if not counted.analysed + counted.failed:
        yield '<tr><td colspan="13">No utterance was heard.</td></tr>'
    for event in found.utterances():
        if isinstance(event, UtteranceFailed):
            yield _failed_row(event, found)
        else:
            yield _row(event, found, printed=event.utterance in counted.printed)
    yield """</tbody>
</table></div>
"""


def _means(scores: UtteranceResult | WireSpeakerAverage) -> str:
    return "".join(
        f'<td class="above">{p:.2f}</td>' if label in scores.expressed else f"<td>{p:.2f}</td>"
        for label, p in ((label, scores.emotions[label]) for label in EMOTIONS)
    )


def _row(event: UtteranceResult, found: Findings, *, printed: bool) -> str:
    name = event.speaker.name if event.speaker else ""
    speaker = f"<td>{escape(name)}</td>" if found.several else ""
    sure = event.transcript.confidence
    kind = "" if printed else ' class="screen"'
    return f"""<tr{kind}>{_span(event)}{speaker}\
<td class="words"><div>{escape(event.transcript.shown)}</div></td>\
<td>{"" if sure is None else f"{sure:.2f}"}</td>\
<td>{", ".join(event.expressed) or "none"}</td>{_means(event)}\
<td class="apart">{neutral_shown(event.neutral)}</td></tr>
"""


def _failed_row(event: UtteranceFailed, found: Findings) -> str:
    return f"""<tr class="screen">{_span(event)}<td colspan="{10 + found.several}">\
Could not be analysed ({escape(event.stage)}): {escape(event.message)}</td></tr>
"""


def _span(event: UtteranceResult | UtteranceFailed) -> str:
    return (
        f'<th scope="row">{event.utterance}</th>'
        f"<td>{_clock(event.start)}</td><td>{_clock(event.end)}</td>"
    )


def _script(value: object) -> str:
    """`value` as JavaScript, in which no "</script>" can end the script."""
    return json.dumps(value).replace("<", "\\u003c")


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 0 }
main { max-width: 72rem; margin: auto; padding: 1rem }
section { border-top: 2px solid #ccc; margin-top: 2rem }
.charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)) }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #ddd }
.above { font-weight: bold; color: #b02a6f }
.apart, th:last-child { border-left: 1px solid #ddd }
.print { display: none }
@page { size: A4; margin: 12mm }
@media print {
  body { font-size: 9pt; line-height: 1.3 }
  main { padding: 0; max-width: none }
  h1 { font-size: 15pt; margin: 0 } h2 { font-size: 12pt; margin: .3rem 0 }
  h3 { font-size: 10pt; margin: .3rem 0 } p { margin: .3rem 0 }
  section + section { break-before: page }
  .charts { grid-template-columns: 1fr 1fr }
  .wide { overflow: visible }
  table { font-size: 7pt }
  .words { min-width: 14rem }
  .words div { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2;
    overflow: hidden }
  li { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2;
    overflow: hidden }
  th, td { padding: .1rem .25rem }
  tr, .chart { break-inside: avoid }
  .screen { display: none }
  .print { display: revert }
}
"""


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _clock(seconds: float) -> str:
    """Minutes, seconds and tenths: ``1:02.4``."""
    minutes, tenths = divmod(round(seconds * 10), 600)
    return f"{minutes}:{tenths // 10:02d}.{tenths % 10}"
