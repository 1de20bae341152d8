// The conversation: sends messages, shows answers while they are written, and what happens to their host.

import { ask, eventsOf } from "/page/api.js";
import * as audio from "/page/audio.js";
import { alertOf, byId, seconds } from "/page/dom.js";
import * as images from "/page/images.js";
import { changes, refresh, server } from "/page/live.js";
import { canBeKilled, hostsOf, killHost } from "/page/models.js";
import { requestFields, systemMessage } from "/page/settings.js";
import { AnswerView, showUser } from "/page/turns.js";

const SPOKEN_MILLISECONDS = 3000; // between two parts that are announced to screen readers

let messages = [];
let running = null; // the answer that is being written: { abort, model, view, … }

export function install() {
  images.install();
  audio.install();
  const prompt = byId("prompt");
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && running && !document.querySelector("dialog[open]")) running.abort.abort();
  });
  byId("stop").addEventListener("click", () => running?.abort.abort());
  byId("kill").addEventListener("click", () => kill().catch(alertOf));
  byId("new-chat").addEventListener("click", clear);
  changes.addEventListener("change", drawButtons);
}

function clear() {
  running?.abort.abort();
  messages = [];
  byId("turns").replaceChildren();
  byId("prompt").focus();
}

function send() {
  const text = byId("prompt").value.trim();
  if (running || (!text && !images.hasImages())) return;
  let fields;
  try {
    fields = requestFields();
  } catch (error) {
    alertOf(error);
    return;
  }
  const urls = images.takeImages();
  const parts = urls.map((url) => ({ type: "image_url", image_url: { url } }));
  messages.push({ role: "user", content: parts.length ? [...parts, { type: "text", text }] : text });
  showUser(text, urls);
  byId("prompt").value = "";
  answer(fields);
}

/** Ask for the next turn of the conversation and show it. */
async function answer(fields) {
  const system = systemMessage();
  const conversation = messages;
  const sent = system ? [{ role: "system", content: system }, ...conversation] : conversation;
  const now = { reasoning: "", content: "", calls: [], tokens: null, finish: null };
  const mine = {
    abort: new AbortController(), model: fields.model, view: new AnswerView(fields.model), onText: null, announced: announcer(),
  };
  const began = performance.now();
  running = mine;
  drawButtons();
  byId("progress").textContent = "Waiting for the first token";
  let first = null;
  try {
    const body = { ...fields, messages: sent, stream: true, stream_options: { include_usage: true } };
    const response = await ask("POST", "/v1/chat/completions", body, mine.abort.signal);
    for await (const { data } of eventsOf(response)) {
      if (data === "[DONE]") break;
      if (!take(now, JSON.parse(data))) continue;
      first ??= performance.now() - began;
      byId("progress").textContent = "Writing";
      mine.onText?.();
      mine.view.show(now);
      mine.announced(now.content, false);
    }
    if (!now.finish) throw new Error("The connection was lost before the answer was complete.");
  } catch (error) {
    now.finish ??= error.name === "AbortError" ? "stopped" : "failed";
    if (now.finish === "failed") mine.view.note(error.message, "failed");
  }
  keep(conversation, now);
  const continues = now.finish === "tool_calls" && conversation === messages;
  mine.view.end(now, statistics(now, first, performance.now() - began), continues ? (results) => resume(conversation, now, results) : null);
  mine.announced(now.content, true);
  running = null;
  byId("progress").textContent = "";
  drawButtons();
  refresh();
}

/** Add a chunk to an answer. Returns whether it held anything that is shown. Throws what the server reports. */
function take(now, chunk) {
  if (chunk.error) throw new Error(chunk.error.message);
  if (chunk.usage) now.tokens = chunk.usage.completion_tokens;
  const choice = chunk.choices?.[0];
  if (!choice) return false;
  const { content, reasoning_content: reasoning, tool_calls: calls } = choice.delta;
  now.content += content ?? "";
  now.reasoning += reasoning ?? "";
  for (const part of calls ?? []) {
    const call = (now.calls[part.index] ??= { id: "", name: "", arguments: "" });
    call.id ||= part.id ?? "";
    call.name += part.function?.name ?? "";
    call.arguments += part.function?.arguments ?? "";
  }
  now.finish = choice.finish_reason ?? now.finish;
  return Boolean(content || reasoning || calls?.length);
}

function keep(conversation, now) {
  if (!now.content && !now.calls.length) return;
  const message = { role: "assistant", content: now.content || null };
  if (now.calls.length && now.finish === "tool_calls") {
    message.tool_calls = now.calls.map(({ id, name, arguments: given }) => ({ id, type: "function", function: { name, arguments: given } }));
  }
  conversation.push(message);
}

function resume(conversation, now, results) {
  if (running || conversation !== messages) return;
  now.calls.forEach((call, at) => messages.push({ role: "tool", tool_call_id: call.id, content: results[at] }));
  try {
    answer(requestFields());
  } catch (error) {
    alertOf(error);
  }
}

function statistics(now, first, milliseconds) {
  const writing = (milliseconds - (first ?? milliseconds)) / 1000;
  const ends = { length: "ended at the maximum of tokens", stopped: "stopped", failed: "failed", content_filter: "filtered" };
  return [
    now.tokens !== null && `${now.tokens} tokens`,
    now.tokens > 1 && writing > 0.05 && `${(now.tokens / writing).toFixed(1)} tokens/s`,
    first !== null && `first after ${seconds(first / 1000)}`,
    ends[now.finish],
  ];
}

/** Kill the host that writes the answer, and report how long the answer waited for its replacement. */
async function kill() {
  const mine = running;
  const hosts = mine ? hostsOf(modelBehind(mine.model)) : [];
  const host = hosts.find((one) => one.running > 0 && canBeKilled(one)) ?? hosts.find(canBeKilled);
  if (!host) throw new Error("The model has no host on this server that could be killed now.");
  byId("kill").disabled = true;
  const began = performance.now();
  try {
    await killHost(host);
  } finally {
    byId("kill").disabled = false;
  }
  const name = `Host ${host.replica} of ${host.model} (pid ${host.pid}) was killed.`;
  if (running !== mine) {
    mine.view.note(`${name} The answer was complete by then.`);
    return;
  }
  const change = mine.view.note(`${name} The answer waits for its replacement.`);
  mine.onText = () => {
    mine.onText = null;
    change(`${name} The answer went on after ${seconds((performance.now() - began) / 1000)}.`);
  };
  refresh();
}

function modelBehind(name) {
  if (server.models.has(name)) return name;
  return [...server.models.values()].find((status) => status.aliases?.includes(name))?.name ?? name;
}

function drawButtons() {
  byId("send").disabled = running !== null;
  byId("stop").hidden = running === null;
  byId("kill").hidden = running === null || !hostsOf(modelBehind(running.model)).some(canBeKilled);
}

/** Announces a text that grows to screen readers: whole sentences, now and then. */
function announcer() {
  let said = 0;
  let last = performance.now();
  return (text, isComplete) => {
    if (!isComplete && performance.now() - last < SPOKEN_MILLISECONDS) return;
    const end = isComplete ? text.length : Math.max(...[". ", "! ", "? ", "\n"].map((mark) => text.lastIndexOf(mark) + 1));
    if (end <= said) return;
    byId("spoken").textContent = text.slice(said, end);
    said = end;
    last = performance.now();
  };
}
