// Renders /openapi.json: operations by tag; parameters, bodies and answers as tables that unfold.

import { byId, element } from "/page/dom.js";

const METHODS = ["get", "post", "put", "patch", "delete"]; // HEAD says nothing that GET does not
const REFERENCE = "#/components/schemas/";

let components = {};

const resolved = (schema) =>
  schema.$ref ? components[schema.$ref.slice(REFERENCE.length)] ?? {} : schema;

/** The name of a type, as short as it can be. */
function typeOf(schema) {
  if (schema.$ref) return schema.$ref.slice(REFERENCE.length).split(".").pop();
  const parts = schema.anyOf ?? schema.oneOf;
  if (parts) return parts.map(typeOf).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(", ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${schema.items ? typeOf(schema.items) : "anything"}`;
  if (schema.contentEncoding) return schema.contentEncoding;
  if (schema.contentMediaType) return "file";
  return schema.type ?? "anything";
}

/** The limits of a value, in words. */
function limitsOf(schema) {
  const limits = [
    ["minimum", "from"], ["exclusiveMinimum", "above"], ["maximum", "to"], ["exclusiveMaximum", "below"],
    ["minLength", "characters, at least"], ["maxLength", "characters, at most"],
    ["minItems", "items, at least"], ["maxItems", "items, at most"],
  ];
  const parts = [schema, ...(schema.anyOf ?? [])];
  const found = limits.flatMap(([name, words]) => {
    const part = parts.find((one) => one[name] !== undefined);
    return part ? [`${words} ${part[name]}`] : [];
  });
  const fallback = schema.default;
  if (fallback !== undefined && fallback !== null) found.push(`default ${JSON.stringify(fallback)}`);
  return found.join("; ");
}

/** The objects inside a type, which can be unfolded. */
function objectsIn(schema) {
  if (schema.$ref) return [schema];
  if (schema.items) return objectsIn(schema.items);
  return (schema.anyOf ?? schema.oneOf ?? []).flatMap(objectsIn);
}

function row(cells, tag = "td") {
  return element("tr", {}, ...cells.map((cell) => element(tag, tag === "th" ? { scope: "col" } : {}, cell)));
}

/** A table of fields. `seen` holds the types that are unfolded around it, since types may contain themselves. */
function fieldsOf(schema, seen) {
  const properties = Object.entries(schema.properties ?? {});
  const required = new Set(schema.required ?? []);
  const rows = properties.map(([name, field]) => {
    const type = element("span", {}, typeOf(field));
    const cell = element("div", {}, type, ...unfolded(field, seen));
    const label = element("span", {}, element("code", { textContent: name }));
    if (required.has(name)) label.append(" ", element("span", { className: "required", textContent: "required" }));
    return row([label, cell, limitsOf(field)]);
  });
  return element("table", {}, element("thead", {}, row(["Field", "Type", "Limits"], "th")), element("tbody", {}, ...rows));
}

/** What a type holds, made when it is opened. */
function unfolded(schema, seen = []) {
  return objectsIn(schema)
    .filter((one) => !seen.includes(one.$ref) && resolved(one).properties)
    .map((one) => {
      const fields = element("details", { className: "fields" });
      fields.append(element("summary", { textContent: typeOf(one) }));
      fields.addEventListener("toggle", () => {
        if (fields.open && fields.children.length === 1) fields.append(fieldsOf(resolved(one), [...seen, one.$ref]));
      });
      return fields;
    });
}

function contentOf(content) {
  return Object.entries(content).map(([mediaType, { schema, "x-item-schema": item }]) => {
    const shown = item ?? schema;
    const parts = [element("code", { textContent: mediaType })];
    if (Object.keys(shown).length) parts.push(item ? ", each " : ": ", typeOf(shown), ...unfolded(shown));
    return element("div", {}, ...parts);
  });
}

function bodyOf({ content }) {
  return Object.entries(content).flatMap(([mediaType, { schema, example }]) => {
    const parts = [element("h3", { textContent: `Body: ${mediaType}` })];
    if (schema.properties) parts.push(fieldsOf(schema, []));
    else parts.push(element("div", {}, typeOf(schema), ...unfolded(schema)));
    if (example !== undefined) parts.push(element("pre", { tabIndex: 0, textContent: JSON.stringify(example, null, 2) }));
    return parts;
  });
}

function detailsOf(operation) {
  const inside = element("div");
  if (operation.parameters) {
    const rows = operation.parameters.map(({ name, in: place, required, schema }) =>
      row([element("code", { textContent: name }), place, `${typeOf(schema)}${required ? ", required" : ""}`]));
    inside.append(element("h3", { textContent: "Parameters" }),
      element("table", {}, element("thead", {}, row(["Name", "In", "Type"], "th")), element("tbody", {}, ...rows)));
  }
  if (operation.requestBody) inside.append(...bodyOf(operation.requestBody));
  const answers = Object.entries(operation.responses).map(([status, { description, content = {} }]) =>
    row([status, element("div", {}, description, ...contentOf(content))]));
  inside.append(element("h3", { textContent: "Answers" }),
    element("table", {}, element("thead", {}, row(["Status", "Content"], "th")), element("tbody", {}, ...answers)));
  return inside;
}

function shownOperation(path, method, operation) {
  const shown = element("details", { className: "operation", id: operation.operationId });
  shown.words = `${method} ${path} ${operation.summary}`.toLowerCase();
  shown.append(element("summary", {},
    element("span", { className: "method", textContent: method.toUpperCase() }),
    element("code", { textContent: path }),
    element("span", { className: "summary", textContent: operation.summary })));
  shown.addEventListener("toggle", () => {
    if (shown.open && shown.children.length === 1) shown.append(detailsOf(operation));
  });
  return shown;
}

function show(document_) {
  components = document_.components.schemas;
  byId("title").textContent = `${document_.info.title} ${document_.info.version} API`;
  const sections = new Map(document_.tags.map(({ name }) =>
    [name, element("section", {}, element("h2", { textContent: name }))]));
  for (const [path, methods] of Object.entries(document_.paths)) {
    for (const method of METHODS.filter((name) => methods[name])) {
      sections.get(methods[method].tags[0]).append(shownOperation(path, method, methods[method]));
    }
  }
  byId("operations").replaceChildren(...sections.values());
}

function filter() {
  const words = byId("filter").value.toLowerCase().split(/\s+/);
  let count = 0;
  for (const section of byId("operations").children) {
    const operations = [...section.querySelectorAll(".operation")];
    for (const one of operations) one.hidden = !words.every((word) => one.words.includes(word));
    const left = operations.filter((one) => !one.hidden).length;
    section.hidden = left === 0;
    count += left;
  }
  byId("status").textContent = `${count} operations`;
}

/** Unfolds the operation that the address names. */
function openNamed() {
  const named = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named?.matches("details")) {
    named.open = true;
    named.scrollIntoView();
  }
}

try {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  show(await answer.json());
  byId("filter").addEventListener("input", filter);
  addEventListener("hashchange", openNamed);
  filter();
  openNamed();
} catch (error) {
  byId("status").textContent = `/openapi.json could not be loaded: ${error.message}. Reload the page to try again.`;
}
