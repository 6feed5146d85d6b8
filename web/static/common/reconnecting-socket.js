// A socket that is never lost for long: it comes back after a break, and nothing comes twice.

import { ask } from "./api.js";
import { Backoff } from "./backoff.js";

/** Messages of one socket, across breaks.
 *
 * Tells "message" (detail: the parsed JSON), "broken", "back", and "gone" (detail: the error)
 * when the server does not give `resource` any more. Messages that carry `seq` are asked for after the last one.
 */
export class ReconnectingSocket extends EventTarget {
  #backoff = new Backoff();
  #socket = null;
  #last = 0;
  #token;
  #over = new AbortController();

  /**
   * `path` of the socket; `resource`, the path of what it tells about; `after`, the last known; `token`, for pages
   * without a cookie.
   */
  constructor(path, resource, after = 0, token = null) {
    super();
    this.#last = after;
    this.#token = token;
    this.path = path;
    this.resource = resource;
    // A socket may take minutes to find out by itself that its network has gone.
    window.addEventListener("offline", () => this.#socket.close(4000), { signal: this.#over.signal });
    this.#connect();
  }

  close() {
    this.#over.abort();
    this.#socket.close();
  }

  /** Number of the last message, for a feed that goes on from there. */
  get last() {
    return this.#last;
  }

  get #closed() {
    return this.#over.signal.aborted;
  }

  #connect() {
    const address = new URL(this.path, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    if (this.#last) address.searchParams.set("after", this.#last);
    this.#socket = new WebSocket(address);
    this.#socket.addEventListener("open", () => {
      if (this.#token) this.#socket.send(JSON.stringify({ type: "auth", token: this.#token }));
      this.#backoff.reset();
      this.#tell("back");
    });
    this.#socket.addEventListener("message", ({ data }) => this.#receive(JSON.parse(data)));
    this.#socket.addEventListener("close", ({ code }) => this.#lost(code));
  }

  #receive(message) {
    if (this.#closed || message.error || message.seq <= this.#last) return;
    this.#last = message.seq ?? 0;
    this.#tell("message", message);
  }

  async #lost(code) {
    if (code === 1000) this.#over.abort(); // the server has told everything
    if (this.#closed) return;
    this.#tell("broken");
    await this.#backoff.wait();
    try {
      await ask("GET", this.resource, undefined, this.#token);
    } catch (error) {
      if (!error.passing) {
        this.#over.abort();
        return this.#tell("gone", error);
      }
    }
    if (!this.#closed) this.#connect();
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
