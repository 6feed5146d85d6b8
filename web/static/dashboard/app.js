// The dashboard: choose a source, watch a session, or host a call.
//
// `/` lets the person choose, `/#session=ID` shows a session, `/?call=ROOM` the people of a call.

import { ask } from "../common/api.js";
import { copyOnClick, notice, onSubmit } from "../common/forms.js";
import { showWhatIsKept } from "../common/privacy-notice.js";
import { CallHost } from "./call-host.js";
import { cameraSource } from "./camera-source.js";
import { drawExports } from "./exports.js";
import { sampleSource } from "./sample.js";
import { screenSource } from "./screen-source.js";
import { serverSource } from "./server-source.js";
import { showServerState } from "./server-state.js";
import { SessionList } from "./session-list.js";
import { SessionView } from "./session-view.js";
import { ThresholdSliders, Thresholds } from "./thresholds.js";
import { uploadSource } from "./upload-source.js";

const find = (selector) => document.querySelector(selector);
const room = new URLSearchParams(location.search).get("call");
const thresholds = new Thresholds();
const sliders = new ThresholdSliders(find("#sliders"), thresholds);
const list = new SessionList(find("#session-list"));
let current = null; // the one session on the page, unless it hosts a call

showServerState(find("#server-state"));
copyOnClick(find("#overlay button"), find("#overlay input"));
thresholds.addEventListener("change", showExports);
if (room) hostCall();
else chooseOrShow();

function hostCall() {
  new CallHost(room, find("#views"), newView);
  setMode("call");
  list.addEventListener("open", ({ detail }) => location.assign(addressOf(detail)));
}

function chooseOrShow() {
  showWhatIsKept().catch(() => {}); // that the server does not answer is told above
  sampleSource(find("#sample"), find("#hints"), begin);
  cameraSource(find("#camera"), begin);
  screenSource(find("#screen"), begin);
  uploadSource(find("#upload"), begin);
  serverSource(find("#server"), begin);
  onSubmit(find("#call"), async () => {
    const { room } = await ask("POST", "/api/calls", { name: find("#call").elements.name.value.trim() });
    location.assign(`/?call=${room}`);
  });
  find("#stop").addEventListener("click", stop);
  find("#clear").addEventListener("click", clear);
  list.addEventListener("open", ({ detail }) => {
    if (detail.room) location.assign(addressOf(detail));
    else location.hash = `session=${detail.id}`;
  });
  list.addEventListener("forgotten", ({ detail }) => {
    if (detail.id === current?.session.id) choose();
  });
  window.addEventListener("hashchange", showFromAddress);
  setMode("choose");
  showFromAddress();
}

/** Show the session that the address names, if it is not there already. */
async function showFromAddress() {
  const id = location.hash.match(/^#session=(\w+)$/)?.[1];
  if (id === current?.session.id) return;
  leave();
  if (!id) return;
  try {
    begin(await ask("GET", `/api/sessions/${id}`));
  } catch (error) {
    notice(error.message);
  }
}

/** Show a session; `own` is what this page sends or plays for it. */
function begin(session, own = null) {
  if (current?.own === own) current?.close(); // what is sent goes on, in a new session
  else leave();
  current = newView(session, own);
  current.addEventListener("event", ({ detail }) => {
    if (detail.type === "session.ended") find("#stop").hidden = true;
  });
  find("#stop").hidden = session.state === "ended";
  find("#clear").textContent = session.kind === "upload" ? "Clear" : "New session";
  find("#views").append(current.root);
  showOverlay(session);
  setMode("session");
  location.hash = `session=${session.id}`;
  list.refresh();
}

function newView(session, own = null) {
  const view = new SessionView(session, thresholds, own);
  view.addEventListener("event", ({ detail }) => {
    if (detail.type === "utterance.result") sliders.follow(detail.thresholds);
  });
  return view;
}

async function showOverlay({ id }) {
  find("#overlay button").textContent = "Copy";
  const { path } = await ask("GET", `/api/sessions/${id}/overlay`).catch(() => ({ path: `/overlay/${id}` }));
  if (id !== current?.session.id) return; // another session has come onto the page meanwhile
  find("#overlay input").value = find("#overlay a").href = new URL(path, location.href).href;
}

/** End the session and keep what was found. */
async function stop() {
  if (current.own) current.own.end();
  await ask("POST", `/api/sessions/${current.session.id}/stop`).catch(({ message }) => notice(message));
}

/** Make room for the next session; what was found in this one stays in the list. */
async function clear() {
  if (current.own && current.session.state !== "ended") await stop();
  find("#upload").reset();
  choose();
}

function choose() {
  leave();
  history.replaceState(null, "", location.pathname);
  list.refresh();
}

function leave() {
  current?.own?.end();
  current?.close();
  current = null;
  find("#hints").hidden = true;
  notice("");
  setMode("choose");
}

function setMode(mode) {
  document.body.dataset.mode = mode;
  showExports();
}

function showExports() {
  const base = room ? `/api/calls/${room}` : `/api/sessions/${current?.session.id}`;
  drawExports(find("#exports"), base, thresholds.query);
}

function addressOf(session) {
  return session.room ? `/?call=${session.room}` : `/#session=${session.id}`;
}
