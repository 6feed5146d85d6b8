// Notes of the person's own, at times of a session. They stay in this browser.

import { make } from "../common/dom.js";
import { clock } from "../common/format.js";
import { onSubmit } from "../common/forms.js";

/** Tells "change", and "seek" (detail: the time of a note that was chosen). */
export class Notes extends EventTarget {
  #root;
  #key;
  #notes = []; // { time, text }, in the order of time
  #time = 0; // of the next note

  /** The notes of `session`, in `root`. */
  constructor(root, session) {
    super();
    this.#root = root;
    this.#key = keyOf(session);
    this.#notes = read(this.#key);
    const form = root.querySelector("form");
    onSubmit(form, async () => {
      const text = form.elements.text.value.trim();
      if (!text) throw new Error("Write a note first.");
      this.#keep([...this.#notes, { time: this.#time, text }].sort((a, b) => a.time - b.time));
      form.reset();
    });
    root.querySelector(".save").addEventListener("click", () => save(toCsv(this.#notes), `notes-${session.id}.csv`));
    this.#draw();
  }

  get times() {
    return this.#notes.map(({ time }) => time);
  }

  /** When the next note is, in seconds. While one is being written, that does not move on. */
  set time(time) {
    const { text } = this.#root.querySelector("form").elements;
    if (text.value) return;
    this.#time = time;
    this.#root.querySelector("form .at").textContent = clock(time, { tenths: false });
  }

  #keep(notes) {
    localStorage.setItem(this.#key, JSON.stringify(notes)); // throws where the browser has no room
    this.#notes = notes;
    this.#draw();
    this.dispatchEvent(new Event("change"));
  }

  #draw() {
    this.#root.querySelector(".save").hidden = !this.#notes.length;
    this.#root.querySelector(".count").textContent = this.#notes.length ? `(${this.#notes.length})` : "";
    this.#root.querySelector("ul").replaceChildren(...this.#notes.map((note) => this.#row(note)));
  }

  #row(note) {
    const when = clock(note.time, { tenths: false });
    const go = make("button", { type: "button", className: "quiet" }, when);
    go.addEventListener("click", () => this.dispatchEvent(new CustomEvent("seek", { detail: note.time })));
    const remove = make("button", { type: "button", className: "quiet", ariaLabel: `Delete the note at ${when}` }, "Delete");
    remove.addEventListener("click", () => this.#keep(this.#notes.filter((other) => other !== note)));
    return make("li", {}, go, make("span", {}, note.text), remove);
  }
}

/** Delete the notes of a session that is deleted. */
export function forgetNotes(session) {
  localStorage.removeItem(keyOf(session));
}

/** The notes as CSV. A spreadsheet must not take a note for a formula. */
export function toCsv(notes) {
  const cell = (text) => `"${text.replace(/^(?=[=+\-@\t\r])/, "'").replaceAll('"', '""')}"`;
  const lines = notes.map(({ time, text }) => `${time.toFixed(3)},${cell(text)}`);
  return ["time,note", ...lines, ""].join("\r\n");
}

function keyOf({ id }) {
  return `notes ${id}`;
}

function read(key) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? [];
  } catch {
    return []; // a browser that keeps nothing
  }
}

function save(text, name) {
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
