// One utterance: its scores, what the model was given, and which part of that moved what.

import { make } from "../common/dom.js";
import { clock, wordsOf } from "../common/format.js";
import { drawScores, drawWaveform } from "./charts.js";
import { EMOTIONS, MODALITIES } from "../common/emotions.js";

export class UtterancePanel {
  #root;
  #find;
  #unseen = false; // others are in view, the speaker is not
  #sound = null; // where the server has what was heard, if it records

  constructor(root) {
    this.#root = root;
    this.#find = (name) => root.querySelector(name);
    this.#find(".hear").addEventListener("click", () => this.#hear());
  }

  /** The scores of a result, or of a long utterance so far; judged by the thresholds in them.
   *
   * `speaker` is who speaks, where that is known: name (may be ""), by and confidence.
   */
  showScores(scores, speaker = null) {
    const final = scores.type === "utterance.result";
    this.#root.classList.remove("empty");
    this.#root.dataset.utterance = scores.utterance;
    this.#find(".when").textContent = final
      ? `${scores.utterance}, from ${clock(scores.start)} to ${clock(scores.end)}`
      : `${scores.utterance}, so far`;
    drawScores(this.#root, scores);
    const inView = scores.in_view ?? [];
    this.#unseen = inView.length > 0 && !inView.some(({ speaks }) => speaks);
    this.#find(".speaker").textContent = speakerInWords(speaker, this.#unseen);
    this.#find(".words").textContent = final ? wordsOf(scores.transcript) : "…";
    this.#find(".confidence").textContent = final ? confidence(scores.transcript) : "";
    this.#find(".voice").textContent = final ? voiceInWords(scores.prosody) : "";
    this.#find(".contributions").replaceChildren(...(final ? contributions(scores) : []));
    this.#find(".delay").textContent = final ? delay(scores.latency) : "";
    if (!final) this.showInputs(null);
  }

  /** What the model was given: five faces and the sound; null while or where there is nothing. */
  showInputs(inputs) {
    const faces = (inputs?.faces ?? []).map((face, index) =>
      make("li", {}, make("img", {
        src: face.image,
        alt: `Face ${index + 1}, seen at ${clock(face.time)}`,
        title: clock(face.time),
      })),
    );
    this.#find(".faces").replaceChildren(...faces);
    const heard = (inputs?.waveform ?? []).length > 0;
    this.#find(".waveform").hidden = !heard;
    if (heard) drawWaveform(this.#find(".waveform"), inputs.waveform, inputs.duration);
    this.#find(".no-inputs").textContent = inputs
      ? missing(faces.length || this.#unseen, heard)
      : "";
  }

  /** The sound of the utterance, which the server keeps at the address `path`; null if it does not. */
  offerSound(path) {
    this.#sound = path;
    const audio = this.#find("audio");
    if (audio.src) URL.revokeObjectURL(audio.src);
    audio.removeAttribute("src");
    audio.hidden = true;
    this.#find(".hear").hidden = !path;
    this.#find(".hear").textContent = "Hear it";
  }

  async #hear() {
    const path = this.#sound;
    const answer = await fetch(path).catch(() => null);
    if (path !== this.#sound) return; // another one is looked at by now
    const button = this.#find(".hear");
    if (!answer?.ok) {
      button.textContent = "Its sound is not kept";
      return;
    }
    button.hidden = true;
    const audio = this.#find("audio");
    audio.src = URL.createObjectURL(await answer.blob());
    audio.hidden = false;
    audio.play();
  }

  /** An utterance that could not be analysed. */
  showFailure(failed) {
    this.#root.classList.add("empty");
    this.#root.dataset.utterance = failed.utterance;
    this.#find(".when").textContent = `${failed.utterance} could not be analysed: ${failed.message}`;
  }
}

function speakerInWords(speaker, unseen) {
  const parts = [];
  if (speaker?.name) parts.push(speaker.name + told(speaker));
  if (unseen) parts.push("the speaker is not in view");
  return parts.join("; ");
}

function told({ by, confidence: sure }) {
  const means = { face: "face", voice: "voice", both: "face and voice" }[by];
  return means ? ` (by ${means}, ${sure.toFixed(2)})` : ""; // else somebody said so
}

function missing(faces, heard) {
  const parts = [faces ? "" : "No face was found.", heard ? "" : "There was no sound."];
  return parts.filter(Boolean).join(" ");
}

/** One line for each emotion that something moved, the largest first. */
function contributions({ emotions, contributions: moved }) {
  const lines = EMOTIONS.map((emotion) => {
    const parts = Object.entries(moved[emotion] ?? {})
      .filter(([, by]) => Math.abs(by) >= 0.005)
      .sort(([, a], [, b]) => Math.abs(b) - Math.abs(a));
    return { emotion, parts, most: Math.abs(parts[0]?.[1] ?? 0) };
  });
  const worth = lines.filter(({ parts }) => parts.length).sort((a, b) => b.most - a.most);
  if (!worth.length) return [make("li", {}, "nothing moved any emotion by 0.01 or more")];
  return worth.map(({ emotion, parts }) => {
    const words = parts.map(([modality, by]) => `${MODALITIES[modality]} ${signed(by)}`).join(", ");
    return make("li", {}, make("b", {}, `${emotion} ${emotions[emotion].toFixed(2)}`), `: ${words}`);
  });
}

function signed(value) {
  return (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
}

function confidence({ text, confidence: sure }) {
  return text && sure != null ? `Confidence of the recogniser: ${sure.toFixed(2)}` : "";
}

/** How it was said, in words, of an utterance or on average; "" where there was no sound. */
export function voiceInWords(prosody) {
  if (!prosody) return "";
  const { pitch_hz: pitch, pitch_low_hz: low, pitch_high_hz: high } = prosody;
  const { loudness_lufs: loudness, words_per_s: pace, pauses, paused_s: paused } = prosody;
  const parts = [
    pitch != null && `pitch ${pitch.toFixed(0)} Hz (${low.toFixed(0)} to ${high.toFixed(0)})`,
    loudness != null && `loudness ${loudness.toFixed(0).replace("-", "−")} LUFS`,
    pace != null && `${pace.toFixed(1)} words a second`,
    pauses > 0 && `${pausesInWords(pauses)}, ${paused.toFixed(1)} s in all`,
  ];
  const words = parts.filter(Boolean).join("; ");
  return words && `Voice: ${words}`;
}

/** A mean need not be whole. */
function pausesInWords(pauses) {
  return pauses === 1 ? "1 pause" : `${Number.isInteger(pauses) ? pauses : pauses.toFixed(1)} pauses`;
}

function delay({ close_to_result: close, end_to_result: end, stages }) {
  const parts = Object.entries(stages).map(([stage, taken]) => `${stage} ${taken.toFixed(2)} s`);
  const after = end === null ? "" : `, ${end.toFixed(2)} s after the last word`;
  return `Result ${close.toFixed(2)} s after the pause was certain${after} (${parts.join(", ")})`;
}
