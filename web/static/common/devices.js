// Camera and microphone: which one, with what processing, and clear words when there is none.

import { make } from "./dom.js";

const SWITCHES = {
  echoCancellation: "Echo cancellation",
  noiseSuppression: "Noise suppression",
  autoGainControl: "Automatic gain",
};

const REFUSALS = {
  NotAllowedError:
    "The browser did not allow the camera or the microphone. Allow them at the sign in the address bar, " +
    "or choose “none” for one of them, and try again.",
  NotReadableError:
    "The camera or the microphone is used by another program. Close that program, or choose " +
    "another device, and try again.",
  OverconstrainedError: "The chosen camera or microphone is not there any more. Choose another one.",
  NotFoundError: "The chosen camera or microphone is not there any more. Choose another one.",
};

/** The words to show for what went wrong, if it is one of the known things. */
export class DeviceError extends Error {}

/** Fields to choose camera, microphone and processing in. */
export class DevicePicker {
  #camera = make("select");
  #microphone = make("select");
  #switches = {};

  /** `on` names the processing that is on from the beginning. */
  constructor(root, { on = [] } = {}) {
    root.append(
      make("label", {}, make("span", {}, "Camera"), this.#camera),
      make("label", {}, make("span", {}, "Microphone"), this.#microphone),
    );
    for (const [name, words] of Object.entries(SWITCHES)) {
      const box = make("input", { type: "checkbox", checked: on.includes(name) });
      box.setAttribute("role", "switch");
      root.append(make("label", { className: "switch" }, box, make("span", {}, words)));
      this.#switches[name] = box;
    }
    this.#list();
    navigator.mediaDevices?.addEventListener("devicechange", () => this.#list());
  }

  /** Ask the browser for the chosen devices.
   *
   * Returns { stream, notes }: a device that does not exist is left out, and a note says so.
   * Throws a DeviceError.
   */
  async open() {
    if (!window.isSecureContext) throw new DeviceError(insecure());
    const { cameras, microphones } = await this.#list();
    const video = this.#camera.value !== "none" && cameras.length > 0;
    const audio = this.#microphone.value !== "none" && microphones.length > 0;
    const notes = [];
    if (!cameras.length) notes.push("No camera was found: only the voice and the words are analysed.");
    if (!microphones.length) notes.push("No microphone was found: only the face is analysed.");
    if (!video && !audio) {
      throw new DeviceError(
        cameras.length || microphones.length
          ? "Camera and microphone are both off. Choose at least one."
          : "No camera and no microphone was found. Connect one and try again.",
      );
    }
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        video: video && { ...chosen(this.#camera), width: { ideal: 1280 }, height: { ideal: 720 } },
        audio: audio && { ...chosen(this.#microphone), ...this.#processing() },
      });
      this.#list(); // now that they are allowed, the browser tells their names
      return { stream, notes };
    } catch (error) {
      throw deviceError(error);
    }
  }

  #processing() {
    return Object.fromEntries(Object.entries(this.#switches).map(([name, box]) => [name, box.checked]));
  }

  async #list() {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    const cameras = devices.filter(({ kind }) => kind === "videoinput");
    const microphones = devices.filter(({ kind }) => kind === "audioinput");
    fill(this.#camera, cameras);
    fill(this.#microphone, microphones);
    return { cameras, microphones };
  }
}

/** The DeviceError that says for a person why the browser opened no device. */
export function deviceError(error) {
  const words = REFUSALS[error.name];
  return new DeviceError(words ?? `The camera or microphone cannot be opened: ${error.message}`);
}

/** What to say on a page to which browsers give no camera. */
export function insecure() {
  const local = `http://localhost:${location.port || 80}`;
  return (
    "Browsers give camera and microphone to secure pages only, and this one is not. " +
    `Open it by https, or on the computer that runs the server as ${local}.`
  );
}

function chosen(select) {
  return select.value ? { deviceId: { exact: select.value } } : {};
}

function fill(select, devices) {
  const before = select.value;
  const known = devices.filter(({ deviceId, label }) => deviceId && label && deviceId !== "default");
  select.replaceChildren(
    new Option("the default one", ""),
    ...known.map(({ deviceId, label }) => new Option(label, deviceId)),
    new Option("none", "none"),
  );
  select.value = [...select.options].some(({ value }) => value === before) ? before : "";
}
