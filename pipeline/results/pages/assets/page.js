// @ts-check
"use strict";

/** The page's data by name, decompressed when first used.
 * @type {Map<string, Promise<any>>} */
const loaded = new Map();

/** The content of a data element; null if the page has none of this name.
 * @param {string} name
 * @returns {Promise<any>} */
function load(name) {
  const known = loaded.get(name);
  if (known) return known;
  const content = decompress(document.getElementById(`data-${name}`));
  loaded.set(name, content);
  return content;
}

/** @param {HTMLElement | null} script */
async function decompress(script) {
  if (!script) return null;
  const packed = atob(script.textContent ?? "");
  const bytes = new Uint8Array(packed.length);
  for (let at = 0; at < packed.length; at++) bytes[at] = packed.charCodeAt(at); // faster than by a function
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

/** The element with this id, which the page has.
 * @param {string} id
 * @returns {any} */
function byId(id) {
  return document.getElementById(id);
}

/** An element with attributes and children. Strings become text nodes, never markup.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number>} attributes
 * @param {...(Node | string)} children */
function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

/** The fields of a form, by their names.
 * @param {HTMLFormElement} form
 * @returns {Record<string, any>} */
function fieldsOf(form) {
  return /** @type {any} */ (form.elements);
}

/** @param {number} value */
function number(value) {
  return value.toLocaleString("en");
}

/** @param {number} count @param {string} noun */
function plural(count, noun) {
  return `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** @param {number} part @param {number} whole */
function percent(part, whole) {
  return `${((100 * part) / whole).toFixed(part && part < whole / 100 ? 1 : 0)}%`;
}

/** Whether keys are for what is being written or chosen there.
 * @param {EventTarget | null} node */
function isText(node) {
  return node instanceof HTMLInputElement || node instanceof HTMLTextAreaElement || node instanceof HTMLSelectElement;
}

/** @param {string} text @param {string} wanted */
function includes(text, wanted) {
  return text.toLowerCase().includes(wanted.toLowerCase());
}

const CUT_END = 10; // characters

/** A long name without its middle: of a DOI both ends matter.
 * @param {string} name */
function middleCut(name, most = 28) {
  if (name.length <= most) return name;
  const end = Math.floor((most - 1) / 2);
  return `${name.slice(0, most - 1 - end)}…${name.slice(-end)}`;
}

/** Says on paper, above a grid or list, if not all of its rows are printed.
 * @param {HTMLElement} node @param {number} printed @param {number} all */
function sayPrinted(node, printed, all) {
  const text = printed < all ? `The first ${number(printed)} of ${plural(all, "row")}; filter to print others.` : "";
  if (node.previousElementSibling) node.previousElementSibling.textContent = text;
}

/** A text up to a number of characters. @param {string} text */
function endCut(text, most = 90) {
  return text.length <= most ? text : `${text.slice(0, most - 1).trimEnd()}…`;
}

/** A name that breaks where its parts end, and elsewhere only if a part is too long for a line.
 * @param {string} name */
function nameNode(name) {
  const parts = name.split(/(?<=[-._/])/);
  return element("bdi", { class: "paper" }, ...parts.flatMap((part, at) => (at ? [element("wbr"), part] : [part])));
}

/** A name on one line that loses its middle where there is no room for it.
 * @param {string} name */
function cutNode(name) {
  const characters = [...name];
  if (characters.length <= CUT_END) return element("bdi", {}, name);
  const [start, end] = [characters.slice(0, -CUT_END), characters.slice(-CUT_END)].map((part) => part.join(""));
  return element("bdi", { class: "cut" }, element("span", {}, start), element("span", {}, end));
}

/** @param {string[]} headings @param {(Node | string)[][]} rows */
function table(headings, rows) {
  const head = element("tr", {}, ...headings.map((h) => element("th", { scope: "col" }, h)));
  const body = rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
}

/** Something that can be opened.
 * @param {string} summary @param {...(Node | string)} content */
function folded(summary, ...content) {
  return element("details", {}, element("summary", {}, summary), ...content);
}

/** The user's own columns of an answer.
 * @param {[string, string][]} columns */
function columnNodes(columns) {
  if (!columns.length) return [];
  const rows = columns.map(([name, value]) => [element("bdi", {}, name), element("bdi", {}, value)]);
  return [element("h3", {}, "Columns"), table(["column", "value"], rows)];
}

/** @param {() => void} call @param {number} milliseconds */
function debounced(call, milliseconds) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(call, milliseconds);
  };
}

/** A cell that a spreadsheet takes as text; whoever reads the file takes one apostrophe off again. */
const FORMULA = /^'*[=+\-@\t\r\n＝＋－＠]/;

/** Rows as CSV that a spreadsheet opens as text.
 * @param {(string | number)[][]} rows */
function csv(rows) {
  const cell = (/** @type {string | number} */ value) => {
    const text = String(value);
    const safe = typeof value === "string" && FORMULA.test(text) ? `'${text}` : text;
    return `"${safe.replaceAll('"', '""')}"`;
  };
  return `\ufeff${rows.map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
}

/** Has the browser save a file.
 * @param {string} name @param {string} text */
function download(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  element("a", { download: name, href: address }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** @typedef {{step: (by: number) => void, back: () => void}} Around
 * How the dialog goes to the previous (-1) and next (1) answer, and where the focus goes at its end. */

/** The dialog that shows one answer or pair. */
class Detail {
  constructor() {
    /** @type {HTMLDialogElement} */
    this.dialog = byId("detail");
    /** @type {HTMLElement} */
    this.title = byId("detail-title");
    /** @type {HTMLElement} */
    this.body = byId("detail-body");
    /** @type {Around} */
    this.around = { step: () => {}, back: () => {} };
    byId("detail-previous").addEventListener("click", () => this.around.step(-1));
    byId("detail-next").addEventListener("click", () => this.around.step(1));
    this.dialog.addEventListener("close", () => this.around.back());
    this.dialog.addEventListener("keydown", (event) => {
      if (isText(event.target) || event.ctrlKey || event.altKey || event.metaKey) return;
      if (event.key === "ArrowLeft") this.around.step(-1);
      else if (event.key === "ArrowRight") this.around.step(1);
    });
  }

  /** @param {string} title @param {Node[]} nodes @param {Around} around */
  show(title, nodes, around) {
    this.title.textContent = title;
    this.body.replaceChildren(...nodes);
    this.body.scrollTop = 0;
    this.around = around;
    if (!this.dialog.open) this.dialog.showModal();
    else if (!this.dialog.contains(document.activeElement)) this.body.focus(); // for its keys
  }
}
