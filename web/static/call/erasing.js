// The part of a page that offers to erase what was found of this person in a call. It is also on
// the pages that say that the call is over, or the link too old.

import { notice } from "../common/forms.js";
import { Published } from "./published.js";

export const published = new Published(location.pathname.split("/").at(-1));

const section = document.querySelector("#erasing");
section.querySelector(".erase").addEventListener("click", () => erase());
showErasing();

/** Offer it if there is something to erase. */
export function showErasing() {
  section.hidden = !published.sessions.length;
}

/** Erase all that was found, if the person is sure; `also` says what comes with it, `first` does it. */
export async function erase({ also = "", first = () => {} } = {}) {
  if (!confirm(`Erase your words, your scores and your pictures in this call for good?${also}`)) return;
  first();
  try {
    await published.erase();
    notice("What was found of you has been erased.");
  } catch (error) {
    notice(`It could not be erased: ${error.message}`);
  }
  showErasing();
}
