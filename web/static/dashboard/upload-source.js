// A video file of the person's own: chosen or dropped, sent, and played in step with the analysis.

import { ServerError, ask, problem } from "../common/api.js";
import { onSubmit } from "../common/forms.js";

/** Let `form` upload a file and `begin` show its session. */
export function uploadSource(form, begin) {
  const chooser = form.elements.video;
  const name = form.querySelector(".file-name");
  const progress = form.querySelector("progress");

  const choose = () => {
    const file = chooser.files[0];
    name.textContent = file ? `${file.name} (${(file.size / 1e6).toFixed(1)} MB)` : "No file chosen yet.";
  };
  chooser.addEventListener("change", choose);
  form.addEventListener("reset", () => setTimeout(choose));

  // A file that is dropped anywhere on the page must not make the browser leave it.
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => event.preventDefault());
  const zone = form.querySelector(".drop");
  for (const type of ["dragover", "dragleave", "drop"]) {
    zone.addEventListener(type, () => zone.classList.toggle("over", type === "dragover"));
  }
  zone.addEventListener("drop", (event) => {
    if (!event.dataTransfer.files.length) return;
    chooser.files = event.dataTransfer.files;
    choose();
  });

  onSubmit(form, async () => {
    const file = chooser.files[0];
    if (!file) throw new Error("Choose a video file first.");
    const { max_upload_mb: limit } = (await ask("GET", "/api/server")).limits;
    if (file.size > limit * 1e6) {
      // The server would say so too, but browsers do not read an answer while they send.
      throw new Error(`A recording may have up to ${limit} MB: choose a shorter or smaller one.`);
    }
    const pace = form.elements.pace.value;
    progress.hidden = false;
    try {
      const session = await upload(file, pace, (part) => (progress.value = part));
      begin(session, new PlayedFile(file, pace === "live", session));
    } finally {
      progress.hidden = true;
    }
  });
}

/** A file of the person's own, and how it is shown; `live`: in step with the analysis. */
export class PlayedFile {
  constructor(file, live, session) {
    this.file = file;
    this.live = live;
    this.session = session;
  }

  show(stage) {
    stage.showFile(this.file, this.live, `/api/sessions/${this.session.id}/picture`);
  }

  ended() {}

  end() {}
}

/** Send the file; `onProgress` gets 0 to 1. Unlike fetch, XMLHttpRequest tells how far it is. */
export function upload(file, pace, onProgress = () => {}) {
  return new Promise((resolve, reject) => {
    const body = new FormData();
    body.append("pace", pace);
    body.append("video", file);
    const request = new XMLHttpRequest();
    request.open("POST", "/api/sessions");
    request.upload.addEventListener("progress", ({ loaded, total }) => onProgress(loaded / total));
    request.addEventListener("load", () => {
      if (request.status === 201) resolve(JSON.parse(request.responseText));
      else reject(problem(request.status, request.responseText));
    });
    request.addEventListener("error", () =>
      reject(new ServerError(0, "unreachable", "The server did not take the file. Is it still running?")),
    );
    request.send(body);
  });
}
