// Notes of the person's own, at times of a session: the server keeps them with what it found.

import { ask } from "../common/api.js";
import { make } from "../common/dom.js";
import { clock } from "../common/format.js";
import { onSubmit } from "../common/forms.js";

/** Tells "change" when the server has taken one, and "seek" (detail: the time of a note that was chosen). */
export class Notes extends EventTarget {
  #root;
  #path;
  #time = 0; // of the next note

  /** Notes of the session with that `id`, in `root`. */
  constructor(root, id) {
    super();
    this.#root = root;
    this.#path = `/api/sessions/${id}/notes`;
    const form = root.querySelector("form");
    onSubmit(form, async () => {
      const text = form.elements.text.value.trim();
      if (!text) throw new Error("Write a note first.");
      await this.#ask("POST", this.#path, { at: this.#time, text });
      form.reset();
    });
  }

  /** When the next note is, in seconds. While one is being written, that does not move on. */
  set time(time) {
    const { text } = this.#root.querySelector("form").elements;
    if (text.value) return;
    this.#time = time;
    this.#root.querySelector("form .at").textContent = clock(time, { tenths: false });
  }

  /** Show these notes: each a note.changed event. */
  draw(notes) {
    this.#root.querySelector(".count").textContent = notes.length ? `(${notes.length})` : "";
    this.#root.querySelector("ul").replaceChildren(...notes.map((note) => this.#row(note)));
  }

  #row({ note, at, text }) {
    const when = clock(at, { tenths: false });
    const go = make("button", { type: "button", className: "quiet" }, when);
    go.addEventListener("click", () => this.dispatchEvent(new CustomEvent("seek", { detail: at })));
    const remove = make("button", { type: "button", className: "quiet", ariaLabel: `Delete the note at ${when}` }, "Delete");
    const said = this.#root.querySelector(".message");
    remove.addEventListener("click", () =>
      this.#ask("DELETE", `${this.#path}/${note}`).catch(({ message }) => (said.textContent = message)),
    );
    return make("li", {}, go, make("span", {}, text), remove);
  }

  async #ask(...request) {
    await ask(...request);
    this.dispatchEvent(new Event("change"));
  }
}
