// The film of a session, watched again along with what was found in it: the one that the server keeps, or a
// recording of the person's own, which stays in this browser.

/** Tells "at" (detail: the time of the film in seconds), with each picture while it plays. */
export class Review extends EventTarget {
  #stage;
  #session = null; // that has ended
  #root;
  #message;
  #over = new AbortController();
  /** Whether there is a film to watch. */
  on = false;

  /** `root` has the file chooser; the film plays on `stage`. */
  constructor(root, stage) {
    super();
    this.#root = root;
    this.#stage = stage;
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

  /** Watch `file`, the recording that was analysed, where this page has it; else what the server keeps. */
  begin(session, file) {
    this.#session = session;
    if (file) this.open(file);
    else this.#offer();
  }

  /** Watch `file`. */
  async open(file) {
    this.#message.textContent = "";
    try {
      await this.#watch(URL.createObjectURL(file));
    } catch (error) {
      this.#message.textContent = error.message;
      return this.#offer();
    }
    const { duration } = this.#session;
    if (Math.abs(this.#stage.video.duration - duration) > 1) {
      this.#root.hidden = false;
      this.#message.textContent = "This recording is not as long as the one that was analysed. Is it another one?";
    }
  }

  /** Watch the film of the server, if it keeps one; else offer to open the recording, if it was one. */
  #offer() {
    const { id, film, duration } = this.#session;
    if (film) this.#watch(`/api/sessions/${id}/film`).catch(({ message }) => this.#stage.showNote(message));
    else if (duration !== null) this.#root.hidden = false;
  }

  async #watch(address) {
    await this.#stage.review(address);
    if (this.#over.signal.aborted) return;
    this.on = true;
    this.#root.hidden = true;
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
