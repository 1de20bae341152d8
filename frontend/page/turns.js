// How the turns of a conversation look.

import { alertOf, button, byId, element, facts } from "/page/dom.js";
import { rendered } from "/page/markdown.js";
import { canSpeak, speak } from "/page/settings.js";

const MOST_CHARACTERS_WHILE_WRITING = 20_000; // a longer text is laid out once it is complete

export function showUser(text, images) {
  const pictures = images.map((url) => element("img", { src: url, alt: "Attached image" }));
  add(element("article", { className: "turn user", "aria-label": "You" }, ...pictures, text));
}

/** An answer while it is written. */
export class AnswerView {
  #reasoning = element("div");
  #thought = element("details", { className: "reasoning", hidden: true }, element("summary", { textContent: "Reasoning" }), this.#reasoning);
  #text = element("div", { className: "text" });
  #calls = element("div");
  #notes = element("div");
  #foot = element("div", { className: "facts" });
  #frame = 0;
  #answer = null;

  constructor(model) {
    this.root = element("article", { className: "turn assistant writing", "aria-label": `Answer of ${model}` },
      element("div", { className: "who", textContent: model }),
      this.#thought, this.#text, this.#calls, this.#notes, this.#foot);
    add(this.root);
  }

  /** Show an answer as it is now, at most once per frame. */
  show(answer) {
    this.#answer = answer;
    this.#frame ||= requestAnimationFrame(() => this.#draw(true));
  }

  #draw(isWriting) {
    this.#frame = 0;
    const { reasoning, content, calls } = this.#answer;
    const stays = isAtEnd();
    this.#thought.hidden = !reasoning;
    if (this.#reasoning.textContent !== reasoning) this.#reasoning.textContent = reasoning;
    if (isWriting && content.length > MOST_CHARACTERS_WHILE_WRITING) this.#text.textContent = content;
    else this.#text.replaceChildren(...rendered(content));
    if (isWriting) this.#calls.replaceChildren(...calls.map((call) => callView(call)));
    if (stays) scrollToEnd();
  }

  /** Something that happened meanwhile. Returns what changes its text. */
  note(text, className = "happened") {
    const stays = isAtEnd();
    const line = element("p", { className, textContent: text });
    this.#notes.append(line);
    if (stays) scrollToEnd();
    return (later) => { line.textContent = later; };
  }

  /** The answer is complete. `onResults` is called with the tools' results, by call, once the user sends them. */
  end(answer, words, onResults) {
    cancelAnimationFrame(this.#frame);
    this.#answer = answer;
    const stays = isAtEnd();
    this.#draw(false);
    this.root.classList.remove("writing");
    this.#foot.append(...facts(...words).children);
    if (answer.content) this.#foot.append(...this.#actions(answer.content));
    this.#calls.replaceChildren(...answer.calls.map((call) => callView(call)));
    if (answer.calls.length && onResults) this.#askForResults(answer.calls, onResults);
    if (stays) scrollToEnd();
  }

  #actions(text) {
    const copy = button("Copy", () => navigator.clipboard.writeText(text), { className: "quiet small" });
    const read = button("Read aloud", async () => this.#play(await speak(text)), { className: "quiet small" });
    return canSpeak() ? [copy, read] : [copy];
  }

  #play(recording) {
    this.root.querySelector("audio")?.remove();
    const player = element("audio", { controls: true, src: URL.createObjectURL(recording), "aria-label": "Answer, read aloud" });
    this.root.append(player);
    player.play().catch(alertOf);
  }

  #askForResults(calls, onResults) {
    const inputs = calls.map((call, at) => {
      const input = element("textarea", { className: "code", rows: 2, placeholder: "What the tool returns" });
      this.#calls.children[at].append(element("label", {}, `Result of ${call.name}`, input));
      return input;
    });
    const send = button("Send results", async () => {
      for (const input of inputs) input.readOnly = true;
      send.remove();
      onResults(inputs.map((input) => input.value));
    }, { className: "primary" });
    this.#calls.append(send);
  }
}

function callView(call) {
  return element("div", { className: "call", role: "group", "aria-label": `Call of ${call.name}` },
    "Calls ", element("span", { className: "name", textContent: call.name }),
    element("pre", { textContent: pretty(call.arguments) }));
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text; // not complete yet
  }
}

function add(turn) {
  byId("turns").append(turn);
  scrollToEnd();
}

const isAtEnd = () => {
  const turns = byId("turns");
  return turns.scrollHeight - turns.scrollTop - turns.clientHeight < 40;
};

const scrollToEnd = () => { byId("turns").scrollTop = byId("turns").scrollHeight; };
