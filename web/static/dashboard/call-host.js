// The host's view of a call: its link, everybody who is or was in the room, each apart; and what
// the host can do: pause or remove somebody, make a new link, end the call.

import { ask } from "../common/api.js";
import { copyOnClick, notice } from "../common/forms.js";
import { ReconnectingSocket } from "../common/reconnecting-socket.js";

const find = (selector) => document.querySelector(selector);

export class CallHost {
  #path;
  #room;
  #root;
  #newView;
  #people = new Map(); // session id -> its view

  /** Show the people of `room` in `root`; `newView` makes a view of a session. */
  constructor(room, root, newView) {
    this.#path = `/api/calls/${room}`;
    this.#room = room;
    this.#root = root;
    this.#newView = newView;
    const feed = new ReconnectingSocket(`${this.#path}/events`, this.#path);
    feed.addEventListener("back", () => this.#list());
    feed.addEventListener("message", ({ detail }) => detail.session && this.#meet(detail.session));
    feed.addEventListener("gone", ({ detail }) => this.#over(detail));
    copyOnClick(find("#copy"), find("#room-link"));
    find("#new-link").addEventListener("click", () => this.#renewLink());
    find("#end-call").addEventListener("click", () => this.#end());
    this.#do(async () => showLink(await ask("GET", this.#path)));
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
    const buttons = view.root.querySelector(".of-call");
    buttons.hidden = false;
    buttons.querySelector(".pause").addEventListener("click", () => this.#pause(view));
    buttons.querySelector(".remove").addEventListener("click", () => this.#remove(view.session));
    this.#root.append(view.root);
  }

  #pause({ session }) {
    this.#do(() => ask("POST", `/api/sessions/${session.id}/pause`, { paused: !session.paused }));
  }

  #remove({ id, name }) {
    const what = "They cannot come back, and nobody can join by the old link any more: there is a new one. The others stay.";
    if (!confirm(`Remove “${name}” from this call? ${what}`)) return;
    this.#do(async () => {
      await ask("DELETE", `${this.#path}/participants/${id}`);
      showLink(await ask("GET", this.#path));
    });
  }

  #renewLink() {
    if (!confirm("Make a new link? Nobody can join by the old one any more. Who is in the call stays.")) return;
    this.#do(async () => showLink(await ask("POST", `${this.#path}/link`)));
  }

  #end() {
    if (!confirm("End the call for all? Nobody can join it any more. What was found is kept.")) return;
    this.#do(() => ask("DELETE", this.#path));
  }

  async #do(work) {
    try {
      await work();
      notice("");
    } catch (error) {
      this.#over(error);
    }
  }

  #over({ code, message }) {
    notice(code === "call_ended" ? "This call is over. What was found is below." : message);
    find("#bar .room").hidden = code === "call_ended" || code === "unknown_room";
  }
}

/** The link by which others join; it is good for a time that begins now. */
function showLink({ link }) {
  find("#room-link").value = new URL(link, location.href).href;
  find("#copy").textContent = "Copy";
}
