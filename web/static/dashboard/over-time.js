// The scores of all utterances over time: a row for each of the six and for neutral.
//
// Four paths take 1 ms to draw, and 13 ms with 4,000 utterances; Plotly took 25 ms for the axes and 110 ms
// for the bars.

import { clock, probability, wordsOf } from "../common/format.js";
import { LABELS, columnsOf, extent, scoreOf, ticks } from "./columns.js";
import { EMOTIONS, NEUTRAL, expressed, expressedInWords } from "../common/emotions.js";

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 78; // pixels for the names of the rows
const RIGHT = 8;
const TOP = 14; // where notes and sounds are marked
const ROW = 26;
const BAR = 21; // height of a score of 1
const APART = 6; // between the six and neutral
const AXIS = 22;
const HEIGHT = TOP + LABELS.length * ROW + APART + AXIS;
const COLUMN = 3; // the least width of a column
const TICK = 64; // the least distance of two times on the axis
const CLICK = 4; // who moves less than that has not dragged
const LEAST_S = 5; // of time in view

/** Tells, at a click, "choose" (detail: an utterance.result) or, between two, "seek" (a time). */
export class OverTime extends EventTarget {
  #card;
  #svg;
  #parts;
  #tip;
  #width = 0;
  #view = null; // [from, to] in seconds; null for all there is
  #given = null; // what draw() was given last
  #columns = [];
  #chosen = null; // an utterance
  #cursor = null; // time of the film
  #pressed = null; // where a drag began
  #sized = new ResizeObserver(([{ contentRect }]) => this.#resize(contentRect.width));

  constructor(card) {
    super();
    this.#card = card;
    this.#tip = card.querySelector(".tip");
    this.#svg = card.querySelector(".plot svg");
    this.#svg.setAttribute("height", HEIGHT);
    this.#parts = Object.fromEntries(
      ["chosen", "bar", "expressed", "neutral", "threshold", "heard", "marks", "axis", "brush", "cursor"]
        .map((name) => [name, add(this.#svg, name === "axis" ? "g" : "path", { class: name })]),
    );
    LABELS.forEach((label, row) => {
      add(this.#svg, "text", { x: LEFT - 8, y: base(row) - 5, class: "label" }).textContent = label;
    });
    this.#sized.observe(card.querySelector(".plot"));
    this.#listen();
  }

  /**
   * Show these results, in the order of time, of the person `who` ("": everybody). `duration`: how long the recording is, if that is
   * known; `time`: how far it has been heard; `sounds`: each sound.event; `notes`: the times of notes.
   */
  draw(given) {
    this.#given = given;
    const { utterances, thresholdsOf, time, sounds, notes, who } = given;
    const empty = !utterances.length && !sounds.length;
    this.#card.classList.toggle("empty", empty);
    this.#card.querySelector(".sounds").textContent = soundsInWords(sounds);
    const count = utterances.length === 1 ? "1 utterance" : `${utterances.length} utterances`;
    if (utterances.length) this.#card.querySelector(".when").textContent = who ? `${who}: ${count}` : count;
    if (!this.#width || empty) return;
    const [from, to] = this.#range();
    const width = COLUMN / this.#scale();
    this.#columns = columnsOf(utterances, { from, to, width, thresholdsOf });
    const paths = { bar: [], expressed: [], neutral: [], threshold: [] };
    LABELS.forEach((label, row) => this.#drawRow(label, base(row), thresholdsOf, paths));
    for (const [name, path] of Object.entries(paths)) this.#parts[name].setAttribute("d", path.join(""));
    const heard = sounds.filter(({ start, end }) => end >= from && start <= to).map(({ start, end }) => {
      const left = this.#x(Math.max(start, from));
      return `M${left},10H${Math.max(left + COLUMN, this.#x(Math.min(end, to)))}v3H${left}Z`;
    });
    this.#parts.heard.setAttribute("d", heard.join(""));
    const marks = notes.map((at) => `M${this.#x(at) - 4},2h8l-4,7Z`);
    this.#parts.marks.setAttribute("d", notes.length ? marks.join("") : "");
    this.#drawAxis(from, to);
    this.#drawOverlays();
    const [begin, end] = [clock(from, { tenths: false }), clock(Math.min(to, time), { tenths: false })];
    this.#svg.setAttribute("aria-label", `Scores over time, from ${begin} to ${end}. ${this.#inWords()}`);
  }

  /** Mark an utterance, and bring it into view; null marks none. */
  choose(utterance) {
    this.#chosen = utterance;
    if (utterance && this.#view) this.#bring(utterance.start, utterance.end);
    this.#drawOverlays();
  }

  /** Where the film is, in seconds; null where there is none. */
  set cursor(time) {
    this.#cursor = time;
    if (time !== null && this.#view) this.#bring(time, time);
    this.#drawOverlays();
  }

  /** Zoom in (`factor` below 1) or out, about what is marked, or the newest. */
  zoom(factor) {
    const [from, to] = this.#range();
    const { time } = this.#given ?? { time: to };
    const middle = this.#cursor ?? this.#chosen?.start ?? Math.min(to, time);
    const share = Math.min(0.8, Math.max(0.2, (middle - from) / (to - from)));
    const wide = (to - from) * factor;
    this.#look(middle - share * wide, middle + (1 - share) * wide);
  }

  /** Show all there is. */
  showAll() {
    this.#look(-Infinity, Infinity);
  }

  close() {
    this.#sized.disconnect();
  }

  #look(from, to) {
    const [, end] = this.#all();
    const wide = Math.max(LEAST_S, to - from);
    if (wide >= end) {
      this.#view = null;
    } else {
      const begin = Math.max(0, Math.min(from, end - wide));
      this.#view = [begin, begin + wide];
    }
    if (this.#given) this.draw(this.#given);
  }

  /** Turn the page where something would be out of view. */
  #bring(start, end) {
    const [from, to] = this.#view;
    if (start >= from && end <= to) return;
    const wide = to - from;
    this.#look(start - 0.2 * wide, start + 0.8 * wide);
  }

  #all() {
    const { duration, time } = this.#given ?? {};
    return [0, duration ? Math.max(duration, time) : extent(time ?? 0)];
  }

  #range() {
    return this.#view ?? this.#all();
  }

  /** Pixels for one second. */
  #scale() {
    const [from, to] = this.#range();
    return (this.#width - LEFT - RIGHT) / (to - from);
  }

  #x(time) {
    return round(LEFT + (time - this.#range()[0]) * this.#scale());
  }

  #timeAt(x) {
    return this.#range()[0] + (x - LEFT) / this.#scale();
  }

  #drawRow(label, bottom, thresholdsOf, paths) {
    const [from, to] = this.#range();
    const threshold = []; // [time from which it holds, threshold]
    for (const { start, end, shown } of this.#columns) {
      const value = scoreOf(shown[label], label);
      if (value == null) continue;
      const limit = thresholdsOf(shown[label])[label]; // neutral has none
      const path = value > limit ? paths.expressed : label === NEUTRAL ? paths.neutral : paths.bar;
      const [left, right] = [this.#x(Math.max(start, from)), this.#x(Math.min(end, to))];
      const gap = Math.min(1, (right - left) / 4);
      path.push(`M${left},${bottom}v${round(-Math.max(0.5, BAR * value))}H${right - gap}V${bottom}Z`);
      if (limit !== undefined && threshold.at(-1)?.[1] !== limit) threshold.push([start, limit]);
    }
    threshold.forEach(([start, limit], index) => {
      const left = index ? this.#x(start) : LEFT;
      const right = this.#x(threshold[index + 1]?.[0] ?? to);
      paths.threshold.push(`M${left},${round(bottom - BAR * limit)}H${right}`);
    });
  }

  #drawAxis(from, to) {
    const axis = this.#parts.axis;
    axis.replaceChildren();
    const bottom = base(LABELS.length - 1);
    const lines = LABELS.map((_, row) => `M${LEFT},${base(row) + 0.5}H${this.#width - RIGHT}`);
    for (const time of ticks(from, to, Math.max(2, (this.#width - LEFT) / TICK))) {
      const x = this.#x(time);
      lines.push(`M${x},${bottom}v4`);
      add(axis, "text", { x: Math.min(x, this.#width - RIGHT - 12), y: bottom + 17 }).textContent = clock(time, { tenths: false });
    }
    add(axis, "path", { d: lines.join("") });
  }

  #drawOverlays() {
    if (!this.#width) return;
    const chosen = this.#chosen && this.#band(this.#chosen.start, this.#chosen.end);
    this.#parts.chosen.setAttribute("d", chosen ?? "");
    const cursor = this.#cursor !== null && this.#visible(this.#cursor);
    this.#parts.cursor.setAttribute("d", cursor ? `M${this.#x(this.#cursor)},${TOP - 4}V${base(LABELS.length - 1)}` : "");
  }

  #inWords() {
    const { utterances, thresholdsOf } = this.#given;
    const counts = Object.fromEntries(EMOTIONS.map((emotion) => [emotion, 0]));
    for (const utterance of utterances) {
      const thresholds = thresholdsOf(utterance);
      for (const emotion of EMOTIONS) counts[emotion] += utterance.emotions[emotion] > thresholds[emotion];
    }
    const found = EMOTIONS.filter((emotion) => counts[emotion]).map((emotion) => `${emotion} in ${counts[emotion]}`);
    return `Of ${utterances.length} utterances, expressed: ${found.join(", ") || "none"}`;
  }

  #visible(time) {
    const [from, to] = this.#range();
    return time >= from && time <= to;
  }

  #band(start, end) {
    const [from, to] = this.#range();
    if (end < from || start > to) return "";
    const left = this.#x(Math.max(start, from)) - 1;
    const right = Math.max(left + COLUMN, this.#x(Math.min(end, to))) + 1;
    return `M${left},${TOP - 4}H${right}V${base(LABELS.length - 1)}H${left}Z`;
  }

  #resize(width) {
    this.#width = width;
    this.#svg.setAttribute("width", width);
    if (this.#given) this.draw(this.#given);
  }

  /** A drag across the chart zooms, two clicks show all, one chooses what is there. */
  #listen() {
    const svg = this.#svg;
    const place = ({ clientX, clientY }) => {
      const { left, top } = svg.getBoundingClientRect();
      return { x: Math.max(LEFT, Math.min(this.#width - RIGHT, clientX - left)), y: clientY - top };
    };
    const over = () => {
      this.#pressed = null;
      this.#parts.brush.setAttribute("d", "");
    };
    svg.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      this.#pressed = place(event);
      if (event.pointerType === "mouse") svg.setPointerCapture(event.pointerId); // a finger scrolls
    });
    svg.addEventListener("pointermove", (event) => {
      const { x, y } = place(event);
      if (this.#pressed && event.pointerType === "mouse" && Math.abs(x - this.#pressed.x) >= CLICK) {
        this.#parts.brush.setAttribute("d", this.#band(...this.#between(this.#pressed.x, x)));
        this.#tip.hidden = true;
      } else {
        this.#hover(x, y);
      }
    });
    svg.addEventListener("pointerup", (event) => {
      if (!this.#pressed) return;
      const [begin, { x, y }] = [this.#pressed, place(event)];
      over();
      if (Math.abs(x - begin.x) < CLICK) this.#click(x, y);
      else if (event.pointerType === "mouse") this.#look(...this.#between(begin.x, x));
    });
    svg.addEventListener("pointercancel", over);
    svg.addEventListener("pointerleave", () => (this.#tip.hidden = true));
    svg.addEventListener("dblclick", () => this.showAll());
  }

  #between(a, b) {
    return [this.#timeAt(Math.min(a, b)), this.#timeAt(Math.max(a, b))];
  }

  #click(x, y) {
    const found = this.#at(x, y);
    const type = found ? "choose" : "seek";
    const detail = found ? found.utterance : this.#timeAt(x);
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** What is drawn there: its utterance and how many share the column; null between two. */
  #at(x, y) {
    const slack = 2 / this.#scale();
    const time = this.#timeAt(x);
    if (y < TOP) return null; // sounds and notes
    const column = this.#columns.find(({ start, end }) => time >= start - slack && time <= end + slack);
    if (!column) return null;
    const row = LABELS.findIndex((_, index) => y <= base(index));
    return { utterance: column.shown[LABELS.at(row)], count: column.count };
  }

  /** What is heard there, of the strip above the rows. */
  #soundAt(x, y) {
    const slack = COLUMN / this.#scale();
    const time = this.#timeAt(x);
    const heard = y < TOP ? this.#given.sounds : [];
    return heard.find(({ start, end }) => time >= start - slack && time <= end + slack);
  }

  #hover(x, y) {
    const [found, sound] = [this.#at(x, y), this.#soundAt(x, y)];
    this.#tip.hidden = !found && !sound;
    if (found) this.#describe(found);
    else if (sound) this.#tell(`${clock(sound.start)}–${clock(sound.end)}`, `[${sound.kind}]`);
    const half = this.#tip.offsetWidth / 2;
    this.#tip.style.left = `${Math.max(half, Math.min(this.#width - half, x))}px`;
    this.#tip.style.top = `${HEIGHT + 2}px`;
  }

  #describe({ utterance, count }) {
    const { thresholdsOf, nameOf } = this.#given;
    const scores = { ...utterance, thresholds: thresholdsOf(utterance) };
    const name = nameOf(utterance);
    this.#tell(
      `${clock(utterance.start)}${name && ` · ${name}`}`,
      wordsOf(utterance.transcript),
      `${expressedInWords(scores)} · ${NEUTRAL} ${probability(utterance.neutral)}`,
      count > 1 ? `The highest of ${count} here: zoom in for the others.` : "",
    );
    this.#tip.querySelector(".expressed").classList.toggle("any", expressed(scores).length > 0);
  }

  #tell(...lines) {
    [...this.#tip.children].forEach((line, index) => (line.textContent = lines[index] ?? ""));
  }
}

/** "Heard: laughter 3 times (last at 1:04), applause once (at 2:10)"; "" for none. */
function soundsInWords(sounds) {
  const last = new Map(); // kind -> [how often, time of the last]
  for (const { kind, start } of sounds) last.set(kind, [(last.get(kind)?.[0] ?? 0) + 1, start]);
  const each = [...last].map(([kind, [count, start]]) => {
    const at = clock(start, { tenths: false });
    return count === 1 ? `${kind} once (at ${at})` : `${kind} ${count} times (last at ${at})`;
  });
  return each.length ? `Heard: ${each.join(", ")}` : "";
}

/** Where the bars of a row stand. */
function base(row) {
  return TOP + (row + 1) * ROW + (row === LABELS.length - 1 ? APART : 0);
}

function round(pixels) {
  return Math.round(pixels * 10) / 10;
}

function add(parent, name, attributes) {
  const element = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach((pair) => element.setAttribute(...pair));
  parent.append(element);
  return element;
}
