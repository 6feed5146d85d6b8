// The scores as bars; and the sound of an utterance.

import { make } from "../common/dom.js";
import { probability } from "../common/format.js";
import { EMOTIONS, NEUTRAL, expressed, expressedInWords, lessRestInWords } from "../common/emotions.js";

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
 * stands apart below them, without a line. Elements, because each result draws two of them anew: a
 * library for charts took most of the 71 ms of CPU that a result cost the page.
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
  const loudest = Math.max(0.05, ...waveform.flat().map(Math.abs));
  const edge = (side) => waveform.map((pair, place) => `${place + 0.5},${-pair[side] / loudest}`);
  const svg = root.querySelector("svg");
  svg.setAttribute("viewBox", `0 -1 ${waveform.length} 2`);
  svg.setAttribute("aria-label", `Waveform of ${duration.toFixed(1)} seconds`);
  svg.querySelector("path").setAttribute("d", `M${[...edge(0), ...edge(1).reverse()].join("L")}Z`);
  root.querySelector(".end").textContent = `${duration.toFixed(1)} s`;
}
