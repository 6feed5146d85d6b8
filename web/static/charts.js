// The two charts, drawn by Plotly in the colours of the style sheet.

import { EMOTIONS, expressed, expressedInWords } from "./emotions.js";

const CONFIG = { staticPlot: true };

// The room of a chart changes with the window, and with how many people are in a call.
const fitting = new ResizeObserver((entries) => {
  for (const { target } of entries) if (target.offsetWidth) Plotly.Plots.resize(target);
});

/** The six scores in `section`: the bars in its `.scores`, and in its `.expressed` what they say. */
export function drawScores(section, scores) {
  drawBars(section.querySelector(".scores"), scores);
  const words = section.querySelector(".expressed");
  words.textContent = expressedInWords(scores);
  words.classList.toggle("any", expressed(scores).length > 0);
}

/** Six bars with a dotted line at each threshold; what is above it has the other colour. */
function drawBars(root, scores) {
  const colours = palette();
  const emotions = EMOTIONS.toReversed(); // Plotly draws from the bottom up
  const values = emotions.map((emotion) => scores.emotions[emotion]);
  const above = emotions.map((emotion) => scores.emotions[emotion] > scores.thresholds[emotion]);
  const bars = {
    type: "bar",
    orientation: "h",
    x: values,
    y: emotions,
    text: values.map((value, row) => (above[row] ? `<b>${value.toFixed(2)}</b>` : value.toFixed(2))),
    textposition: "outside",
    cliponaxis: false,
    marker: { color: above.map((is) => (is ? colours.expressed : colours.bar)) },
  };
  const inWords = (emotion) =>
    `${emotion} ${scores.emotions[emotion].toFixed(2)} (threshold ${scores.thresholds[emotion].toFixed(2)})`;
  const lines = emotions.map((emotion, row) => {
    const x = scores.thresholds[emotion];
    const line = { color: colours.ink, width: 2, dash: "dot" };
    return { type: "line", x0: x, x1: x, y0: row - 0.48, y1: row + 0.48, line };
  });
  draw(root, [bars], {
    margin: { l: 78, r: 34, t: 4, b: 24 },
    bargap: 0.38,
    xaxis: { range: [0, 1], tickvals: [0, 0.25, 0.5, 0.75, 1], gridcolor: colours.line, zeroline: false },
    yaxis: { ticklen: 6, tickcolor: "transparent" },
    shapes: lines,
  }, colours, `${EMOTIONS.map(inWords).join(", ")}; ${expressedInWords(scores)}`);
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

function palette() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ink", "line", "bar", "expressed"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function draw(root, traces, layout, colours, words) {
  const font = { family: "system-ui, sans-serif", size: 12, color: colours.ink };
  const common = { paper_bgcolor: "transparent", plot_bgcolor: "transparent", font };
  Plotly.react(root, traces, { ...layout, ...common }, CONFIG);
  root.setAttribute("role", "img");
  root.setAttribute("aria-label", words);
  fitting.observe(root);
}
