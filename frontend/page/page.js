// Starts the parts of the page.

import * as chat from "/page/chat.js";
import { byId } from "/page/dom.js";
import * as downloads from "/page/downloads.js";
import * as incidents from "/page/incidents.js";
import * as key from "/page/key.js";
import { changes, connect, server } from "/page/live.js";
import * as models from "/page/models.js";
import * as requests from "/page/requests.js";
import * as settings from "/page/settings.js";

const THEMES = ["system", "light", "dark"];

function installTheme() {
  const root = document.documentElement;
  const button = byId("theme");
  const draw = () => { button.textContent = `Theme: ${root.dataset.theme ?? "system"}`; };
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(root.dataset.theme ?? "system") + 1) % THEMES.length];
    if (next === "system") delete root.dataset.theme;
    else root.dataset.theme = next;
    try { localStorage.setItem("nacelle.theme", next); } catch { /* for this visit only */ }
    draw();
  });
  draw();
}

function installViews() {
  const columns = document.querySelector(".columns");
  for (const view of ["chat", "server"]) {
    byId(`view-${view}`).addEventListener("click", () => {
      columns.dataset.view = view;
      for (const other of ["chat", "server"]) byId(`view-${other}`).setAttribute("aria-pressed", String(other === view));
    });
  }
  changes.addEventListener("change", () => {
    columns.classList.toggle("alone", !server.isAdmin);
    byId("view-server").hidden = !server.isAdmin;
  });
  changes.addEventListener("connection", ({ detail }) => {
    byId("connection").dataset.state = detail.state;
    byId("connection").textContent = detail.text;
  });
}

function reconnect() {
  connect();
  settings.loadModels();
}

installTheme();
installViews();
for (const part of [models, requests, incidents, downloads, settings, chat]) part.install();
key.install(reconnect);
reconnect();
