// The newest caption and the newest scores of one session, on a transparent page for streaming programs.
//
// `/overlay/ID?theme=light&show=captions`: theme is dark or light, show is both, captions or bars.

import { ask } from "../common/api.js";
import { Backoff } from "../common/backoff.js";
import { make } from "../common/dom.js";
import { EMOTIONS, NEUTRAL, expressed } from "../common/emotions.js";
import { Findings } from "../common/findings.js";
import { probability } from "../common/format.js";
import { ReconnectingSocket } from "../common/reconnecting-socket.js";

const STAYS_MS = 8000; // how long the last words stay; captions on television stay 7 s at most

const caption = document.querySelector("#caption");
const bars = document.querySelector("#bars");
const findings = new Findings();
let scores = null; // the newest; null once they have gone from the page
let fading;

const options = new URLSearchParams(location.search);
const token = options.get("token"); // in the address, for a streaming program has nothing else

dress();
follow(`/api/sessions/${location.pathname.split("/").at(-1)}`);

function dress() {
  const { dataset } = document.documentElement;
  dataset.theme = options.get("theme") === "light" ? "light" : "dark";
  dataset.show = options.get("show") ?? "both";
}

/** Show what happens in a session from now on; what was said before is not put on the air again. */
async function follow(session) {
  const last = await lastOf(session);
  if (last === null) return;
  const feed = new ReconnectingSocket(`${session}/events`, session, last, token);
  feed.addEventListener("message", ({ detail }) => {
    findings.add(detail);
    if (["utterance.provisional", "utterance.result"].includes(detail.type)) scores = detail;
    else if (detail.type !== "transcript.partial") return;
    draw();
  });
}

/** The number of its last event so far; null if there is no such session. */
async function lastOf(session) {
  const backoff = new Backoff();
  for (;;) {
    try {
      return (await ask("GET", session, undefined, token)).last_seq;
    } catch (error) {
      if (!error.passing) return null;
      await backoff.wait();
    }
  }
}

function draw() {
  const { text, final, of } = findings.caption;
  const name = of && findings.speakerOf(of)?.name;
  caption.textContent = name && text ? `${name}: ${text}` : text;
  caption.classList.toggle("partial", !final);
  caption.hidden = !text;
  if (scores) bars.replaceChildren(...EMOTIONS.map(rowOf), bar(NEUTRAL, scores.neutral));
  bars.hidden = !scores;
  clearTimeout(fading);
  fading = setTimeout(clear, STAYS_MS);
}

function clear() {
  scores = null;
  caption.hidden = bars.hidden = true;
}

function rowOf(emotion) {
  const threshold = make("div", { className: "threshold" });
  threshold.style.left = `${100 * scores.thresholds[emotion]}%`;
  const row = bar(emotion, scores.emotions[emotion], threshold);
  row.classList.toggle("expressed", expressed(scores).includes(emotion));
  return row;
}

function bar(name, value, ...marks) {
  const filled = make("div", { className: "bar" });
  filled.style.width = `${100 * (value ?? 0)}%`;
  return make("li", { className: name },
    make("span", { className: "name" }, name),
    make("div", { className: "track" }, filled, ...marks),
    make("span", { className: "value" }, probability(value)),
  );
}
