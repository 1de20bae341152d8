// What the server reports of itself: its events, and what is asked for every two seconds while the page is seen.

import { ask, askJson, eventsOf } from "/page/api.js";

const POLL_MILLISECONDS = 2000;
const MOST_WAIT_SECONDS = 15;
const INCIDENTS = 100; // that are kept

export const server = {
  models: new Map(),
  hosts: null, // null: the server does not report them to this key
  requests: null,
  incidents: null,
  isAdmin: false,
};

/** Dispatches "change", "incident" (detail: the incident) and "connection" (detail: state and text). */
export const changes = new EventTarget();

const tell = (name, detail) => changes.dispatchEvent(new CustomEvent(name, { detail }));

let running = new AbortController();

/** Begin again, for example with another key. */
export function connect() {
  running.abort();
  running = new AbortController();
  Object.assign(server, { models: new Map(), hosts: null, requests: null, incidents: null, isAdmin: false });
  tell("change");
  follow(running.signal);
  poll(running.signal);
}

/** Look now, after something was done. */
export const refresh = () => look(running.signal);

async function follow(signal) {
  let wait = 1;
  while (!signal.aborted) {
    try {
      const response = await ask("GET", "/admin/events", undefined, signal);
      server.isAdmin = true;
      server.models.clear();
      tell("connection", { state: "live", text: "Live" });
      await look(signal);
      for await (const { event, data } of eventsOf(response)) {
        wait = 1;
        apply(event, JSON.parse(data));
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401 || error.status === 403) {
        server.isAdmin = false;
        tell("connection", {
          state: "waiting",
          text: error.status === 401 ? "An API key is needed" : "Chat only: administration is not permitted",
        });
        tell("change");
        return;
      }
    }
    if (signal.aborted) return;
    tell("connection", { state: "lost", text: `Connection lost, trying again in ${wait} s` });
    await pause(wait * 1000);
    wait = Math.min(wait * 2, MOST_WAIT_SECONDS);
  }
}

function apply(event, data) {
  if (event === "model") {
    if (data.status) server.models.set(data.name, data.status);
    else server.models.delete(data.name);
  } else if (event === "host" && server.hosts) {
    const others = server.hosts.filter((host) => host.model !== data.model || host.replica !== data.replica);
    server.hosts = [...others, data];
  } else if (event === "incident" && data.id) {
    const others = (server.incidents ?? []).filter((incident) => incident.id !== data.id);
    server.incidents = [data, ...others].slice(0, INCIDENTS);
    tell("incident", data);
  }
  tell("change");
}

async function poll(signal) {
  while (!signal.aborted) {
    await pause(POLL_MILLISECONDS);
    if (server.isAdmin && !document.hidden) await look(signal);
  }
}

async function look(signal) {
  const [models, hosts, requests, incidents] = await Promise.all([
    get("/admin/models", signal),
    get("/admin/hosts", signal),
    get("/admin/requests", signal),
    server.incidents === null ? get("/admin/incidents", signal) : null,
  ]);
  if (signal.aborted) return;
  if (models) server.models = new Map(models.models.map((status) => [status.name, status]));
  if (hosts) server.hosts = hosts.hosts;
  if (requests) server.requests = requests.requests;
  if (incidents) server.incidents = incidents.incidents.slice(0, INCIDENTS);
  tell("change");
}

/** Null where the server refuses or cannot answer now. */
async function get(path, signal) {
  try {
    return await askJson("GET", path, undefined, signal);
  } catch {
    return null;
  }
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
