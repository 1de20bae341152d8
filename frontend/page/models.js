// The models, with the hosts of each: load, unload, kill a host.

import { ask } from "/page/api.js";
import { button, byId, bytes, clockTime, confirmed, element, facts, seconds, showList, state } from "/page/dom.js";
import { changes, refresh, server } from "/page/live.js";

export function install() {
  changes.addEventListener("change", draw);
}

/** Kill the process of a host. It is restarted, and its requests go on. */
export async function killHost(host) {
  await ask("POST", `/admin/hosts/${encodeURIComponent(host.model)}/${host.replica}/kill`);
}

/** Not one that is only being loaded, or that runs on another server. */
export const canBeKilled = (host) => Boolean(host.pid) && (host.state === "ready" || host.state === "draining");

export const hostsOf = (model) =>
  (server.hosts ?? []).filter((host) => host.model === model).sort((a, b) => a.replica - b.replica);

function draw() {
  const models = [...server.models.values()].sort((a, b) => a.name.localeCompare(b.name));
  const items = models.map((status) => ({ status, hosts: hostsOf(status.name) }));
  const ready = items.filter((item) => stateOf(item) === "ready").length;
  byId("models-count").textContent = models.length ? `${ready} of ${models.length} ready` : "";
  showList(byId("models"), items, (item) => item.status.name, modelRow, server.isAdmin ? "No models yet. Pull one below." : "");
}

/** A loaded model of which no host is ready is what the first of them is. */
function stateOf({ status, hosts }) {
  const isReady = status.state !== "ready" || !hosts.length || hosts.some((host) => host.state === "ready");
  return isReady ? status.state : hosts[0].state;
}

function modelRow({ status, hosts }) {
  const head = element("div", { className: "row" },
    element("span", { className: "name", textContent: status.name }), state(stateOf({ status, hosts })), action(status));
  const about = facts(
    status.task,
    !hosts.length && status.device,
    !hosts.length && status.size_bytes && `${bytes(status.size_bytes)} on disk`,
    status.context_length && `context of ${status.context_length.toLocaleString()} tokens`,
    status.running > 0 && `${status.running} running`,
    status.queued > 0 && `${status.queued} queued`,
    status.load_seconds && `loaded in ${seconds(status.load_seconds)}`,
    status.pinned && "pinned",
    status.aliases?.length && `also ${status.aliases.join(", ")}`,
  );
  const reason = status.reason && element("p", { className: "reason", textContent: status.reason });
  const rows = hosts.length ? element("ul", { className: "hosts", "aria-label": `Hosts of ${status.name}` }, ...hosts.map(hostRow)) : null;
  return [head, about, reason, rows];
}

function action(status) {
  if (status.state === "remote") return null;
  const isLoaded = status.state === "ready" || status.state === "draining";
  const isBusy = status.state === "loading" || status.state === "draining";
  const label = isLoaded ? "Unload" : "Load";
  const made = button(label, async () => {
    await ask("POST", `/admin/models/${label.toLowerCase()}`, { model: status.name });
    await refresh();
  }, { className: "small", name: "load", "aria-label": `${label} ${status.name}` });
  made.disabled = isBusy;
  return made;
}

function hostRow(host) {
  const about = facts(
    `Host ${host.replica}`,
    host.device,
    host.pid && `pid ${host.pid}`,
    host.memory_bytes && bytes(host.memory_bytes),
    host.running > 0 && `${host.running} running`,
    host.restarts > 0 && `${host.restarts} restart${host.restarts === 1 ? "" : "s"}`,
  );
  if (host.last_incident) about.title = `${host.last_incident.summary} (${clockTime(host.last_incident.at)})`;
  const kill = canBeKilled(host) ? confirmed(`${host.model}/${host.replica}`, "Kill", "Kill it now?", async () => {
    await killHost(host);
    await refresh();
  }, { className: "danger small", name: `kill-${host.replica}`, title: "Kill the process; it is restarted and its requests go on" }) : null;
  return element("li", {}, state(host.state), about, kill);
}
