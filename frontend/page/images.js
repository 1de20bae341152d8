// Images that are sent with the next message: from files, the clipboard, or dropped.

import { alertOf, button, byId, element } from "/page/dom.js";

const MOST_BYTES = 20 * 1024 * 1024;
let images = []; // { name, url }: data URLs

export function install() {
  const composer = byId("composer");
  const file = byId("image-file");
  byId("attach").addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    add(file.files);
    file.value = "";
  });
  byId("prompt").addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) {
      event.preventDefault();
      add(event.clipboardData.files);
    }
  });
  for (const [name, isOver] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    byId("chat").addEventListener(name, (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      composer.classList.toggle("over", isOver);
      if (name === "drop") add(event.dataTransfer.files);
    });
  }
}

/** The data URLs of the images, which are then no longer attached. */
export function takeImages() {
  const urls = images.map((image) => image.url);
  images = [];
  draw();
  return urls;
}

export const hasImages = () => images.length > 0;

async function add(files) {
  for (const file of files) {
    if (!file.type.startsWith("image/")) alertOf(new Error(`${file.name} is not an image.`));
    else if (file.size > MOST_BYTES) alertOf(new Error(`${file.name} is larger than 20 MiB.`));
    else images.push({ name: file.name || "Pasted image", url: await dataUrl(file) });
  }
  draw();
}

function dataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

function draw() {
  byId("attachments").replaceChildren(...images.map((image) => {
    const remove = button("Remove", async () => {
      images = images.filter((other) => other !== image);
      draw();
      byId("prompt").focus();
    }, { className: "small", "aria-label": `Remove ${image.name}` });
    return element("li", {}, element("img", { src: image.url, alt: image.name }), remove);
  }));
}
