// Downloads into the server's store, with their progress.

import { ask, askJson, eventsOf } from "/page/api.js";
import { alertOf, button, byId, bytes, element, facts, seconds, showList, state } from "/page/dom.js";
import { changes, refresh, server } from "/page/live.js";

const downloads = new Map();
const followed = new Set();
let isListed = false;

export function install() {
  byId("pull").addEventListener("submit", async (event) => {
    event.preventDefault();
    const source = byId("pull-source");
    try {
      follow(await askJson("POST", "/admin/downloads", { source: source.value.trim() }));
      source.value = "";
    } catch (error) {
      alertOf(error);
    }
  });
  changes.addEventListener("change", () => {
    if (!server.isAdmin) isListed = false;
    else if (!isListed) list();
  });
}

async function list() {
  isListed = true;
  downloads.clear();
  try {
    for (const download of (await askJson("GET", "/admin/downloads")).data) follow(download);
  } catch { /* the next connection tries again */ }
}

const isActive = (download) => download.state === "queued" || download.state === "running";

async function follow(download) {
  show(download);
  if (!isActive(download) || followed.has(download.id)) return;
  followed.add(download.id);
  try {
    const response = await ask("GET", `/admin/downloads/${download.id}/events`);
    for await (const { data } of eventsOf(response)) {
      const now = JSON.parse(data);
      if (now.id) show(now);
    }
    await refresh();
  } catch (error) {
    alertOf(error);
  } finally {
    followed.delete(download.id);
  }
}

function show(download) {
  downloads.set(download.id, download);
  draw();
}

function draw() {
  const newest = [...downloads.values()].sort((a, b) => b.created - a.created);
  showList(byId("downloads"), newest, (download) => download.id, row);
}

function row(download) {
  const act = (label, method, path) => button(label, async () => {
    const now = await askJson(method, `/admin/downloads/${download.id}${path}`);
    if (label === "Remove") downloads.delete(download.id);
    else follow(now);
    draw();
  }, { className: "small", name: label, "aria-label": `${label} download of ${download.source}` });
  const actions = isActive(download) ? [act("Pause", "POST", "/pause"), act("Cancel", "DELETE", "")]
    : download.state === "done" ? [act("Remove", "DELETE", "")]
      : [act("Resume", "POST", "/resume"), act("Remove", "DELETE", "")];
  return [
    element("div", { className: "row" },
      element("span", { className: "name", textContent: download.model ?? download.source }), state(download.state), ...actions),
    isActive(download) ? bar(download) : null,
    facts(
      download.step,
      download.total_bytes ? `${bytes(download.done_bytes)} of ${bytes(download.total_bytes)}` : download.done_bytes && bytes(download.done_bytes),
      download.bytes_per_second && `${bytes(download.bytes_per_second)}/s`,
      download.seconds_left && `${seconds(download.seconds_left)} left`,
      ...(download.notes ?? []),
    ),
    download.error && element("p", { className: "reason", textContent: download.error }),
  ];
}

function bar(download) {
  const made = element("progress", { max: download.total_bytes || 1, "aria-label": `Progress of ${download.source}` });
  if (download.total_bytes) made.value = download.done_bytes;
  return made;
}
