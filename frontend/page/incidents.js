// Deaths of hosts, newest first. The summary of each names the device, the cause and what the host was doing.

import { askJson } from "/page/api.js";
import { button, byId, clockTime, element, facts, seconds, showList } from "/page/dom.js";
import { changes, server } from "/page/live.js";

export function install() {
  changes.addEventListener("change", () => {
    const incidents = server.incidents;
    byId("incidents").parentElement.hidden = incidents === null;
    byId("incidents-count").textContent = incidents?.length ? String(incidents.length) : "";
    showList(byId("incidents"), incidents ?? [], (incident) => incident.id, row, "None are recorded.");
  });
}

function row(incident) {
  const about = facts(
    clockTime(incident.at),
    typeof incident.lived_seconds === "number" && `lived ${seconds(incident.lived_seconds)}`,
  );
  const record = element("pre", { tabIndex: 0 });
  const copy = button("Copy", () => navigator.clipboard.writeText(record.textContent), { className: "small" });
  const more = element("details", {}, element("summary", { textContent: "Record, without prompts" }), record, copy);
  more.addEventListener("toggle", async () => {
    if (!more.open || record.textContent) return;
    const whole = await askJson("GET", `/admin/incidents/${encodeURIComponent(incident.id)}`).catch(() => incident);
    record.textContent = JSON.stringify(whole, null, 2);
  });
  return [
    element("div", { className: "row" },
      element("span", { className: "name", textContent: `${incident.model}/${incident.replica}` })),
    element("div", { textContent: incident.summary ?? "" }), about, more,
  ];
}
