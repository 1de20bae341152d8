// A small, safe subset of Markdown: code, headings, lists, quotations, emphasis and links.
// Everything becomes elements with text in them; markup in a text stays text.

import { element } from "/page/dom.js";

const INLINE = /`([^`\n]+)`|\*\*([^*\n]+)\*\*|\*([^*\s][^*\n]*)\*|\[([^\]\n]+)\]\(([^()\s]+)\)/g;
const FENCE = /^\s*(```+|~~~+)\s*([\w+#.-]*)\s*$/;
const HEADING = /^#{1,6}\s+(.*)$/;
const ITEM = /^\s*(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/;
const QUOTE = /^>\s?(.*)$/;

/** The blocks of a text. */
export function rendered(text) {
  const blocks = [];
  const lines = text.split("\n");
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    const fence = FENCE.exec(line);
    if (fence) {
      let end = at + 1;
      while (end < lines.length && lines[end].trim() !== fence[1]) end += 1;
      blocks.push(element("pre", { tabIndex: 0 }, element("code", { textContent: lines.slice(at + 1, end).join("\n") })));
      at = end + 1;
    } else if (HEADING.test(line)) {
      blocks.push(element("h3", {}, ...inline(HEADING.exec(line)[1])));
      at += 1;
    } else if (ITEM.test(line)) {
      const first = ITEM.exec(line)[1];
      const items = run(lines, at, (one) => ITEM.exec(one)?.[2]);
      const list = element(first === undefined ? "ul" : "ol", {}, ...items.map((item) => element("li", {}, ...inline(item))));
      if (first !== undefined) list.start = Number(first);
      blocks.push(list);
      at += items.length;
    } else if (QUOTE.test(line)) {
      const quoted = run(lines, at, (one) => QUOTE.exec(one)?.[1]);
      blocks.push(element("blockquote", {}, ...broken(quoted)));
      at += quoted.length;
    } else if (line.trim() === "") {
      at += 1;
    } else {
      const paragraph = run(lines, at, (one) => (one.trim() && !begins(one) ? one : undefined));
      blocks.push(element("p", {}, ...broken(paragraph)));
      at += paragraph.length;
    }
  }
  return blocks;
}

const begins = (line) => [FENCE, HEADING, ITEM, QUOTE].some((form) => form.test(line));

/** What `read` makes of the lines from `at` on, until it makes nothing. */
function run(lines, at, read) {
  const found = [];
  for (let value; at < lines.length && (value = read(lines[at])) !== undefined; at += 1) found.push(value);
  return found;
}

const broken = (lines) => lines.flatMap((line, at) => (at ? [element("br"), ...inline(line)] : inline(line)));

function inline(text) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(INLINE)) {
    parts.push(text.slice(end, found.index), piece(found));
    end = found.index + found[0].length;
  }
  parts.push(text.slice(end));
  return parts;
}

function piece([whole, code, strong, emphasis, label, address]) {
  if (code !== undefined) return element("code", { textContent: code });
  if (strong !== undefined) return element("strong", { textContent: strong });
  if (emphasis !== undefined) return element("em", { textContent: emphasis });
  if (!/^https?:\/\//i.test(address)) return whole; // no other scheme, and no address of this server
  return element("a", { href: address, textContent: label, target: "_blank", rel: "noopener noreferrer" });
}
