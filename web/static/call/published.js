// The sessions that this browser has published in a call, so that they can be erased: also later,
// when the page was closed, the link is too old, or the server was started again.

import { send } from "../common/api.js";

export class Published {
  #key;

  constructor(room) {
    this.#key = `to erase in ${room}`;
  }

  /** By session, the token that erases it. */
  get #tokens() {
    return JSON.parse(localStorage.getItem(this.#key) ?? "{}");
  }

  get sessions() {
    return Object.keys(this.#tokens);
  }

  add(session, token) {
    this.#keep({ ...this.#tokens, [session]: token });
  }

  /** Have the server erase all that it found in them; throws a ServerError if it does not. */
  async erase() {
    for (const [session, token] of Object.entries(this.#tokens)) {
      try {
        await send("DELETE", `/api/sessions/${session}`, null, null, token ? { "Erase-Token": token } : {});
      } catch (error) {
        if (error.code !== "unknown_session") throw error; // the host has erased it already
      }
      const { [session]: _, ...others } = this.#tokens;
      this.#keep(others);
    }
  }

  #keep(tokens) {
    if (Object.keys(tokens).length) localStorage.setItem(this.#key, JSON.stringify(tokens));
    else localStorage.removeItem(this.#key);
  }
}
