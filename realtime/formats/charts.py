"""The charts of the report: what Plotly is to draw, and the script that has it drawn.

In: scores, utterances and notes. Out: figures, and points of the chart over time.
"""

from __future__ import annotations

from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

from models.emotions import EMOTIONS, NEUTRAL, OUTPUTS
from realtime.events import NoteChanged, UtteranceResult, WireAverage, neutral_shown

Figure: TypeAlias = dict[str, Any]
"""What Plotly draws: ``data`` and ``layout``."""

_EXPRESSED, _NOT_EXPRESSED, _GREY = "#b02a6f", "#7d93a8", "#868c93"

_COLOURS = ("#b8860b", "#1f6fb4", "#c0392b", "#6c3fa0", "#2e7d32", "#d2691e")
_MARKS = ("circle", "square", "diamond", "cross", "x", "triangle-up")


@cache
def plotly_js() -> Path:
    """Plotly's JavaScript, as the installed package has it."""
    return Path(str(files("plotly") / "package_data" / "plotly.min.js"))


def bars(scores: UtteranceResult | WireAverage) -> Figure:
    """Six bars, those above their dotted threshold in another colour; apart from them neutral."""
    values = [scores.emotions[label] for label in EMOTIONS]
    colours = [_EXPRESSED if label in scores.expressed else _NOT_EXPRESSED for label in EMOTIONS]
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
                "marker": {"color": [*colours, _GREY]},
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


def _traces() -> list[Figure]:
    """Of the chart over time: each emotion, and neutral as a dashed line; without their points."""
    common = {"type": "scatter", "mode": "lines+markers"}
    emotions = [
        {
            **common,
            "name": label,
            "line": {"color": _COLOURS[place], "width": 1.5},
            "marker": {"symbol": _MARKS[place], "size": 7},
        }
        for place, label in enumerate(EMOTIONS)
    ]
    neutral = {
        **common,
        "name": NEUTRAL,
        "line": {"color": _GREY, "width": 1.5, "dash": "dash"},
        "marker": {"symbol": "circle-open", "size": 7},
    }
    return [*emotions, neutral]


def point(event: UtteranceResult) -> list[object]:
    """Of the chart over time: the middle of the utterance, its words, and each score."""
    words = escape(event.transcript.shown)  # Plotly takes some tags
    scores = [event.emotions[label] for label in EMOTIONS]
    return [(event.start + event.end) / 2, words, *scores, event.neutral]


def note_point(note: NoteChanged) -> list[object]:
    """Of the chart over time: what a note is about, and its text."""
    return [note.at, escape(note.text)]


_LAYOUT: Figure = {
    "yaxis": {"range": [0, 1.08], "title": {"text": "probability"}},
    "margin": {"l": 55, "r": 15, "t": 15, "b": 45},
    "height": 330,
    "font": {"family": "system-ui, sans-serif", "color": "#222"},
}

_NOTES: Figure = {
    "type": "scatter",
    "mode": "markers",
    "name": "notes",
    "hoverinfo": "x+text",
    "marker": {"symbol": "triangle-down", "size": 10, "color": "#222"},
}

OVER_TIME: Figure = {
    "traces": _traces(),
    "notes": _NOTES,
    "layout": {**_LAYOUT, "xaxis": {"title": {"text": "seconds"}, "rangemode": "tozero"}},
}
"""The chart over time, without its points."""

DRAW = """
const options = { responsive: true, displayModeBar: false };
for (const [id, { data, layout }] of Object.entries(figures))
  Plotly.newPlot(id, data, layout, options);
for (const [id, points] of Object.entries(utterances)) {
  const column = (place) => points.map((point) => point[place]);
  const [x, text] = [column(0), column(1)];
  const drawn = (trace, place) => ({ ...trace, x, text, y: column(place + 2) });
  const { traces, notes, layout } = structuredClone(timeline);
  const all = traces.map(drawn);
  if (noted[id].length)
    all.push({ ...notes, x: noted[id].map(([at]) => at), y: noted[id].map(() => 1.04),
      text: noted[id].map(([, text]) => text) });
  if (points.length) Plotly.newPlot(`time-${id}`, all, layout, options);
}
// A chart is as wide as its place on the screen, which paper is not.
const resize = (layout) => {
  for (const chart of document.querySelectorAll(".chart")) Plotly.relayout(chart, layout(chart));
};
addEventListener("beforeprint", () => resize((chart) => (
  { width: chart.closest(".charts") ? 340 : 680, height: 230, "font.size": 9 })));
addEventListener("afterprint", () => resize(() => (
  { autosize: true, width: null, height: 330, "font.size": 12 })));
"""
"""JavaScript that draws `figures` in the places with their ids; and, with `timeline`, which is
`OVER_TIME`, the `utterances` and what is `noted`, by the ids of their sessions."""
