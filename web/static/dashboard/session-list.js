// The sessions that the server knows, newest first.

import { ask } from "../common/api.js";
import { make } from "../common/dom.js";
import { clock, since } from "../common/format.js";

const EVERY_MS = 5000;
const KINDS = {
  camera: "browser camera",
  upload: "upload",
  source: "source of the server",
  call: "call",
  ingest: "device",
};

/** Tells "open" and "forgotten" (detail: the session). */
export class SessionList extends EventTarget {
  #root;
  #shown = "";

  constructor(root) {
    super();
    this.#root = root;
    this.refresh();
    setInterval(() => document.hidden || this.refresh(), EVERY_MS);
  }

  async refresh() {
    const { sessions } = await ask("GET", "/api/sessions").catch(() => ({ sessions: null }));
    const told = JSON.stringify(sessions);
    if (!sessions || told === this.#shown) return; // nothing new: leave the keyboard's place alone
    this.#shown = told;
    const focused = document.activeElement?.dataset.key;
    this.#root.replaceChildren(...sessions.map((session) => this.#row(session)));
    if (!sessions.length) this.#root.append(make("li", { className: "muted" }, "None yet."));
    if (focused) this.#root.querySelector(`[data-key="${focused}"]`)?.focus();
  }

  #row(session) {
    const open = make("button", { type: "button", className: "open", "data-key": `open-${session.id}` },
      make("span", { className: "name" }, session.name),
      make("span", { className: "muted" }, facts(session)),
    );
    open.addEventListener("click", () => this.#tell("open", session));
    const forget = make("button", {
      type: "button",
      className: "quiet",
      "data-key": `forget-${session.id}`,
      ariaLabel: `Delete ${session.name}, ${facts(session)}`,
    }, "Delete");
    forget.addEventListener("click", () => this.#forget(session));
    return make("li", {}, open, forget);
  }

  async #forget(session) {
    if (!confirm(`Delete “${session.name}” and all that was found in it?`)) return;
    await ask("DELETE", `/api/sessions/${session.id}`).catch(() => {});
    this.#tell("forgotten", session);
    this.refresh();
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function facts({ kind, state, started, time, utterances }) {
  const length = state === "waiting" ? "waiting for the models" : clock(time, { tenths: false });
  const count = utterances === 1 ? "1 utterance" : `${utterances} utterances`;
  return [KINDS[kind], since(started), length, count, state === "running" ? "running" : ""]
    .filter(Boolean)
    .join(" · ");
}
