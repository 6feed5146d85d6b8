// Links to take the results away, judged by the thresholds as they were moved.

import { make } from "../common/dom.js";

const FORMATS = {
  "report.html": "Report",
  "results.json": "JSON",
  "results.jsonl": "JSON Lines",
  "results.csv": "Utterances (CSV)",
  "results.parquet": "Utterances (Parquet, needs PyArrow)",
  "faces.csv": "Faces (CSV)",
  "sounds.csv": "Sounds (CSV)",
  "notes.csv": "Notes (CSV)",
  "results.vtt": "Captions (WebVTT)",
  "results.srt": "Captions (SRT)",
  "results.eaf": "ELAN",
  "results.TextGrid": "Praat",
  "events.tsv": "BIDS events",
  "events.json": "BIDS sidecar",
};

/** Fill `root` with links to what lies under `base`; `query` carries the moved thresholds. */
export function drawExports(root, base, query) {
  const names = Object.keys(FORMATS).filter((name) => name !== "results.jsonl" || !base.includes("/calls/"));
  const links = names.map((name) => {
    const link = make("a", { href: `${base}/${name}${query}` }, FORMATS[name]);
    if (name === "report.html") link.target = "_blank";
    else link.download = "";
    return make("li", {}, link);
  });
  root.replaceChildren(...links);
}
