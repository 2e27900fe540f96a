// The images a video is made from: dropped or chosen files, which are uploaded, and addresses.

import { ask, isAbort } from "./api.js";
import { announce, h, icon, show, webAddress } from "./dom.js";

const MOST = 8;

export function picturesField({ changed, signal }) {
  let entries = []; // {url, preview, name, uploading}
  const list = h("ul", { class: "pictures", "aria-label": "Chosen images" });
  const problem = h("p", { class: "problem", role: "alert" });
  const files = h("input", {
    type: "file",
    id: "files",
    class: "unseen",
    accept: "image/jpeg,image/png,image/webp",
    multiple: true,
    onchange: () => (take(files.files), (files.value = "")),
  });
  const address = h("input", {
    id: "image-url",
    type: "url",
    inputmode: "url",
    placeholder: "https://…",
    "aria-label": "Address of an image",
    onkeydown: (event) => event.key === "Enter" && !event.ctrlKey && !event.metaKey && (event.preventDefault(), add()),
  });
  const element = h(
    "fieldset",
    { class: "field drop", "data-field": "image_urls" },
    h("legend", {}, "Images ", h("span", { class: "hint" }, `optional, up to ${MOST}`)),
    h(
      "div",
      { class: "zone" },
      h("label", { class: "button", for: "files" }, files, icon("image"), "Choose files"),
      h("span", { class: "hint" }, "or drop them here"),
      h("div", { class: "address-line" }, address, h("button", { type: "button", onclick: add }, "Add")),
    ),
    list,
    problem,
  );

  for (const name of ["dragover", "dragenter"]) {
    element.addEventListener(name, (event) => (event.preventDefault(), element.classList.add("over")));
  }
  element.addEventListener("dragleave", (event) => element.contains(event.relatedTarget) || element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    element.classList.remove("over");
    take(event.dataTransfer.files);
  });

  function draw() {
    show(list, entries.map(item));
    changed();
  }

  function item(entry, index) {
    const name = entry.name ?? entry.url;
    return h(
      "li",
      { class: entry.uploading ? "uploading" : "" },
      h("img", { src: entry.preview, alt: name, onerror: (event) => event.target.classList.add("broken") }),
      entry.uploading && h("span", { class: "unseen" }, "uploading"),
      h("button", { type: "button", "aria-label": `Remove ${name}`, onclick: () => remove(entry, index) }, icon("close")),
    );
  }

  function remove(entry, index) {
    entry.leaving?.abort();
    entries = entries.filter((other) => other !== entry);
    if (entry.preview.startsWith("blob:")) URL.revokeObjectURL(entry.preview);
    draw();
    (list.querySelectorAll("button")[Math.min(index, entries.length - 1)] ?? address).focus();
  }

  function add() {
    const url = webAddress(address.value.trim());
    if (!url) return say("An image's address begins with https://");
    if (!hasRoom()) return;
    entries.push({ url, preview: url });
    address.value = "";
    say("");
    draw();
  }

  function hasRoom() {
    if (entries.length < MOST) return true;
    say(`At most ${MOST} images.`);
    return false;
  }

  function take(chosen) {
    say("");
    for (const file of chosen) {
      if (!hasRoom()) break;
      const entry = { name: file.name, preview: URL.createObjectURL(file), uploading: true, leaving: new AbortController() };
      entries.push(entry);
      upload(entry, file);
    }
    draw();
  }

  async function upload(entry, file) {
    const body = new FormData();
    body.append("file", file);
    try {
      entry.url = (await ask("/api/video/images", { method: "POST", body, signal: entry.leaving.signal })).url;
      announce(`${file.name} was uploaded`);
    } catch (error) {
      if (isAbort(error)) return;
      entries = entries.filter((other) => other !== entry);
      say(`${file.name}: ${error.message}`);
    }
    entry.uploading = false;
    draw();
  }

  function say(text) {
    show(problem, text && icon("warning"), text);
  }

  signal.addEventListener("abort", () => entries.forEach((entry) => entry.leaving?.abort()));
  return {
    element,
    urls: () => entries.map((entry) => entry.url).filter(Boolean),
    isBusy: () => entries.some((entry) => entry.uploading),
    set(urls) {
      entries = urls.map((url) => ({ url, preview: webAddress(url) ?? "" }));
      draw();
    },
  };
}
