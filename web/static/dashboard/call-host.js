// The host's view of a call: everybody who is or was in the room, each apart.

import { ask } from "../common/api.js";
import { Feed } from "../common/feed.js";
import { notice } from "../common/forms.js";
import { watch } from "../common/rtc.js";
import { SessionView } from "./session-view.js";

export class CallHost {
  #room;
  #root;
  #newView;
  #people = new Map(); // session id -> its view

  /** Show the people of `room` in `root`; `newView` makes a view of a session. */
  constructor(room, root, newView) {
    this.#room = room;
    this.#root = root;
    this.#newView = newView;
    const feed = new Feed(`/api/calls/${room}/events`, `/api/calls/${room}`);
    feed.addEventListener("back", () => this.#list());
    feed.addEventListener("message", ({ detail }) => this.#meet(detail.session));
    feed.addEventListener("gone", () => notice("This call does not exist, or not any more."));
    this.#list();
  }

  async #list() {
    const { sessions } = await ask("GET", "/api/sessions").catch(() => ({ sessions: [] }));
    sessions.filter(({ room }) => room === this.#room).reverse().forEach((session) => this.#meet(session));
  }

  #meet(session) {
    if (this.#people.has(session.id)) return; // its own view follows what changes
    const view = this.#newView(session);
    this.#people.set(session.id, view);
    this.#root.append(view.root);
  }
}
