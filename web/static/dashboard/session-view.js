// Everything about one session on the page: it follows the events and shows what they tell.

import { ask } from "../common/api.js";
import { fromTemplate, make } from "../common/dom.js";
import { clock, wordsOf } from "../common/format.js";
import { ReconnectingSocket } from "../common/reconnecting-socket.js";
import { watch } from "../common/rtc.js";
import { drawScores } from "./charts.js";
import { begunBy } from "./columns.js";
import { expressed, expressedInWords } from "../common/emotions.js";
import { Findings } from "../common/findings.js";
import { Notes } from "./notes.js";
import { OverTime } from "./over-time.js";
import { Review } from "./review.js";
import { Speakers } from "./speakers.js";
import { Stage } from "./stage.js";
import { Timeline } from "./timeline.js";
import { UtterancePanel, voiceInWords } from "./utterance-panel.js";

// Which parts of the page an event changes.
const PARTS = {
  "utterance.provisional": ["last"],
  "utterance.result": ["caption", "face", "last", "timeline", "chart"],
  "utterance.failed": ["caption", "last", "timeline"],
  "average.updated": ["average"],
  "sound.event": ["chart"],
  "note.changed": ["notes", "chart"],
  "speaker.changed": ["caption", "last", "timeline", "average", "chart"],
  "session.ended": ["caption", "average", "chart"],
};

const CAPTION_S = 1; // how long the words of a film stay after they were said
const SLACK_S = 0.05; // a browser may show the picture just before the one that was asked for
const STATE_MS = 1000; // how often the server is asked how far a session is

/** Tells "event" (detail: each event of the session). */
export class SessionView extends EventTarget {
  root = fromTemplate("session-view");
  findings = new Findings();

  #thresholds;
  #feed;
  #viewer = null; // the connection that brings the picture of somebody else
  #panel;
  #speakers;
  #timeline;
  #chart;
  #notes;
  #review;
  #filmTime = null; // seconds; null where no film is watched
  #chosen = null; // the number of the utterance the person looks at; null follows the latest
  #shown = null; // the event whose inputs are on the page
  #frameSize = null; // [width, height] that the boxes of the faces refer to
  #stale = new Set();
  #over = new AbortController();

  /** `own` is what this page itself sends or plays, if it does: see camera-source.js. */
  constructor(session, thresholds, own = null) {
    super();
    this.session = session;
    this.own = own;
    this.#thresholds = thresholds;
    this.root.setAttribute("aria-label", session.name);
    this.root.querySelector(".who").textContent = session.name;
    this.stage = new Stage(this.root.querySelector(".stage"));
    this.#panel = new UtterancePanel(this.root.querySelector(".last"));
    if (own) own.show(this.stage);
    else this.#showFromServer();
    this.#timeline = new Timeline(this.root.querySelector(".timeline"));
    this.#timeline.addEventListener("choose", ({ detail }) => this.#open(detail));
    this.#speakers = new Speakers(this.root.querySelector(".average"), (...change) => this.#name(...change));
    this.#speakers.addEventListener("choose", () => this.#redraw("average", "chart"));
    this.root.querySelector(".latest").addEventListener("click", () => this.#choose(null));
    this.root.querySelector("button.rest").addEventListener("click", () => this.#rest());
    this.#followOverTime();
    this.#followFilm();
    const redraw = () => this.#redraw("last", "average", "timeline", "chart");
    thresholds.addEventListener("change", redraw, { signal: this.#over.signal });
    this.#listen();
    this.#followState();
  }

  close() {
    this.#over.abort();
    this.#viewer?.close();
    this.#feed.close();
    this.#chart.close();
    this.#review.close();
    this.#panel.offerSound(null);
    this.stage.close();
    this.root.remove();
  }

  #followOverTime() {
    const card = this.root.querySelector(".over-time");
    this.#chart = new OverTime(card);
    this.#chart.addEventListener("choose", ({ detail }) => this.#open(detail.utterance));
    this.#chart.addEventListener("seek", ({ detail }) => this.#review.seek(detail));
    this.#notes = new Notes(card.querySelector(".notes"), this.session.id);
    this.#notes.addEventListener("change", () => this.#listenAgain());
    this.#notes.addEventListener("seek", ({ detail }) => this.#goTo(detail));
    const press = (name, work) => card.querySelector(name).addEventListener("click", work);
    press(".closer", () => this.#chart.zoom(1 / 2));
    press(".wider", () => this.#chart.zoom(2));
    press(".whole", () => this.#chart.showAll());
    press(".previous", () => this.#step(-1));
    press(".next", () => this.#step(1));
    this.root.addEventListener("keydown", (event) => {
      if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
      const by = { n: 1, p: -1 }[event.key];
      if (by) this.#step(by);
    });
  }

  #followFilm() {
    this.#review = new Review(this.root.querySelector(".review"), this.stage);
    this.#review.addEventListener("at", ({ detail: time }) => {
      this.#filmTime = time;
      this.#notes.time = time;
      this.#chart.cursor = time;
      const { results } = this.findings;
      const begun = begunBy(results, time + SLACK_S) ?? results[0];
      if (begun && begun.utterance !== this.#chosen) this.#choose(begun.utterance);
      this.#redraw("caption");
    });
  }

  /** All was told, and the server is done with the session: only then there is a film of it. */
  #watchAgain() {
    if (this.findings.ended && this.session.state === "ended") this.#review.begin(this.session, this.own?.file);
  }

  /** Follow the events, from the first or from those that are known. */
  #listen() {
    const path = `/api/sessions/${this.session.id}`;
    this.#feed = new ReconnectingSocket(`${path}/events`, path, this.#feed?.last);
    this.#feed.addEventListener("message", ({ detail }) => this.#take(detail));
    this.#feed.addEventListener("broken", () => this.#connection("Connection lost, trying again…"));
    this.#feed.addEventListener("back", () => this.#connection(""));
    this.#feed.addEventListener("gone", () =>
      this.#connection("The server does not know this session any more."),
    );
  }

  #showFromServer() {
    const { id, kind, state, recorded } = this.session;
    if (state === "ended") {
      this.stage.end(recorded);
    } else if (kind === "camera" || kind === "call") {
      this.stage.showRemote();
      this.#viewer = watch(id, this.stage.video);
      this.#viewer.open().catch(({ message }) => this.stage.showNote(message));
    } else {
      this.stage.showPicture(`/api/sessions/${id}/picture`);
    }
  }

  /** What the events do not tell: whether it waits, how far it is, whether it is paused. */
  async #followState() {
    while (!this.#over.signal.aborted) {
      this.#drawState();
      if (this.session.state === "ended") return this.#watchAgain();
      await new Promise((resolve) => setTimeout(resolve, STATE_MS));
      this.session = await ask("GET", `/api/sessions/${this.session.id}`).catch(() => this.session);
      if (this.session.state === "running") this.#noteAt(this.session.time);
    }
  }

  #drawState() {
    const { state, paused_by: pausedBy, time, duration } = this.session;
    const now = clock(time, { tenths: false });
    const words = { waiting: "waiting for the models to load", running: now, ended: `ended at ${now}` };
    this.root.dataset.state = state;
    const who = { person: "this person", host: "you", "host,person": "you and this person" }[pausedBy];
    this.root.querySelector(".state").textContent = words[state] + (who ? `, analysis paused by ${who}` : "");
    this.root.querySelector(".of-call .pause").ariaPressed = String(pausedBy.length > 0);
    this.root.querySelector("button.rest").hidden = state === "ended";
    const progress = this.root.querySelector("header progress");
    progress.hidden = !duration || state === "ended";
    if (duration) progress.value = time / duration;
  }

  #take(event) {
    this.findings.add(event);
    this.#redraw(...(PARTS[event.type] ?? ["caption"]));
    if (/^speech|started$/.test(event.type)) this.stage.follow(event.time);
    this.#noteAt(event.time);
    if (event.type === "session.ended") {
      this.stage.end(this.session.recorded);
      this.#watchAgain();
      this.#viewer?.close();
      this.own?.ended(event.reason);
    }
    this.dispatchEvent(new CustomEvent("event", { detail: event }));
  }

  /** Draw these parts with the next picture of the screen: a hundred events may come at once. */
  #redraw(...parts) {
    if (!this.#stale.size) requestAnimationFrame(() => this.#draw());
    parts.forEach((part) => this.#stale.add(part));
  }

  #draw() {
    const stale = this.#stale;
    this.#stale = new Set();
    if (stale.has("caption")) this.#drawCaption();
    if (stale.has("timeline")) this.#drawTimeline();
    if (stale.has("face")) this.#drawFace();
    if (stale.has("chart")) this.#drawChart();
    if (stale.has("notes")) this.#notes.draw(this.findings.notes);
    if (stale.has("last")) this.#drawLast();
    if (stale.has("average")) this.#drawAverage();
  }

  #drawCaption() {
    const { speaking, warnings, latest } = this.findings;
    const caption = this.#filmTime === null ? this.findings.caption : this.#captionOfFilm();
    const name = caption.of && this.#nameOf(caption.of);
    this.stage.caption({ ...caption, text: named(name, caption.text) });
    this.stage.speaking(speaking);
    const lines = warnings.slice(-3).map(({ time, message }) => `${clock(time)} ${message}`);
    this.root.querySelector(".warnings").replaceChildren(...lines.map((line) => make("li", {}, line)));
    // One sentence an utterance for those who listen to the page.
    if (latest?.type === "utterance.result" && caption.final) {
      const scores = this.#thresholds.judge(latest);
      const words = named(name, `“${wordsOf(latest.transcript)}” ${expressedInWords(scores)}`);
      const spoken = this.root.querySelector(".spoken");
      if (spoken.textContent !== words) spoken.textContent = words;
    }
  }

  #captionOfFilm() {
    const of = begunBy(this.findings.results, this.#filmTime + SLACK_S);
    if (!of || this.#filmTime > of.end + CAPTION_S) return { text: "", final: true };
    const found = expressed(this.#thresholds.judge(of)).join(", ");
    return { text: wordsOf(of.transcript), final: true, of, found };
  }

  #drawTimeline() {
    const { all, latest, utterances } = this.findings;
    const following = this.#chosen === null;
    const number = this.#chosen ?? latest?.utterance;
    const given = {
      all,
      judge: (scores) => this.#thresholds.judge(scores),
      nameOf: (utterance) => this.#nameOf(utterance),
    };
    this.#timeline.draw(given, number, { following });
    this.#chart.choose(utterances.get(number) ?? null);
    this.root.querySelector(".latest").hidden = following;
  }

  #drawChart() {
    const { ended, latest, sounds, notes } = this.findings;
    const speaker = this.#speakers.chosen;
    this.#chart.draw({
      utterances: this.#resultsOf(speaker),
      thresholdsOf: (scores) => this.#thresholds.of(scores),
      nameOf: (utterance) => this.#nameOf(utterance),
      duration: this.session.duration ?? ended?.time,
      time: ended?.time ?? Math.max(latest?.end ?? 0, sounds.at(-1)?.end ?? 0),
      sounds,
      notes: notes.map(({ at }) => at),
      who: speaker === null ? "" : this.findings.nameOf(speaker),
    });
  }

  /** The results of a speaker; of everybody for null. */
  #resultsOf(speaker) {
    const { results } = this.findings;
    if (speaker === null) return results;
    return results.filter((result) => this.findings.speakerOf(result)?.id === speaker);
  }

  #drawLast() {
    const { utterances, latest, provisional } = this.findings;
    const event = this.#chosen ? utterances.get(this.#chosen) : (provisional ?? latest);
    if (!event) return;
    this.root.querySelector(".last h3").textContent = this.#chosen ? "Utterance" : "Last utterance";
    if (event.type === "utterance.failed") {
      this.#panel.showFailure(event);
    } else {
      const final = event.type === "utterance.result";
      const speaker = final ? this.findings.speakerOf(event) : null;
      this.#panel.showScores(this.#thresholds.judge(event), speaker);
      if (final && event !== this.#shown) this.#loadInputs(event);
      if (event !== this.#shown) this.#panel.offerSound(final ? this.#soundOf(event) : null);
    }
    this.#shown = event;
  }

  #drawFace() {
    const { latest } = this.findings;
    const faces = latest?.in_view?.length
      ? latest.in_view.map((face) => ({ ...face, name: this.#nameOfFace(face, latest) }))
      : (latest?.faces ?? []).slice(-1).map((face) => ({ ...face, speaks: true })); // of an earlier version
    if (faces.length) this.stage.boxes(faces, this.#frameSize);
  }

  #soundOf({ utterance }) {
    const { id, recorded } = this.session;
    return recorded ? `/api/sessions/${id}/utterances/${utterance}/sound.wav` : null;
  }

  async #loadInputs(event) {
    const path = `/api/sessions/${this.session.id}/utterances/${event.utterance}`;
    const answer = await ask("GET", path).catch(() => null);
    if (this.#shown !== event) return; // another one is looked at by now
    this.#panel.showInputs(answer?.inputs);
    const size = answer?.inputs?.frame;
    if (size && String(size) !== String(this.#frameSize)) {
      this.#frameSize = size;
      this.#redraw("face");
    }
  }

  #drawAverage() {
    const { average, ended, people } = this.findings;
    if (!average) return;
    this.#speakers.draw(people);
    const shown = people.find(({ id }) => id === this.#speakers.chosen) ?? average;
    const root = this.root.querySelector(".average");
    root.classList.remove("empty");
    root.dataset.utterances = average.utterances;
    const count = shown.utterances === 1 ? "1 utterance" : `${shown.utterances} utterances`;
    root.querySelector("h3").textContent = ended ? "Final average" : "Running average";
    root.querySelector(".when").textContent = `over ${count}`;
    drawScores(root, this.#thresholds.judge(shown));
    root.querySelector(".voice").textContent = voiceInWords(shown.prosody);
  }

  /** The last utterance showed the person at rest. */
  async #rest() {
    const said = await ask("POST", `/api/sessions/${this.session.id}/rest`).then(
      () => "Taken for rest. From the next utterance on, the scores are also told less that.",
      ({ message }) => message,
    );
    this.root.querySelector(".rested").textContent = said;
  }

  /** Have the server change a speaker; the change comes back with the events. */
  async #name(speaker, change) {
    await ask("POST", `/api/sessions/${this.session.id}/speakers/${speaker}`, change);
    this.#listenAgain();
  }

  /** Hear what was told after the end: the feed had told everything, and closed. */
  #listenAgain() {
    if (this.findings.ended) this.#listen();
  }

  #nameOf(utterance) {
    return this.findings.speakerOf(utterance)?.name ?? "";
  }

  #nameOfFace({ speaks, speaker }, utterance) {
    return speaks ? this.#nameOf(utterance) : this.findings.nameOf(speaker);
  }

  /** The session has come to this time: the next note is about it, unless the person looks at another. */
  #noteAt(time) {
    if (this.#filmTime === null && this.#chosen === null) this.#notes.time = time;
  }

  #choose(number) {
    this.#chosen = number;
    if (this.#filmTime === null && number !== null) this.#notes.time = this.findings.utterances.get(number).start;
    this.#redraw("last", "timeline");
  }

  /** The person wants to see this utterance; where there is a film, there. */
  #open(number) {
    this.#choose(number);
    this.#review.seek(this.findings.utterances.get(number).start);
  }

  #goTo(time) {
    const begun = begunBy(this.findings.results, time);
    if (begun) this.#choose(begun.utterance);
    this.#review.seek(time);
  }

  /** Go to the next (1) or the one before (-1) in which an emotion is expressed. */
  #step(by) {
    const results = this.#resultsOf(this.#speakers.chosen);
    const here = this.#chosen ?? (this.#review.on ? 0 : this.findings.latest?.utterance) ?? 0;
    const there = results.filter(({ utterance }) => (utterance - here) * by > 0);
    const found = (by > 0 ? there : there.reverse()).find((each) => expressed(this.#thresholds.judge(each)).length);
    const words = by > 0 ? "No later utterance expresses an emotion." : "No earlier utterance expresses an emotion.";
    this.root.querySelector(".stepped").textContent = found ? "" : words;
    if (found) this.#open(found.utterance);
  }

  #connection(words) {
    this.root.querySelector(".connection").textContent = words;
  }
}

function named(name, words) {
  return name && words ? `${name}: ${words}` : words;
}
