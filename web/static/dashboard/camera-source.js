// The person's own camera and microphone, sent to the server.

import { ask } from "../common/api.js";
import { DevicePicker, insecure } from "../common/devices.js";
import { notice, onSubmit } from "../common/forms.js";
import { publish } from "../common/rtc.js";

/** Let `form` start a session of the browser's devices and `begin` show it. */
export function cameraSource(form, begin) {
  const picker = new DevicePicker(form.querySelector(".devices"));
  if (!window.isSecureContext) form.querySelector(".message").textContent = insecure();
  onSubmit(form, async () => {
    const { stream, notes } = await picker.open();
    const publisher = new Publisher(stream);
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
  });
}

class Publisher {
  constructor(stream) {
    this.stream = stream;
    this.connection = publish(stream, { name: "Browser camera" });
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
    stage.showOwn(this.stream);
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
  }
}
