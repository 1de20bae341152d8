// Requests in flight; each can be cancelled.

import { ask } from "/page/api.js";
import { button, byId, element, facts, seconds, showList, state } from "/page/dom.js";
import { changes, refresh, server } from "/page/live.js";

// The page's own requests are without a route for a moment.
const isShown = (request) => request.model || request.route !== "unknown" || request.seconds > 1;

export function install() {
  changes.addEventListener("change", () => {
    const requests = server.requests?.filter(isShown) ?? null;
    byId("requests").parentElement.hidden = requests === null;
    byId("requests-count").textContent = requests?.length ? String(requests.length) : "";
    showList(byId("requests"), requests ?? [], (request) => request.id, row, "None.");
  });
}

function row(request) {
  const cancel = button("Cancel", async () => {
    await ask("DELETE", `/admin/requests/${encodeURIComponent(request.id)}`);
    await refresh();
  }, { className: "small", name: "cancel", "aria-label": `Cancel request ${request.id}` });
  return [
    element("div", { className: "row" },
      element("span", { className: "name", textContent: request.model || request.route }), state(request.phase || "running"), cancel),
    facts(
      request.model && request.route,
      seconds(request.seconds ?? 0),
      request.prompt_tokens && `${request.prompt_tokens} prompt tokens`,
      request.completion_tokens && `${request.completion_tokens} written`,
      request.stream && "stream",
      request.key_id && `key ${request.key_id}`,
    ),
    element("div", { className: "facts mono", textContent: request.id }),
  ];
}
