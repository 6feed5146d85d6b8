// The scores as bars; and the sound of an utterance, drawn by Plotly in the colours of the style sheet.

import { make } from "../common/dom.js";
import { probability } from "../common/format.js";
import { EMOTIONS, NEUTRAL, expressed, expressedInWords, lessRestInWords } from "../common/emotions.js";

const CONFIG = { staticPlot: true };

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
 * stands apart below them, without a line. Elements, because each result draws two of them anew:
 * drawn by Plotly, they were most of the 71 ms of CPU that a result cost the page.
 */
function drawBars(root, scores) {
  if (!root.firstChild) root.append(...[...EMOTIONS, NEUTRAL].map(row), axis());
  const rows = root.querySelectorAll(".row");
  EMOTIONS.forEach((emotion, index) => {
    const value = scores.emotions[emotion];
    const threshold = scores.thresholds[emotion];
    rows[index].classList.toggle("above", value > threshold);
    at(rows[index], ".threshold", threshold);
    fill(rows[index], value, value.toFixed(2));
    const rest = rows[index].querySelector(".rest");
    rest.hidden = !scores.adjusted;
    if (scores.adjusted) at(rows[index], ".rest", scores.adjusted.emotions[emotion]);
  });
  fill(rows[EMOTIONS.length], scores.neutral ?? 0, probability(scores.neutral));
  const inWords = (emotion) =>
    `${emotion} ${scores.emotions[emotion].toFixed(2)} (threshold ${scores.thresholds[emotion].toFixed(2)})`;
  const said = [
    EMOTIONS.map(inWords).join(", "),
    `apart from these ${NEUTRAL} ${probability(scores.neutral)}`,
    expressedInWords(scores),
    lessRestInWords(scores),
  ];
  root.setAttribute("role", "img");
  root.setAttribute("aria-label", said.filter(Boolean).join("; "));
}

function row(label) {
  const apart = label === NEUTRAL;
  const marks = apart ? ["bar", "value"] : ["bar", "threshold", "rest", "value"];
  const track = make("span", { className: "track" }, ...marks.map((className) => make("span", { className })));
  const classes = apart ? "row apart" : "row";
  return make("div", { className: classes }, make("span", { className: "label" }, label), track);
}

function axis() {
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((value) => make("span", {}, String(value)));
  return make("div", { className: "axis" }, ...ticks);
}

function fill(row, value, text) {
  row.querySelector(".bar").style.width = `${100 * value}%`;
  at(row, ".value", value);
  row.querySelector(".value").textContent = text;
}

function at(row, mark, value) {
  row.querySelector(mark).style.left = `${100 * value}%`;
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
  const names = ["ink", "bar"];
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
