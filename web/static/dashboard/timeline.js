// All utterances of a session, one button each; arrow keys move between them.

import { make } from "../common/dom.js";
import { clock, wordsOf } from "../common/format.js";
import { EMOTIONS, NEUTRAL, expressed } from "./emotions.js";

const SVG = "http://www.w3.org/2000/svg";

/** Tells "choose" (detail: the number of an utterance). */
export class Timeline extends EventTarget {
  #list;
  #rows = new Map();

  constructor(list) {
    super();
    this.#list = list;
    list.addEventListener("keydown", (event) => this.#move(event));
  }

  /** Show these utterances: new ones, or the same under moved thresholds or of other speakers. */
  draw(utterances, judge, nameOf) {
    for (const [number, utterance] of utterances) {
      if (!this.#rows.has(number)) this.#add(number, utterance);
      if (utterance.type !== "utterance.result") continue;
      const row = this.#rows.get(number);
      mark(row, judge(utterance));
      const name = nameOf(utterance);
      row.querySelector(".name").textContent = name && `${name}: `;
    }
  }

  /** Mark the one that is shown; scroll to it only where the person follows the latest. */
  choose(number, { scroll }) {
    for (const [key, row] of this.#rows) {
      if (key === number) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
      row.tabIndex = key === number ? 0 : -1; // one stop of the tab key, arrows within
    }
    if (scroll) this.#list.scrollTop = this.#list.scrollHeight;
  }

  #add(number, utterance) {
    const row = make("button", { type: "button" },
      make("span", { className: "start" }, clock(utterance.start)),
      make("span", { className: "said" }, make("b", { className: "name" }), said(utterance)),
      make("span", { className: "found" }),
    );
    if (utterance.type === "utterance.result") row.append(sparkline());
    row.addEventListener("click", () => {
      this.dispatchEvent(new CustomEvent("choose", { detail: number }));
    });
    this.#rows.set(number, row);
    this.#list.append(make("li", {}, row));
  }

  #move(event) {
    const rows = [...this.#rows.values()];
    const here = rows.indexOf(document.activeElement);
    const to = { ArrowUp: here - 1, ArrowDown: here + 1, Home: 0, End: rows.length - 1 }[event.key];
    if (here < 0 || !rows[to]) return;
    event.preventDefault();
    rows[to].focus();
    rows[to].click();
  }
}

function said(utterance) {
  if (utterance.type === "utterance.failed") return "could not be analysed";
  return wordsOf(utterance.transcript);
}

function sparkline() {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", "0 0 44 20");
  drawing.setAttribute("aria-hidden", "true"); // the words beside it say what it means
  [...EMOTIONS, NEUTRAL].forEach((label, index) => {
    const bar = document.createElementNS(SVG, "rect");
    bar.classList.toggle("neutral", label === NEUTRAL);
    bar.setAttribute("x", index * 6 + (label === NEUTRAL ? 4 : 0)); // it stands apart
    bar.setAttribute("width", 4);
    drawing.append(bar);
  });
  return drawing;
}

function mark(row, scores) {
  const found = expressed(scores);
  row.querySelector(".found").textContent = found.join(", ");
  const values = [...EMOTIONS.map((emotion) => scores.emotions[emotion]), scores.neutral];
  [...row.querySelectorAll("rect")].forEach((bar, index) => {
    const height = values[index] == null ? 0 : Math.max(1, 20 * values[index]);
    bar.setAttribute("height", height);
    bar.setAttribute("y", 20 - height);
    bar.classList.toggle("above", found.includes(EMOTIONS[index]));
  });
}
