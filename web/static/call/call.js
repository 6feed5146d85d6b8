// The page of somebody who joins a call: agree, join, see and hear the others, pause, leave, erase.

import { ask } from "../common/api.js";
import { DevicePicker, insecure } from "../common/devices.js";
import { fromTemplate } from "../common/dom.js";
import { notice, onSubmit } from "../common/forms.js";
import { showWhatIsKept } from "../common/privacy-notice.js";
import { ReconnectingSocket } from "../common/reconnecting-socket.js";
import { publish, watch } from "../common/rtc.js";
import { erase, published, showErasing } from "./erasing.js";

const find = (selector) => document.querySelector(selector);
const room = location.pathname.split("/").at(-1);
const form = find("#join-form");
const told = showWhatIsKept(); // whether the server records
const picker = new DevicePicker(form.querySelector(".devices"), { on: ["echoCancellation"] });
let call = null; // while this person is in it
let recording = false;
let host = "The host";

if (!window.isSecureContext) form.querySelector(".message").textContent = insecure();
told.catch(({ message }) => notice(message));
showHost();
onSubmit(form, join);
find("#leave").addEventListener("click", () => leave("You have left the call."));
find("#mute").addEventListener("click", () => call.mute(toggle(find("#mute"))));
find("#pause").addEventListener("click", () => call.pause(toggle(find("#pause"))));
find("#controls .erase").addEventListener("click", () =>
  erase({ also: " You leave the call with it.", first: () => leave("") }),
);

async function showHost() {
  try {
    const { name } = await ask("GET", `/api/calls/${room}`);
    if (!name) return;
    host = name;
    document.querySelectorAll(".host").forEach((place) => (place.textContent = name));
  } catch (error) {
    notice(error.message);
  }
}

async function join() {
  recording = await told; // nobody joins without having been told
  const { stream, notes } = await picker.open();
  call = new Call(stream, form.elements.name.value.trim());
  try {
    await call.connection.open();
  } catch (error) {
    call.leave();
    throw error;
  }
  document.body.dataset.mode = "room";
  showAnalysis([]);
  showHostWatching(false);
  notice(notes.join(" "));
  find("#mute").focus();
}

function leave(words) {
  call.leave();
  document.body.dataset.mode = "join";
  for (const button of [find("#mute"), find("#pause")]) button.ariaPressed = "false";
  showErasing();
  notice(words);
}

function toggle(button) {
  const on = button.ariaPressed !== "true";
  button.ariaPressed = String(on);
  return on;
}

/** The server does not want this person in the call; its page says why. */
function shutOut({ code, message }) {
  leave(message);
  if (["call_ended", "removed", "old_link", "unknown_room"].includes(code)) location.reload();
}

function showAnalysis(pausedBy) {
  const who = { person: "You have paused", host: "The host has paused", "host,person": "You and the host have paused" };
  find("#pause").ariaPressed = String(pausedBy.includes("person"));
  find("#analysis").textContent = pausedBy.length
    ? `${who[pausedBy]} the analysis of you. The others still see and hear you.`
    : `You are being analysed${recording ? " and recorded" : ""}.`;
}

function showHostWatching(is) {
  find("#host-watching").textContent = is
    ? `${host} is watching now.`
    : `${host} is not watching now, but may at any time.`;
}

/** This person in the room, and the others as they come and go. */
class Call {
  #stream;
  #feed;
  #others = new Map(); // session id -> { tile, viewer }
  #own;
  #wishesPause = false;

  constructor(stream, name) {
    this.#stream = stream;
    this.#own = addTile(`${name} (you)`);
    const video = this.#own.querySelector("video");
    video.muted = true;
    video.srcObject = stream;
    this.#own.classList.add("mirrored");
    this.connection = publish(stream, { room, name });
    this.connection.addEventListener("open", () => this.#joined());
    this.connection.addEventListener("interrupted", () =>
      notice("The connection was lost. Trying to get it back…"),
    );
    this.connection.addEventListener("resumed", () => notice(""));
    this.connection.addEventListener("refused", ({ detail }) => shutOut(detail));
  }

  get #session() {
    return this.connection.resource.split("/").at(-1);
  }

  leave() {
    this.connection.close();
    this.#feed?.close();
    this.#stream.getTracks().forEach((track) => track.stop());
    for (const id of this.#others.keys()) this.#part(id);
    this.#own.remove();
  }

  mute(is) {
    for (const track of this.#stream.getAudioTracks()) track.enabled = !is;
  }

  async pause(is) {
    try {
      const session = await ask("POST", `/api/sessions/${this.#session}/pause`, { paused: is });
      this.#wishesPause = is;
      showAnalysis(session.paused_by);
      notice("");
    } catch (error) {
      find("#pause").ariaPressed = String(this.#wishesPause);
      notice(error.message);
    }
  }

  /** In the room, for the first time or again after a break. */
  #joined() {
    notice("");
    published.add(this.#session, this.connection.eraseToken);
    if (this.#wishesPause) this.pause(true);
    // Who sees the others is seen by them: the server has let go of what this page watched.
    for (const { viewer } of this.#others.values()) viewer.renew();
    if (this.#feed) return;
    const path = `/api/calls/${room}`;
    this.#feed = new ReconnectingSocket(`${path}/events`, path);
    this.#feed.addEventListener("back", () => this.#compare(path));
    this.#feed.addEventListener("message", ({ detail }) => this.#hear(detail));
    this.#feed.addEventListener("gone", ({ detail }) => shutOut(detail));
  }

  /** Part from those who left while the line was broken; who is there, the feed tells anyway. */
  async #compare(path) {
    const call = await ask("GET", path).catch(() => null);
    const here = call?.participants?.map(({ id }) => id);
    for (const id of this.#others.keys()) if (here && !here.includes(id)) this.#part(id);
  }

  #hear({ type, session, watching }) {
    if (type === "host.changed") return showHostWatching(watching);
    const gone = type === "participant.left";
    if (gone && session.id === this.#session && this.connection.state === "live") {
      if (session.reason === "source_error") this.connection.renew();
      else leave("Your part of the call is over: the host ended it, or you joined again elsewhere.");
    } else if (gone) {
      this.#part(session.id);
    } else {
      this.#meet(session);
    }
  }

  #meet(session) {
    if (session.id === this.#session) return showAnalysis(session.paused_by);
    if (session.state === "ended") return;
    if (!this.#others.has(session.id)) {
      const tile = addTile(session.name);
      const viewer = watch(session.id, tile.querySelector("video"));
      viewer.open().catch(({ message }) => notice(message));
      this.#others.set(session.id, { tile, viewer });
    }
    const { tile } = this.#others.get(session.id);
    tile.querySelector(".about").textContent = session.paused ? "not being analysed" : "";
  }

  #part(id) {
    const other = this.#others.get(id);
    this.#others.delete(id);
    other?.viewer.close();
    other?.tile.remove();
  }
}

function addTile(name) {
  const tile = fromTemplate("tile");
  tile.querySelector(".name").textContent = name;
  tile.querySelector("video").setAttribute("aria-label", `Picture of ${name}`);
  find("#tiles").append(tile);
  return tile;
}
