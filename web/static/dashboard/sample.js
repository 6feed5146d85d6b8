// A short recording for those without a camera: uploaded as if it were the person's own.

import { onSubmit } from "../common/forms.js";
import { PlayedFile, upload } from "./upload-source.js";

/** Let `form` analyse the sample, `begin` show its session, and `hints` explain it. */
export function sampleSource(form, hints, begin) {
  hints.querySelector("button").addEventListener("click", () => (hints.hidden = true));
  onSubmit(form, async () => {
    const answer = await fetch("/static/sample/talk.mp4");
    if (!answer.ok) throw new Error("The server does not give the sample away.");
    const file = new File([await answer.blob()], "sample.mp4", { type: "video/mp4" });
    const session = await upload(file, "live");
    begin(session, new PlayedFile(file, true, session));
    hints.hidden = false;
  });
}
