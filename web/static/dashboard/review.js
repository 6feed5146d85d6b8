// The film of a recording, watched again along with what was found in it. It stays in this browser.

/** Tells "at" (detail: the time of the film in seconds), with each picture while it plays. */
export class Review extends EventTarget {
  #stage;
  #session;
  #root;
  #message;
  #over = new AbortController();
  /** Whether there is a film to watch. */
  on = false;

  /** `root` has the file chooser; the film plays on `stage`. */
  constructor(root, stage, session) {
    super();
    this.#root = root;
    this.#stage = stage;
    this.#session = session;
    this.#message = root.querySelector(".message");
    const chooser = root.querySelector("input");
    chooser.addEventListener("change", () => chooser.files[0] && this.open(chooser.files[0]));
    const tell = () => {
      if (!this.on) return;
      this.dispatchEvent(new CustomEvent("at", { detail: stage.video.currentTime }));
      if (!stage.video.paused) requestAnimationFrame(tell);
    };
    for (const type of ["play", "seeking"]) {
      stage.video.addEventListener(type, tell, { signal: this.#over.signal });
    }
  }

  /** Offer to open the recording, if it was one: the server keeps no film. */
  offer() {
    if (this.#session.duration !== null) this.#root.hidden = false;
  }

  /** Watch `file`. */
  async open(file) {
    this.#message.textContent = "";
    try {
      await this.#stage.review(file);
    } catch (error) {
      this.#message.textContent = error.message;
      return this.offer();
    }
    if (this.#over.signal.aborted) return;
    this.on = true;
    this.#root.hidden = true;
    const { duration } = this.#session;
    if (Math.abs(this.#stage.video.duration - duration) > 1) {
      this.#root.hidden = false;
      this.#message.textContent = "This recording is not as long as the one that was analysed. Is it another one?";
    }
  }

  /** Bring the film to `time` seconds, if there is one. */
  seek(time) {
    if (this.on) this.#stage.video.currentTime = time;
  }

  close() {
    this.on = false;
    this.#over.abort();
  }
}
