// How long to wait before trying again: half a second, then twice as long each time, at most 8 s.

export class Backoff {
  #failures = 0;

  reset() {
    this.#failures = 0;
  }

  /** Wait for the next try; the browser coming online again, or the page into view, ends it. */
  wait() {
    const pause = Math.min(8000, 500 * 2 ** this.#failures++) * (0.8 + 0.4 * Math.random());
    return new Promise((resolve) => {
      const over = new AbortController();
      const go = () => {
        clearTimeout(timer);
        over.abort();
        resolve();
      };
      const timer = setTimeout(go, pause);
      window.addEventListener("online", go, { signal: over.signal });
      document.addEventListener("visibilitychange", go, { signal: over.signal });
    });
  }
}
