// A tab, a window or the screen that the person shares, sent to the server; with their microphone, if
// they wish.

import { deviceError, insecure } from "../common/devices.js";
import { onSubmit } from "../common/forms.js";
import { Publisher, send } from "./publisher.js";

// Processing is made for one voice near a microphone: it bends what comes from a tab.
const AS_IT_IS = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

const SILENT =
  "This browser, or this choice, gives no sound: Firefox and Safari never do, Chrome and Edge do for a tab " +
  "(switch on its sound where you choose it) and, on Windows, for the whole screen.";

/** Let `form` start a session of what is shared and `begin` show it. */
export function screenSource(form, begin) {
  if (!window.isSecureContext) form.querySelector(".message").textContent = insecure();
  onSubmit(form, async () => {
    const shared = await share();
    const { stream, notes, release } = await withSound(shared, form.elements.microphone.checked);
    const name = "Tab, window or screen";
    const publisher = new Publisher(stream, { name, mirrored: false, release });
    // The browser has a button of its own that ends the sharing.
    stream.getVideoTracks()[0].addEventListener("ended", () => publisher.end());
    await send(publisher, begin, notes);
  });
}

/** What the person chooses to share. The browser asks only right after a press of a button. */
async function share() {
  if (!window.isSecureContext) throw new Error(insecure());
  if (!navigator.mediaDevices.getDisplayMedia) {
    throw new Error("This browser cannot share its screen. Browsers on a computer can.");
  }
  try {
    const shared = await navigator.mediaDevices.getDisplayMedia({
      video: { width: { max: 1920 }, height: { max: 1080 } },
      audio: AS_IT_IS,
      selfBrowserSurface: "exclude", // this page would see itself in itself
      systemAudio: "include",
    });
    shared.getVideoTracks()[0].contentHint = "motion"; // faces: browsers take a screen for a text
    return shared;
  } catch (error) {
    if (error.name === "NotAllowedError") {
      throw new Error("Nothing is shared: you or the browser did not allow it. Try again, and choose what to share.");
    }
    throw new Error(`The screen cannot be shared: ${error.message}`);
  }
}

/** The picture with one track of sound, or none; `release` lets go of what that was mixed from. */
async function withSound(shared, wanted) {
  const sounds = shared.getAudioTracks();
  const notes = sounds.length ? [] : [SILENT];
  let own = [];
  try {
    if (wanted) own = await microphone();
  } catch (error) {
    shared.getTracks().forEach((track) => track.stop());
    throw error;
  }
  if (wanted && !own.length) notes.push("No microphone was found.");
  if (!sounds.length) notes.push(own.length ? "Only your microphone is heard." : "Only faces are analysed.");
  const tracks = [...sounds, ...own];
  if (tracks.length < 2) {
    return { stream: new MediaStream([...shared.getVideoTracks(), ...tracks]), notes, release: () => {} };
  }
  const { sound, context } = mixed(tracks);
  const release = () => {
    tracks.forEach((track) => track.stop());
    context.close();
  };
  return { stream: new MediaStream([...shared.getVideoTracks(), sound]), notes, release };
}

/** The track of the microphone, or none. Loudspeakers play what is shared: it must not come twice. */
async function microphone() {
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: { ...AS_IT_IS, echoCancellation: true } });
    return stream.getAudioTracks();
  } catch (error) {
    if (error.name === "NotFoundError") return [];
    throw deviceError(error);
  }
}

function mixed(tracks) {
  const context = new AudioContext();
  const destination = context.createMediaStreamDestination();
  for (const track of tracks) {
    context.createMediaStreamSource(new MediaStream([track])).connect(destination);
  }
  context.resume();
  return { sound: destination.stream.getAudioTracks()[0], context };
}
