// The utterances of a session, one button each; arrow keys move between them.

import { make } from "../common/dom.js";
import { clock, wordsOf } from "../common/format.js";
import { EMOTIONS, NEUTRAL, expressed } from "../common/emotions.js";

const SVG = "http://www.w3.org/2000/svg";

const MOST = 200; // rows in the page at once, however long the session is
const STEP = 100;

/** Tells "choose" (detail: the number of an utterance). */
export class Timeline extends EventTarget {
  #list;
  #earlier;
  #later;
  #rows = new Map(); // number -> its row, of those from #from on
  #from = 0;
  #given = { all: [] };
  #current = null;

  constructor(card) {
    super();
    this.#list = card.querySelector("ol");
    this.#earlier = card.querySelector(".earlier");
    this.#later = card.querySelector(".later");
    this.#list.addEventListener("keydown", (event) => this.#move(event));
    this.#earlier.addEventListener("click", () => this.#turn(-STEP));
    this.#later.addEventListener("click", () => this.#turn(STEP));
  }

  /**
   * Show these utterances, `given` as { all, judge, nameOf }: the newest, where the person is
   * `following` them, or those around utterance `number`, which is marked.
   */
  draw(given, number, { following }) {
    this.#given = given;
    const { all } = given;
    const moved = number !== this.#current;
    this.#current = number;
    if (following) this.#from = Math.max(0, all.length - MOST);
    else if (moved) this.#include(all.findIndex(({ utterance }) => utterance === number));
    this.#fill();
    if (following) this.#list.scrollTop = this.#list.scrollHeight;
    else if (moved) this.#reveal(this.#rows.get(number));
  }

  /** Make `index` one of the rows. */
  #include(index) {
    if (index < this.#from || index >= this.#from + MOST) this.#from = Math.max(0, index - STEP);
  }

  #turn(by) {
    const first = this.#given.all[by < 0 ? this.#from : this.#from + MOST - 1].utterance;
    this.#from = Math.max(0, Math.min(this.#given.all.length - MOST, this.#from + by));
    this.#fill();
    this.#list.scrollTop = this.#rows.get(first).offsetTop;
  }

  #fill() {
    const { all, judge, nameOf } = this.#given;
    const shown = all.slice(this.#from, this.#from + MOST);
    const numbers = new Set(shown.map(({ utterance }) => utterance));
    for (const [number, row] of this.#rows) {
      if (numbers.has(number)) continue;
      row.parentElement.remove();
      this.#rows.delete(number);
    }
    let before = null; // the row above, to which the next one belongs
    for (const event of shown) {
      const row = this.#rows.get(event.utterance) ?? this.#add(event.utterance, event, before);
      before = row;
      const is = event.utterance === this.#current;
      if (is) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
      row.tabIndex = is ? 0 : -1; // one stop of the tab key, arrows within
      if (event.type === "utterance.result") mark(row, judge(event), nameOf(event));
    }
    this.#earlier.hidden = this.#from === 0;
    this.#later.hidden = this.#from + MOST >= all.length;
  }

  #reveal(row) {
    if (!row) return;
    const top = row.offsetTop;
    const { scrollTop, clientHeight } = this.#list;
    if (top < scrollTop) this.#list.scrollTop = top;
    const over = top + row.offsetHeight - scrollTop - clientHeight;
    if (over > 0) this.#list.scrollTop += over;
  }

  #add(number, utterance, before) {
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
    const item = make("li", {}, row);
    if (before) before.parentElement.after(item);
    else this.#list.prepend(item);
    return row;
  }

  #move(event) {
    const { all } = this.#given;
    const number = [...this.#rows].find(([, row]) => row === document.activeElement)?.[0];
    const here = all.findIndex(({ utterance }) => utterance === number);
    const to = { ArrowUp: here - 1, ArrowDown: here + 1, Home: 0, End: all.length - 1 }[event.key];
    if (here < 0 || !all[to]) return;
    event.preventDefault();
    this.#include(to);
    this.#fill();
    const row = this.#rows.get(all[to].utterance);
    row.focus();
    row.click();
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

/** Write what is expressed, and by whom; nothing where it stands already. */
function mark(row, scores, name) {
  const found = expressed(scores);
  const words = `${name}: ${found}`;
  if (row.dataset.marked === words) return;
  row.dataset.marked = words;
  row.querySelector(".name").textContent = name && `${name}: `;
  row.querySelector(".found").textContent = found.join(", ");
  const values = [...EMOTIONS.map((emotion) => scores.emotions[emotion]), scores.neutral];
  [...row.querySelectorAll("rect")].forEach((bar, index) => {
    const height = values[index] == null ? 0 : Math.max(1, 20 * values[index]);
    bar.setAttribute("height", height);
    bar.setAttribute("y", 20 - height);
    bar.classList.toggle("above", found.includes(EMOTIONS[index]));
  });
}
