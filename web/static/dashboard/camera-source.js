// The person's own camera and microphone, sent to the server.

import { DevicePicker, insecure } from "../common/devices.js";
import { onSubmit } from "../common/forms.js";
import { Publisher, send } from "./publisher.js";

/** Let `form` start a session of the browser's devices and `begin` show it. */
export function cameraSource(form, begin) {
  const picker = new DevicePicker(form.querySelector(".devices"));
  if (!window.isSecureContext) form.querySelector(".message").textContent = insecure();
  onSubmit(form, async () => {
    const { stream, notes } = await picker.open();
    await send(new Publisher(stream, { name: "Browser camera", mirrored: true }), begin, notes);
  });
}
