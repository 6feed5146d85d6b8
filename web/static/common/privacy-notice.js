// What this server keeps of people: of the words on a page, those that are true of it are shown.

import { ask } from "./api.js";

/** Show the elements whose `data-if` holds: "recording" or "not-recording".
 *
 * Returns whether the server records. Throws a ServerError: then nothing is promised on the page.
 */
export async function showWhatIsKept() {
  const { recording, keep_days: days } = await ask("GET", "/api/server");
  const holds = recording ? "recording" : "not-recording";
  for (const part of document.querySelectorAll("[data-if]")) part.hidden = part.dataset.if !== holds;
  const words = days === null ? "" : `, for ${days} ${days === 1 ? "day" : "days"} at most`;
  for (const part of document.querySelectorAll(".keep-days")) part.textContent = words;
  return recording;
}
