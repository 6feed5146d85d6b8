"""A report that needs no server and no network: one page of charts, words and a table.

In: what one or more people have shown. Out: HTML, with Plotly's JavaScript in it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

from models.emotions import EMOTIONS, NEUTRAL, OUTPUTS
from realtime.attribution import share_of_talk
from realtime.events import (
    UtteranceFailed,
    UtteranceResult,
    WireAverage,
    WireSpeakerAverage,
    neutral_shown,
)
from web.exports.findings import Findings

Figure: TypeAlias = dict[str, Any]
"""What Plotly draws: ``data`` and ``layout``."""

EXPRESSED, NOT_EXPRESSED, GREY = "#b02a6f", "#7d93a8", "#868c93"

_COLOURS = ("#b8860b", "#1f6fb4", "#c0392b", "#6c3fa0", "#2e7d32", "#d2691e")
_MARKS = ("circle", "square", "diamond", "cross", "x", "triangle-up")


@cache
def plotly_js() -> Path:
    """Plotly's JavaScript, as the installed package has it."""
    return Path(str(files("plotly") / "package_data" / "plotly.min.js"))


def report(title: str, people: Sequence[Findings]) -> str:
    """The whole page."""
    figures: dict[str, Figure] = {}
    sections = "".join(_section(found, figures) for found in people)
    charts = json.dumps(figures).replace("<", "\\u003c")  # "</script>" must not end the script
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{escape(title)}: what was said and felt</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title)}: what was said and felt</h1>
<p>These are estimates of a model, from faces, voices and words. They tell how an utterance comes
across, not what a person feels, and they can be wrong.</p>
<p>Neutral tells how likely it is that none of the six emotions is expressed. It is an estimate of
its own, so the seven need not add up to 1.</p>
{sections or "<p>Nobody has taken part.</p>"}
</main>
<script>{plotly_js().read_text(encoding="utf-8")}</script>
<script>
for (const [id, {{ data, layout }}] of Object.entries({charts}))
  Plotly.newPlot(id, data, layout, {{ responsive: true, displayModeBar: false }});
</script>
</body>
</html>
"""


def _section(found: Findings, figures: dict[str, Figure]) -> str:
    """One person; adds what is to be drawn to `figures`, by the id of its place."""
    session, average, results = found.session, found.average, found.results
    id = session["id"]
    name = found.person or session["name"]
    models = (
        f" Emotions by the model {found.started.profile}, words by {found.started.stt}."
        if found.started
        else ""
    )
    failed = len(found.utterances) - len(results)
    head = f"""<section aria-labelledby="name-{id}">
<h2 id="name-{id}">{escape(name)}</h2>
<p>{escape(session["source"])}, begun {escape(session["started"])},
{_clock(session["time"])} long. {_count(len(results), "utterance")} analysed\
{f", {failed} failed" if failed else ""}.{escape(models)}</p>
"""
    warnings = "".join(
        f"<li>{_clock(warning.time)}: {escape(warning.message)}</li>" for warning in found.warnings
    )
    if warnings:
        head += f"<h3>Warnings</h3><ul>{warnings}</ul>\n"
    if not results:
        return head + f"{_table(found, name)}</section>\n"
    last = results[-1]
    titles = {
        "average": f"Average of {_count(average.utterances, 'utterance')}",
        "last": f"Last utterance, {last.utterance}",
    }
    figures[f"average-{id}"] = _bars(average)
    figures[f"last-{id}"] = _bars(last)
    figures[f"time-{id}"] = _timeline(results)
    in_words = {
        "average": _in_words(average),
        "last": f"“{escape(last.transcript.shown)}” {_in_words(last)}",
    }
    charts = "".join(
        f"""<div><h3>{titles[which]}</h3>
<div class="chart" id="{which}-{id}" role="img" aria-label="Chart; told in words below"></div>
<p>{in_words[which]}</p></div>
"""
        for which in titles
    )
    return f"""{head}{_people(found, name)}<div class="charts">{charts}</div>
<h3>Timeline</h3>
<div class="chart" id="time-{id}" role="img" aria-label="Chart; told in words below"></div>
{_table(found, name)}</section>
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


def _table(found: Findings, name: str) -> str:
    heads = "".join(f'<th scope="col">{label}</th>' for label in OUTPUTS)
    speaker = '<th scope="col">Speaker</th>' if found.several else ""
    rows = "".join(
        _failed_row(event, found) if isinstance(event, UtteranceFailed) else _row(event, found)
        for event in found.utterances
    )
    return f"""<h3>Utterances</h3>
<div class="wide" tabindex="0" role="region" aria-label="Utterances of {escape(name)}">
<table>
<thead><tr><th scope="col">No.</th><th scope="col">From</th><th scope="col">To</th>{speaker}
<th scope="col">Words</th><th scope="col">Confidence</th>
<th scope="col">Expressed</th>{heads}</tr></thead>
<tbody>{rows or '<tr><td colspan="13">No utterance was heard.</td></tr>'}</tbody>
</table></div>
"""


def _means(scores: UtteranceResult | WireSpeakerAverage) -> str:
    return "".join(
        f'<td class="above">{p:.2f}</td>' if label in scores.expressed else f"<td>{p:.2f}</td>"
        for label, p in ((label, scores.emotions[label]) for label in EMOTIONS)
    )


def _row(event: UtteranceResult, found: Findings) -> str:
    name = event.speaker.name if event.speaker else ""
    speaker = f"<td>{escape(name)}</td>" if found.several else ""
    sure = event.transcript.confidence
    return f"""<tr>{_span(event)}{speaker}<td>{escape(event.transcript.shown)}</td>\
<td>{"" if sure is None else f"{sure:.2f}"}</td>\
<td>{", ".join(event.expressed) or "none"}</td>{_means(event)}\
<td class="apart">{neutral_shown(event.neutral)}</td></tr>
"""


def _failed_row(event: UtteranceFailed, found: Findings) -> str:
    return f"""<tr>{_span(event)}<td colspan="{10 + found.several}">Could not be analysed \
({escape(event.stage)}): {escape(event.message)}</td></tr>
"""


def _span(event: UtteranceResult | UtteranceFailed) -> str:
    return (
        f'<th scope="row">{event.utterance}</th>'
        f"<td>{_clock(event.start)}</td><td>{_clock(event.end)}</td>"
    )


def _bars(scores: UtteranceResult | WireAverage) -> Figure:
    """Six bars, those above their dotted threshold in another colour; apart from them neutral."""
    values = [scores.emotions[label] for label in EMOTIONS]
    colours = [EXPRESSED if label in scores.expressed else NOT_EXPRESSED for label in EMOTIONS]
    return {
        "data": [
            {
                "type": "bar",
                "x": OUTPUTS,
                "y": [*values, scores.neutral or 0],
                "text": [*(f"{value:.2f}" for value in values), neutral_shown(scores.neutral)],
                "textposition": "outside",
                "cliponaxis": False,
                "hoverinfo": "x+y",
                "marker": {"color": [*colours, GREY]},
            }
        ],
        "layout": {
            **_LAYOUT,
            "showlegend": False,
            "xaxis": {"categoryorder": "array", "categoryarray": [*EMOTIONS, "", NEUTRAL]},
            "shapes": [
                {
                    "type": "line",
                    "x0": place - 0.45,
                    "x1": place + 0.45,
                    "y0": scores.thresholds[label],
                    "y1": scores.thresholds[label],
                    "line": {"dash": "dot", "width": 2, "color": "#111"},
                }
                for place, label in enumerate(EMOTIONS)
            ],
        },
    }


def _timeline(results: Sequence[UtteranceResult]) -> Figure:
    """Each emotion over the media time of the utterances, and neutral as a dashed line."""
    middles = [(event.start + event.end) / 2 for event in results]
    words = [escape(event.transcript.shown) for event in results]  # Plotly takes some tags
    common = {"type": "scatter", "mode": "lines+markers", "x": middles, "text": words}
    emotions = [
        {
            **common,
            "name": label,
            "y": [event.emotions[label] for event in results],
            "line": {"color": _COLOURS[place], "width": 1.5},
            "marker": {"symbol": _MARKS[place], "size": 7},
        }
        for place, label in enumerate(EMOTIONS)
    ]
    neutral = {
        **common,
        "name": NEUTRAL,
        "y": [event.neutral for event in results],
        "line": {"color": GREY, "width": 1.5, "dash": "dash"},
        "marker": {"symbol": "circle-open", "size": 7},
    }
    return {
        "data": [*emotions, neutral],
        "layout": {**_LAYOUT, "xaxis": {"title": {"text": "seconds"}, "rangemode": "tozero"}},
    }


_LAYOUT: Figure = {
    "yaxis": {"range": [0, 1.08], "title": {"text": "probability"}},
    "margin": {"l": 55, "r": 15, "t": 15, "b": 45},
    "height": 330,
    "font": {"family": "system-ui, sans-serif", "color": "#222"},
}

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
@media print { section, tr { break-inside: avoid } }
"""


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _clock(seconds: float) -> str:
    """Minutes, seconds and tenths: ``1:02.4``."""
    minutes, tenths = divmod(round(seconds * 10), 600)
    return f"{minutes}:{tenths // 10:02d}.{tenths % 10}"
