// Builds elements. Text is always set as text, never as markup.

export const byId = (id) => document.getElementById(id);

/** An element; `properties` are set on it, those that begin with data- or aria- and `role` as attributes. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** A button that is disabled while its action runs. Errors of the action are shown. */
export function button(label, action, properties = {}) {
  const made = element("button", { type: "button", textContent: label, ...properties });
  made.addEventListener("click", async () => {
    made.disabled = true;
    try {
      await action(made);
    } catch (error) {
      alertOf(error);
    } finally {
      made.disabled = false;
    }
  });
  return made;
}

const asked = new Map(); // what waits for a second click → when the first was

/** A button that acts at the second click, within four seconds. `id` keeps that when the row is drawn anew. */
export function confirmed(id, label, question, action, properties = {}) {
  const isAsked = () => Date.now() - (asked.get(id) ?? 0) < 4000;
  const draw = () => { made.textContent = isAsked() ? question : label; };
  const made = button(label, async () => {
    if (isAsked()) {
      asked.delete(id);
      draw();
      await action();
    } else {
      asked.set(id, Date.now());
      draw();
      setTimeout(draw, 4050);
    }
  }, properties);
  draw();
  return made;
}

/** Shows an error at the top until it is dismissed. Equal ones are shown once. */
export function alertOf(error) {
  const text = error.message ?? String(error);
  const alerts = byId("alerts");
  if ([...alerts.children].some((shown) => shown.firstChild.textContent === text)) return;
  const line = element("div", { className: "alert" }, element("span", { className: "fill", textContent: text }));
  line.append(button("Dismiss", async () => line.remove(), { className: "quiet small" }));
  alerts.append(line);
}

/**
 * Shows items in a list, one element per key. Elements of equal items are kept, and so is the focus.
 * `make(item)` returns the content of a list item.
 */
export function showList(list, items, key, make, empty) {
  const old = new Map([...list.children].map((child) => [child.dataset.key, child]));
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  const row = focused?.closest("li[data-key]")?.dataset.key;
  const shown = items.map((item) => {
    const name = String(key(item));
    const version = JSON.stringify(item);
    const before = old.get(name);
    if (before?.version === version) return before;
    const made = element("li", { "data-key": name }, ...make(item));
    made.version = version;
    return made;
  });
  if (!shown.length && empty) shown.push(element("li", { className: "empty", textContent: empty }));
  if (shown.length === list.children.length && shown.every((child, at) => child === list.children[at])) return;
  list.replaceChildren(...shown);
  if (!focused || focused === document.activeElement) return;
  const buttons = [...(shown.find((child) => child.dataset.key === row)?.querySelectorAll("button") ?? [])];
  (list.contains(focused) ? focused : buttons.find((made) => made.name === focused.name) ?? buttons[0])?.focus();
}

export function bytes(count) {
  if (!count) return "0 B";
  const power = Math.min(4, Math.floor(Math.log2(count) / 10));
  return `${(count / 1024 ** power).toFixed(power > 1 ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

export function seconds(value) {
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 90) return `${value.toFixed(value < 10 ? 1 : 0)} s`;
  if (value < 5400) return `${Math.round(value / 60)} min`;
  return `${Math.round(value / 3600)} h`;
}

export const clockTime = (unix) => new Date(unix * 1000).toLocaleString();

export const facts = (...words) =>
  element("div", { className: "facts" }, ...words.filter(Boolean).map((word) => element("span", { textContent: word })));

export const state = (name) => element("span", { className: "state", "data-state": name, textContent: name });
