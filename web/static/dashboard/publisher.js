// A stream of this browser on its way to the server: what the sources that send media share.

import { ask } from "../common/api.js";
import { notice } from "../common/forms.js";
import { publish } from "../common/rtc.js";

/** Send what `publisher` holds, let `begin` show its session, and tell the `notes`. */
export async function send(publisher, begin, notes) {
  publisher.connection.addEventListener("open", async () => {
    // Also after a break of the network: what comes now is a new session.
    begin(await ask("GET", `/api/sessions/${publisher.session}`), publisher);
    notice(notes.join(" "));
  });
  try {
    await publisher.connection.open();
  } catch (error) {
    publisher.end();
    throw error;
  }
}

export class Publisher {
  #mirrored;
  #release;

  /** The `name` is that of its sessions; `release` lets go of what else was opened for it. */
  constructor(stream, { name, mirrored, release = () => {} }) {
    this.stream = stream;
    this.#mirrored = mirrored;
    this.#release = release;
    this.connection = publish(stream, { name });
    this.connection.addEventListener("interrupted", () =>
      notice("The connection to the server was lost. Trying to get it back…"),
    );
    this.connection.addEventListener("resumed", () => notice(""));
    this.connection.addEventListener("refused", ({ detail }) => notice(detail.message));
  }

  get session() {
    return this.connection.resource.split("/").at(-1);
  }

  show(stage) {
    stage.showOwn(this.stream, { mirrored: this.#mirrored });
  }

  /** The server has ended the session; after a break that may be news from before it. */
  ended(reason) {
    const sending = this.stream.getTracks().some(({ readyState }) => readyState === "live");
    if (reason === "source_error" && sending) this.connection.renew();
    else if (this.connection.state === "live") this.end();
  }

  end() {
    this.connection.close();
    this.stream.getTracks().forEach((track) => track.stop());
    this.#release();
  }
}
