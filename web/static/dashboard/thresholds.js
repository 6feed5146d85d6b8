// Thresholds that the person has moved, and the sliders that move them.

import { make } from "../common/dom.js";
import { EMOTIONS } from "../common/emotions.js";

/** What was moved; all else stays as the model says. Tells "change". */
export class Thresholds extends EventTarget {
  #moved = {};

  /** The thresholds of these scores, some of them moved. */
  of({ thresholds }) {
    return Object.keys(this.#moved).length ? { ...thresholds, ...this.#moved } : thresholds;
  }

  /** The same scores, judged by the moved thresholds. */
  judge(scores) {
    return { ...scores, thresholds: this.of(scores) };
  }

  isMoved(emotion) {
    return emotion in this.#moved;
  }

  move(emotion, value) {
    this.#moved[emotion] = value;
    this.dispatchEvent(new Event("change"));
  }

  reset() {
    this.#moved = {};
    this.dispatchEvent(new Event("change"));
  }

  /** For the exports: "?thresholds=happiness:0.4,fear:0.2", or nothing if none was moved. */
  get query() {
    const moved = Object.entries(this.#moved).map(([emotion, value]) => `${emotion}:${value}`);
    return moved.length ? `?thresholds=${moved.join(",")}` : "";
  }
}

/** Six sliders in `root`, standing where the thresholds are. */
export class ThresholdSliders {
  #rows = {};
  #thresholds;
  #model = null; // the model's own, once a result has told them

  constructor(root, thresholds) {
    this.#thresholds = thresholds;
    for (const emotion of EMOTIONS) {
      const slider = make("input", { type: "range", min: 0, max: 1, step: 0.01, value: 0.5 });
      slider.addEventListener("input", () => thresholds.move(emotion, slider.valueAsNumber));
      const value = make("output");
      root.append(make("label", {}, make("span", {}, emotion), slider, value));
      this.#rows[emotion] = { slider, value };
    }
    const reset = make("button", { type: "button", className: "quiet" }, "As the model says");
    reset.addEventListener("click", () => thresholds.reset());
    root.append(reset);
    thresholds.addEventListener("change", () => this.#draw());
    this.#draw();
  }

  /** The model's thresholds, as the newest scores tell them. */
  follow(thresholds) {
    this.#model = thresholds;
    this.#draw();
  }

  #draw() {
    const { thresholds } = this.#thresholds.judge({ thresholds: this.#model ?? {} });
    for (const [emotion, { slider, value }] of Object.entries(this.#rows)) {
      const moved = this.#thresholds.isMoved(emotion);
      slider.value = thresholds[emotion] ?? 0.5;
      value.textContent = emotion in thresholds ? thresholds[emotion].toFixed(2) : "–";
      value.classList.toggle("moved", moved);
      slider.setAttribute("aria-valuetext", value.textContent + (moved ? ", moved" : ", as the model says"));
    }
  }
}
