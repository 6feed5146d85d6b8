// Whether the models of the server are there: the page is quicker than they are.

import { ask } from "../common/api.js";

const EVERY_MS = 1000;

/** Show in `root` how far the server is, until it is ready or has failed. */
export async function showServerState(root) {
  for (;;) {
    const server = await ask("GET", "/api/server").catch(({ message }) => ({
      state: "failed",
      problem: message,
    }));
    root.dataset.state = server.state;
    if (server.state === "ready") {
      root.textContent = `Ready: model “${server.profile}”, words by ${server.stt}`;
      return;
    }
    root.textContent =
      server.state === "failed" ? server.problem : "The models are loading. You can already start.";
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}
