"use strict";

/* The page's data by name, decompressed when first used. */
const loaded = new Map();

function load(name) {
  if (!loaded.has(name)) loaded.set(name, decompress(document.getElementById(`data-${name}`)));
  return loaded.get(name);
}

async function decompress(script) {
  if (!script) return null;
  const bytes = Uint8Array.from(atob(script.textContent), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

/* An element with attributes and children. Strings become text nodes, never markup. */
function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function number(value) {
  return value.toLocaleString("en");
}

function plural(count, noun) {
  return `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
}

function isText(node) {
  return node instanceof HTMLInputElement || node instanceof HTMLTextAreaElement;
}

function table(headings, rows) {
  const head = element("tr", {}, ...headings.map((h) => element("th", { scope: "col" }, h)));
  const body = rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
}

/* The user's own columns of an answer. */
function columnNodes(columns) {
  if (!columns.length) return [];
  const rows = columns.map(([name, value]) => [element("bdi", {}, name), element("bdi", {}, value)]);
  return [element("h3", {}, "Columns"), table(["column", "value"], rows)];
}

function debounced(call, milliseconds) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(call, milliseconds);
  };
}

/* The dialog that shows one answer or pair; `step(-1)` and `step(1)` go to the previous and next. */
class Detail {
  constructor() {
    this.dialog = document.getElementById("detail");
    this.title = document.getElementById("detail-title");
    this.body = document.getElementById("detail-body");
    this.step = () => {};
    document.getElementById("detail-previous").addEventListener("click", () => this.step(-1));
    document.getElementById("detail-next").addEventListener("click", () => this.step(1));
    this.dialog.addEventListener("keydown", (event) => {
      if (isText(event.target)) return;
      if (event.key === "ArrowLeft") this.step(-1);
      else if (event.key === "ArrowRight") this.step(1);
    });
  }

  show(title, nodes, step) {
    this.title.textContent = title;
    this.body.replaceChildren(...nodes);
    this.body.scrollTop = 0;
    this.step = step;
    if (!this.dialog.open) this.dialog.showModal();
    else if (!this.dialog.contains(document.activeElement)) this.body.focus();  // for its keys
  }
}
