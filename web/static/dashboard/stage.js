// The picture of a session, with a box around each face, the speech light and the captions.

import { make } from "../common/dom.js";

const SVG = "http://www.w3.org/2000/svg";
const NAME_PX = 15; // height of the names on the screen
const BOX_S = 4; // a face is where it was found for about that long

export class Stage {
  #root;
  #video;
  #image;
  #overlay;
  #light;
  #caption;
  #note;
  #hidden; // timer of the boxes
  #live = false; // the video is a file that is played in step with the server

  constructor(root) {
    this.#root = root;
    this.#video = root.querySelector("video");
    this.#image = root.querySelector("img");
    this.#overlay = root.querySelector("svg");
    this.#light = root.querySelector(".light");
    this.#caption = root.querySelector(".caption");
    this.#note = root.querySelector(".note");
    const sound = root.querySelector(".sound");
    sound.addEventListener("click", () => {
      this.#video.muted = !this.#video.muted;
    });
    this.#video.addEventListener("volumechange", () => {
      sound.textContent = this.#video.muted ? "Sound on" : "Sound off";
    });
  }

  get video() {
    return this.#video;
  }

  /** The person's own camera, like a mirror, or what they share; without its sound. */
  showOwn(stream, { mirrored = true } = {}) {
    if (stream.getVideoTracks().length) this.#show(this.#video);
    else this.showNote("Microphone only: no picture.");
    this.#video.muted = true;
    this.#video.srcObject = stream;
    this.#root.classList.toggle("mirrored", mirrored);
  }

  /** A stream that comes from the server, silent until the person asks for sound. */
  showRemote() {
    this.#show(this.#video);
    this.#video.muted = true;
    this.#root.classList.add("has-sound");
  }

  /** A file of the person's own, played in step (`live`) or shown where the analysis is.
   *
   * What this browser cannot play, it sees as the server does: at the address `picture`.
   */
  showFile(file, live, picture) {
    this.#show(this.#video);
    this.#live = live;
    this.#video.muted = !live;
    this.#root.classList.toggle("has-sound", live);
    this.#video.src = URL.createObjectURL(file);
    this.#video.addEventListener("loadeddata", () => {
      if (!this.#video.videoWidth) this.showPicture(picture);
    }, { once: true });
    this.#video.addEventListener("error", () => this.showPicture(picture), { once: true });
  }

  /** The picture as the server sees it, a few times a second. */
  showPicture(address) {
    this.#show(this.#image, "No picture."); // which the picture, if there is one, covers
    this.#image.src = address;
  }

  showNote(words) {
    this.#show(null, words);
  }

  /** The film at `address`, to be played by the person. Throws what to tell where it cannot be. */
  async review(address) {
    this.#show(this.#video);
    const video = this.#video;
    video.muted = false;
    video.autoplay = false;
    video.controls = true;
    this.#root.classList.add("reviewed");
    const ready = new Promise((resolve, reject) => {
      video.addEventListener("loadedmetadata", resolve, { once: true });
      video.addEventListener("error", reject, { once: true });
    });
    video.src = address;
    await ready.catch(() => {
      this.showNote("");
      throw new Error("This browser cannot play this recording.");
    });
  }

  /** Nothing more will come. A file of the person's own stays where it is; a session that is `recorded` has a film. */
  end(recorded) {
    if (this.#video.src) this.#video.pause();
    else this.showNote(`This session has ended.${recorded ? "" : " No picture of it is kept."}`);
  }

  /** Let go of streams and files. */
  close() {
    this.showNote("");
  }

  /** The analysis has come to `time` seconds: bring a played file there. */
  follow(time) {
    if (!this.#video.src) return;
    if (this.#live && this.#video.paused && !this.#video.ended) {
      this.#video.play().catch(() => {
        this.#video.muted = true; // a browser may refuse sound, but not a silent picture
        this.#video.play().catch(() => {});
      });
    }
    if (!this.#live || Math.abs(this.#video.currentTime - time) > 0.5) this.#video.currentTime = time;
  }

  /** Whether somebody speaks. */
  speaking(is) {
    this.#light.classList.toggle("on", is);
    this.#light.textContent = is ? "Speech" : "Silence";
  }

  /** Show words; after them, what was `found` in them. */
  caption({ text, final, found = "" }) {
    this.#caption.replaceChildren(text || "…", ...(found ? [make("b", {}, ` ${found}`)] : []));
    this.#caption.classList.toggle("partial", !final);
  }

  /** Put a box around each face: { box, name, speaks }.
   *
   * `size` is the [width, height] their numbers refer to.
   */
  boxes(faces, size) {
    if (this.#video.hidden && this.#image.hidden) return;
    const [width, height] = size ?? [this.#video.videoWidth, this.#video.videoHeight];
    this.#overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const shown = this.#overlay.getBoundingClientRect();
    const scale = Math.min(shown.width / width, shown.height / height) || 1;
    this.#overlay.replaceChildren(...faces.flatMap((face) => framed(face, NAME_PX / scale)));
    this.#overlay.classList.add("on");
    clearTimeout(this.#hidden);
    this.#hidden = setTimeout(() => this.#overlay.classList.remove("on"), BOX_S * 1000);
  }

  #show(element, words = "") {
    if (this.#video.src) URL.revokeObjectURL(this.#video.src);
    this.#video.removeAttribute("src");
    this.#video.srcObject = null;
    this.#image.removeAttribute("src"); // ends the request for its pictures
    this.#live = false;
    this.#video.autoplay = true;
    this.#video.controls = false;
    this.#root.classList.remove("mirrored", "has-sound", "reviewed");
    this.#video.hidden = element !== this.#video;
    this.#image.hidden = element !== this.#image;
    this.#note.textContent = words;
    this.#overlay.classList.remove("on");
  }
}

/** A box and, above it, a name of this height; inside where there is no room above. */
function framed({ box: [x, y, width, height], name, speaks }, size) {
  const rectangle = svg("rect", { x, y, width, height, rx: 4 });
  rectangle.classList.toggle("speaks", speaks);
  if (!name) return [rectangle];
  const line = y > 1.4 * size ? y - 0.4 * size : y + 1.2 * size;
  const text = svg("text", { x: x + width / 2, y: line, "font-size": size });
  text.classList.toggle("speaks", speaks);
  text.textContent = name;
  return [rectangle, text];
}

function svg(name, attributes) {
  const element = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach((pair) => element.setAttribute(...pair));
  return element;
}
