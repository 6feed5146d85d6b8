// Requests to the server. What goes wrong becomes one error with one line for a person.

export class ServerError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status; // 0: the server did not answer
    this.code = code;
  }

  /** Whether the same request may succeed later. */
  get passing() {
    if (this.code === "not_joined") return true; // this page is about to join again
    return this.status === 0 || (this.status >= 500 && this.code !== "models_failed");
  }
}

/** Ask the server; a body that is a plain object is sent as JSON; `token` is for pages without a cookie. */
export async function ask(method, path, body, token = null) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await send(method, path, body && JSON.stringify(body), "application/json", headers);
  return response.status === 204 ? null : response.json();
}

/** Send a text of some type; the response, if it is a good one. */
export async function send(method, path, text, type, headers = {}) {
  let response;
  if (text) headers["Content-Type"] = type;
  try {
    response = await fetch(path, { method, body: text, headers });
  } catch {
    throw new ServerError(0, "unreachable", "The server does not answer. Is it still running?");
  }
  if (!response.ok) throw problem(response.status, await response.text());
  return response;
}

/** The error that an answer of the server tells. */
export function problem(status, text) {
  try {
    const { code, message } = JSON.parse(text).error;
    return new ServerError(status, code, message);
  } catch {
    return new ServerError(status, "unexpected", `The server answered with status ${status}.`);
  }
}
