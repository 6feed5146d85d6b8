// The sessions that this browser has published in a call, so that they can be erased: also later,
// when the page was closed and opened again.

import { ask } from "../common/api.js";

export class Published {
  #key;

  constructor(room) {
    this.#key = `published in ${room}`;
  }

  get sessions() {
    return JSON.parse(localStorage.getItem(this.#key) ?? "[]");
  }

  add(session) {
    this.#keep([...new Set([...this.sessions, session])]);
  }

  /** Have the server erase all that it found in them; throws a ServerError if it does not. */
  async erase() {
    for (const session of this.sessions) {
      try {
        await ask("DELETE", `/api/sessions/${session}`);
      } catch (error) {
        if (error.code !== "unknown_session") throw error; // the host has erased it already
      }
      this.#keep(this.sessions.filter((other) => other !== session));
    }
  }

  #keep(sessions) {
    if (sessions.length) localStorage.setItem(this.#key, JSON.stringify(sessions));
    else localStorage.removeItem(this.#key);
  }
}
