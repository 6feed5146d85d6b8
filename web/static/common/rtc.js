// Media to and from the server by WebRTC: WHIP publishes, WHEP watches.

import { ask, send } from "./api.js";
import { Backoff } from "./backoff.js";

const GATHERING_MS = 2000; // candidates that take longer are left out
const LOST_MS = 10_000; // a connection that is interrupted for longer is made anew

/** One WHIP or WHEP resource, made anew when its network was lost.
 *
 * Tells "open" (each time there is a new resource), "interrupted", "resumed", and "refused"
 * when the server does not want it back.
 */
export class Connection extends EventTarget {
  #backoff = new Backoff();
  #peer = null;
  #lost; // timer since the interruption
  #over = new AbortController();
  /** Address of the resource: /whip/SESSION or /whep/SESSION/VIEWER. */
  resource = null;
  /** By which a guest can erase what is found of them, at any later time; see published.js. */
  eraseToken = null;
  state = "new"; // "live", "interrupted" or "closed"

  /** `endpoint` takes the offer; `prepare` gives a new RTCPeerConnection its tracks. */
  constructor(endpoint, prepare) {
    super();
    this.endpoint = endpoint;
    this.prepare = prepare;
    // A closing page has no time for an answer, but the request goes out.
    window.addEventListener("pagehide", () => this.close(), { signal: this.#over.signal });
  }

  /** Connect; throws a ServerError if the server refuses. */
  async open() {
    const { ice_servers: iceServers } = await ask("GET", "/api/server");
    const peer = new RTCPeerConnection({ iceServers: iceServers.map(withoutNulls) });
    this.#peer = peer;
    try {
      this.prepare(peer);
      await peer.setLocalDescription();
      await gathered(peer);
      const answer = await send("POST", this.endpoint, peer.localDescription.sdp, "application/sdp");
      this.eraseToken = answer.headers.get("Erase-Token");
      this.resource = new URL(answer.headers.get("Location"), location.href).pathname;
      if (this.#over.signal.aborted) return this.#delete();
      await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
    } catch (error) {
      peer.close();
      throw error;
    }
    peer.addEventListener("connectionstatechange", () => this.#changed(peer));
    this.state = "live";
    this.dispatchEvent(new Event("open"));
  }

  /** The server has lost us, even if the network seems well from here: connect anew. */
  renew() {
    if (this.state !== "live") return; // or it is being done already
    this.#tell("interrupted", "interrupted");
    this.#renew();
  }

  /** End it, here and on the server. */
  close() {
    if (this.state === "closed") return;
    this.state = "closed";
    this.#over.abort();
    clearTimeout(this.#lost);
    this.#peer?.close();
    if (this.resource) this.#delete();
  }

  #delete() {
    fetch(this.resource, { method: "DELETE", keepalive: true }).catch(() => {});
  }

  #changed(peer) {
    if (peer !== this.#peer || this.state === "closed") return;
    clearTimeout(this.#lost);
    if (peer.connectionState === "connected" && this.state === "interrupted") {
      this.#tell("live", "resumed");
    } else if (peer.connectionState === "disconnected") {
      this.#tell("interrupted", "interrupted");
      this.#lost = setTimeout(() => this.#renew(), LOST_MS);
    } else if (peer.connectionState === "failed") {
      this.#tell("interrupted", "interrupted");
      this.#renew();
    }
  }

  async #renew() {
    this.#peer.close();
    this.#delete();
    while (this.state === "interrupted") {
      await this.#backoff.wait();
      if (this.state !== "interrupted") return;
      try {
        await this.open();
        this.#backoff.reset();
      } catch (error) {
        if (error.passing) continue;
        this.close();
        this.dispatchEvent(new CustomEvent("refused", { detail: error }));
      }
    }
  }

  #tell(state, type) {
    this.state = state;
    this.dispatchEvent(new Event(type));
  }
}

/** Send the tracks of a stream, under the `name` and into the `room` that `query` holds. */
export function publish(stream, query) {
  return new Connection(`/whip?${new URLSearchParams(query)}`, (peer) => {
    for (const track of stream.getTracks()) {
      const { sender } = peer.addTransceiver(track, { direction: "sendonly", streams: [stream] });
      if (track.kind === "video") keepResolution(sender);
    }
  });
}

/** Show the media of a session in a video element. */
export function watch(session, video) {
  return new Connection(`/whep/${session}`, (peer) => {
    const stream = new MediaStream();
    peer.addTransceiver("audio", { direction: "recvonly" });
    peer.addTransceiver("video", { direction: "recvonly" });
    peer.addEventListener("track", ({ track }) => stream.addTrack(track));
    video.srcObject = stream;
  });
}

/** A face needs its pixels more than it needs 30 pictures a second. */
function keepResolution(sender) {
  const parameters = sender.getParameters();
  parameters.degradationPreference = "maintain-resolution";
  sender.setParameters(parameters).catch(() => {}); // some browsers do not know it: no harm
}

function withoutNulls(server) {
  return Object.fromEntries(Object.entries(server).filter(([, value]) => value !== null));
}

function gathered(peer) {
  return new Promise((resolve) => {
    if (peer.iceGatheringState === "complete") return resolve();
    const timer = setTimeout(resolve, GATHERING_MS);
    peer.addEventListener("icegatheringstatechange", () => {
      if (peer.iceGatheringState !== "complete") return;
      clearTimeout(timer);
      resolve();
    });
  });
}
