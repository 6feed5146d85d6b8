// A webcam of the server, a file that lies there, or the address of a stream.

import { ask } from "../common/api.js";
import { onSubmit } from "../common/forms.js";

/** Let `form` start a session of such a source and `begin` show it. */
export function serverSource(form, begin) {
  onSubmit(form, async () => {
    const source = form.elements.source.value.trim();
    if (!source) throw new Error("Say what to analyse: webcam, the path of a file, or an address.");
    begin(await ask("POST", "/api/sessions", { source, pace: form.elements.pace.value }));
  });
}
