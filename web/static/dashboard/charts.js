// The two charts, drawn by Plotly in the colours of the style sheet.

import { probability } from "../common/format.js";
import { EMOTIONS, NEUTRAL, expressed, expressedInWords, lessRestInWords } from "../common/emotions.js";

const CONFIG = { staticPlot: true };
const APART = 0.5; // rows between the six and neutral

// The room of a chart changes with the window, and with how many people are in a call.
const fitting = new ResizeObserver((entries) => {
  for (const { target } of entries) if (target.offsetWidth) Plotly.Plots.resize(target);
});

/** The scores in `section`: the bars in its `.scores`, and in its `.expressed` what they say. */
export function drawScores(section, scores) {
  drawBars(section.querySelector(".scores"), scores);
  const words = section.querySelector(".expressed");
  words.textContent = expressedInWords(scores);
  words.classList.toggle("any", expressed(scores).length > 0);
  section.querySelector(".less-rest").textContent = lessRestInWords(scores);
}

/**
 * Six bars with a dotted line at each threshold; what is above it has the other colour. Neutral
 * stands apart below them, without a line.
 */
function drawBars(root, scores) {
  const colours = palette();
  const values = EMOTIONS.map((emotion) => scores.emotions[emotion]);
  const above = EMOTIONS.map((emotion) => scores.emotions[emotion] > scores.thresholds[emotion]);
  const rows = EMOTIONS.map((_, index) => EMOTIONS.length + APART - index); // Plotly counts upwards
  const bars = {
    type: "bar",
    orientation: "h",
    x: [...values, scores.neutral ?? 0],
    y: [...rows, 0],
    text: [
      ...values.map((value, index) => (above[index] ? `<b>${value.toFixed(2)}</b>` : value.toFixed(2))),
      probability(scores.neutral),
    ],
    textposition: "outside",
    cliponaxis: false,
    marker: { color: [...above.map((is) => (is ? colours.expressed : colours.bar)), colours.neutral] },
  };
  const inWords = (emotion) =>
    `${emotion} ${scores.emotions[emotion].toFixed(2)} (threshold ${scores.thresholds[emotion].toFixed(2)})`;
  const lines = EMOTIONS.map((emotion, index) => {
    const x = scores.thresholds[emotion];
    const line = { color: colours.ink, width: 2, dash: "dot" };
    return { type: "line", x0: x, x1: x, y0: rows[index] - 0.48, y1: rows[index] + 0.48, line };
  });
  const said = [
    EMOTIONS.map(inWords).join(", "),
    `apart from these ${NEUTRAL} ${probability(scores.neutral)}`,
    expressedInWords(scores),
    lessRestInWords(scores),
  ].filter(Boolean);
  const less = scores.adjusted && {
    mode: "markers",
    x: EMOTIONS.map((emotion) => scores.adjusted.emotions[emotion]),
    y: rows,
    marker: { symbol: "diamond-open", size: 9, color: colours.ink, line: { width: 2 } },
    cliponaxis: false,
    showlegend: false,
  };
  draw(root, less ? [bars, less] : [bars], {
    showlegend: false,
    margin: { l: 78, r: 34, t: 4, b: 24 },
    bargap: 0.38,
    xaxis: { range: [0, 1], tickvals: [0, 0.25, 0.5, 0.75, 1], gridcolor: colours.line, zeroline: false },
    yaxis: {
      tickvals: bars.y,
      ticktext: [...EMOTIONS, NEUTRAL],
      range: [-0.5, rows[0] + 0.5],
      ticklen: 6,
      tickcolor: "transparent",
      showgrid: false,
      zeroline: false,
    },
    shapes: lines,
  }, colours, said.join("; "));
}

/** The sound of an utterance: `waveform`, pairs of least and greatest sample, over `duration` s. */
export function drawWaveform(root, waveform, duration) {
  const colours = palette();
  const step = duration / waveform.length;
  const times = waveform.map((_, index) => (index + 0.5) * step);
  const loudest = Math.max(0.05, ...waveform.flat().map(Math.abs));
  const edge = (side) => ({
    x: times,
    y: waveform.map((pair) => pair[side]),
    mode: "lines",
    line: { color: colours.bar, width: 1 },
    fill: side ? "tonexty" : "none",
    fillcolor: colours.bar,
  });
  draw(root, [edge(0), edge(1)], {
    margin: { l: 4, r: 4, t: 2, b: 20 },
    showlegend: false,
    xaxis: { range: [0, duration], ticksuffix: " s", nticks: 6, showgrid: false, zeroline: false },
    yaxis: { range: [-loudest, loudest], visible: false },
  }, colours, `Waveform of ${duration.toFixed(1)} seconds`);
}

/** Call `redraw` whenever the colours change. */
export function onColourChange(redraw, options) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw, options);
}

let known = null; // reading the colours makes the browser work out the style of the whole page
onColourChange(() => (known = null));

function palette() {
  if (known) return known;
  const style = getComputedStyle(document.documentElement);
  const names = ["ink", "line", "bar", "expressed", "neutral"];
  known = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  return known;
}

function draw(root, traces, layout, colours, words) {
  const font = { family: "system-ui, sans-serif", size: 12, color: colours.ink };
  const common = { paper_bgcolor: "transparent", plot_bgcolor: "transparent", font };
  Plotly.react(root, traces, { ...layout, ...common }, CONFIG);
  root.setAttribute("role", "img");
  root.setAttribute("aria-label", words);
  fitting.observe(root);
}
