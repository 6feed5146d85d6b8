// The parts of the documentation page that are made from the server's own description of itself.

import { ask } from "../common/api.js";
import { make } from "../common/dom.js";

showRoutes(await ask("GET", "/openapi.json"));
showEvents(await ask("GET", "/api/schema"));

function showRoutes({ paths }) {
  const rows = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { summary = "", description = "" }]) =>
      make("tr", {},
        make("td", {}, `${method.toUpperCase()} ${path}`),
        make("td", {}, description.split("\n\n")[0] || summary),
      ),
    ),
  );
  document.querySelector("#route-table tbody").append(...rows);
}

/** Each event class with its description, which ends in an example. */
function showEvents({ $defs: classes }) {
  for (const { description = "", properties = {} } of Object.values(classes)) {
    if (!properties.type?.const) continue;
    const [words, example] = description.split(/\n+Examples?:\s*/);
    document.querySelector("#event-list").append(
      make("h3", {}, make("code", {}, properties.type.const)),
      make("p", {}, words),
      make("pre", { tabIndex: 0 }, example ?? ""),
    );
  }
}
