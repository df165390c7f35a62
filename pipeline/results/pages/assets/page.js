"use strict";

/* What a page holds, unpacked when it is first asked for. */
const unpacked = new Map();

function held(name) {
  if (!unpacked.has(name)) unpacked.set(name, unpack(document.getElementById(`held-${name}`)));
  return unpacked.get(name);
}

async function unpack(script) {
  if (!script) return null;
  const bytes = Uint8Array.from(atob(script.textContent), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

/* An element with attributes and children; a string becomes a text node, whatever it holds. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function number(value) {
  return value.toLocaleString("en");
}

function table(headings, rows) {
  const head = element("tr", {}, ...headings.map((h) => element("th", { scope: "col" }, h)));
  const body = rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
}

function debounced(call, milliseconds) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(call, milliseconds);
  };
}

/* The sheet in which one thing opens; `at(step)` shows the one before or after. */
class Sheet {
  constructor() {
    this.dialog = document.getElementById("case");
    this.title = document.getElementById("case-title");
    this.body = document.getElementById("case-body");
    this.step = () => {};
    document.getElementById("case-before").addEventListener("click", () => this.step(-1));
    document.getElementById("case-after").addEventListener("click", () => this.step(1));
    this.dialog.addEventListener("keydown", (event) => {
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
  }
}
