// The dialog for the API key.

import { apiKey, setApiKey, whenUnauthorized } from "/page/api.js";
import { byId } from "/page/dom.js";

/** `connect` is called after the key has changed. */
export function install(connect) {
  const dialog = byId("key-dialog");
  const use = (key) => {
    setApiKey(key);
    dialog.close();
    connect();
  };
  const open = (reason) => {
    if (dialog.open) return;
    byId("key-reason").textContent = `${reason} The key stays in this browser tab until you close it.`.trim();
    byId("key").value = apiKey();
    dialog.showModal();
    byId("key").select();
  };
  byId("key-open").addEventListener("click", () => open(""));
  byId("key-cancel").addEventListener("click", () => dialog.close());
  byId("key-forget").addEventListener("click", () => use(""));
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    use(byId("key").value.trim());
  });
  whenUnauthorized(() => open("The server wants an API key, or does not accept this one."));
}
