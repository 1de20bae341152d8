// The choices of the chat: models, sampling, tools, voices.

import { ask, askJson } from "/page/api.js";
import { alertOf, byId, element } from "/page/dom.js";
import { changes, server } from "/page/live.js";

const EXAMPLE = [{
  type: "function",
  function: {
    name: "get_weather",
    description: "Current weather in a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
}];
const CHATS = ["text", "vision"];

let names = [];
let drawn = "";

export function install() {
  byId("tools-example").addEventListener("click", () => { byId("tools").value = JSON.stringify(EXAMPLE, null, 2); });
  byId("speech-model").addEventListener("change", loadVoices);
  changes.addEventListener("change", draw);
}

/** Ask for the models' names, which every key may see. */
export async function loadModels() {
  try {
    names = (await askJson("GET", "/v1/models")).data.map((model) => model.id);
    draw();
  } catch (error) {
    if (error.status !== 401) alertOf(error);
  }
}

/** Offers each model where its task fits; where the tasks are not known, its name decides. */
function draw() {
  const tasks = new Map();
  for (const status of server.models.values()) {
    for (const name of [status.name, ...(status.aliases ?? [])]) tasks.set(name, status.task);
  }
  const all = [...new Set([...names, ...server.models.keys()])];
  const version = JSON.stringify(all.map((name) => [name, tasks.get(name)]));
  if (version === drawn) return;
  drawn = version;
  const taskOf = (name) => tasks.get(name) ?? guessed(name);
  offer("model", all.filter((name) => CHATS.includes(taskOf(name))));
  offer("transcription-model", all.filter((name) => taskOf(name) === "transcription"));
  offer("speech-model", all.filter((name) => taskOf(name) === "speech"));
  byId("record").hidden = !byId("transcription-model").value;
  loadVoices();
}

function guessed(name) {
  if (/whisper|transcri/i.test(name)) return "transcription";
  if (/kokoro|tts|speech/i.test(name)) return "speech";
  if (/embed|minilm|\be5\b|bge|rerank/i.test(name)) return "embeddings";
  return "text";
}

function offer(id, options) {
  const select = byId(id);
  const chosen = select.value;
  select.replaceChildren(...options.map((name) => element("option", { value: name, textContent: name })));
  if (options.includes(chosen)) select.value = chosen;
}

/** The voices of a model are known once it has been loaded. */
async function loadVoices() {
  const model = byId("speech-model").value;
  const first = element("option", { value: "", textContent: "default" });
  if (!model) return byId("voice").replaceChildren(first);
  try {
    const { voices } = await askJson("GET", "/v1/audio/voices");
    const own = voices.filter((voice) => voice.model === model);
    byId("voice").replaceChildren(first, ...own.map((voice) => element("option", { value: voice.id, textContent: voice.name })));
  } catch {
    byId("voice").replaceChildren(first);
  }
}

/** The fields of a chat request besides its messages. Throws an error for tools that are not valid. */
export function requestFields() {
  if (!byId("model").value) throw new Error("There is no model to chat with. Load or pull one first.");
  const fields = { model: byId("model").value };
  for (const [id, name] of [["temperature", "temperature"], ["max-tokens", "max_tokens"], ["seed", "seed"]]) {
    const input = byId(id);
    if (!input.validity.valid) throw new Error(`${input.parentElement.textContent.trim()}: ${input.validationMessage}`);
    if (input.value !== "") fields[name] = Number(input.value);
  }
  const tools = byId("tools").value.trim();
  if (tools) fields.tools = parsedTools(tools);
  return fields;
}

function parsedTools(text) {
  let tools;
  try {
    tools = JSON.parse(text);
  } catch (error) {
    throw new Error(`Tools are not valid JSON: ${error.message}`);
  }
  if (!Array.isArray(tools)) throw new Error("Tools must be a JSON array.");
  return tools;
}

export const systemMessage = () => byId("system").value.trim();

/** The text of a recording. */
export async function transcribe(recording, name) {
  const form = new FormData();
  form.append("file", recording, name);
  form.append("model", byId("transcription-model").value);
  return (await askJson("POST", "/v1/audio/transcriptions", form)).text;
}

export const canSpeak = () => Boolean(byId("speech-model").value);

/** A recording of a text that is read aloud. */
export async function speak(text) {
  const body = { model: byId("speech-model").value, input: text, response_format: "mp3" };
  if (byId("voice").value) body.voice = byId("voice").value;
  return (await ask("POST", "/v1/audio/speech", body)).blob();
}
