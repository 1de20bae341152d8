// Requests to this server, with the key that the user gave, and server-sent events.

const KEY = "nacelle.key";
const WORDS = {
  401: "The server wants an API key, or does not accept this one.",
  403: "This key may not do that.",
  404: "The server has no such thing.",
  413: "This is more than the server accepts.",
  429: "The server is busy or the key's limit is reached.",
  503: "The server or the model is not ready.",
};
let onUnauthorized = () => {};

export class ApiError extends Error {
  constructor(status, message, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

let memory = ""; // where storage is disabled

export function apiKey() {
  try { return sessionStorage.getItem(KEY) ?? memory; } catch { return memory; }
}

export function setApiKey(key) {
  memory = key;
  try {
    if (key) sessionStorage.setItem(KEY, key);
    else sessionStorage.removeItem(KEY);
  } catch { /* it stays in memory */ }
}

export function whenUnauthorized(action) {
  onUnauthorized = action;
}

/** A response with a 2xx status. `body` is sent as JSON unless it is a form. Throws ApiError. */
export async function ask(method, path, body, signal) {
  const headers = {};
  if (apiKey()) headers.Authorization = `Bearer ${apiKey()}`;
  const isForm = body instanceof FormData;
  if (body !== undefined && !isForm) headers["Content-Type"] = "application/json";
  let response;
  try {
    const data = body === undefined || isForm ? body : JSON.stringify(body);
    response = await fetch(path, { method, headers, body: data, signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server cannot be reached.");
  }
  if (response.ok) return response;
  const error = await errorOf(response);
  if (error.status === 401) onUnauthorized(error.message);
  throw error;
}

export const askJson = async (...request) => (await ask(...request)).json();

async function errorOf(response) {
  let said = "";
  try {
    const { error, title } = await response.json();
    said = typeof error === "string" ? error : error?.message ?? title ?? "";
  } catch { /* not one of the server's own answers */ }
  const wait = response.headers.get("Retry-After");
  const known = WORDS[response.status] ?? `The server answered with status ${response.status}.`;
  const again = wait ? ` Try again in ${wait} s.` : "";
  return new ApiError(response.status, `${known}${said ? ` ${said}.` : ""}${again}`.replace("..", "."), Number(wait));
}

/** The events of a response: objects with `event` and `data`, a text. */
export async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const block of blocks) {
        const event = parsed(block);
        if (event.data !== null) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parsed(block) {
  let event = "message";
  const data = [];
  for (const line of block.split(/\r?\n/)) {
    const at = line.indexOf(":");
    const [field, value] = at < 0 ? [line, ""] : [line.slice(0, at), line.slice(at + 1).replace(/^ /, "")];
    if (field === "event") event = value;
    if (field === "data") data.push(value);
  }
  return { event, data: data.length ? data.join("\n") : null };
}
