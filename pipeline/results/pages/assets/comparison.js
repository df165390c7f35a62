// @ts-check
/* The list of rows, filtered by a number of the page or by a name. */
const ROWS_PER_STEP = 100;
const PAIRS_PER_CHUNK = 200; // as in comparison.py

/** @typedef {{index: number, id: string, on: string, paper?: string, question?: string, asked?: string, status?: string,
 *   stance?: string, extent?: string, similarity?: number, gained?: string[], lost?: string[]}} Row */
/** @typedef {[boolean, string]} Piece */
/** @typedef {{question: string, columns: [string, string][], words: [number, number],
 *   sides: [Piece[], Piece[]], prompt: [string, string][]}} Texts */

class Changes {
  /** @param {Row[]} rows @param {Detail} detail */
  constructor(rows, detail) {
    /** @type {Row[]} */
    this.rows = rows.map((row, index) => ({ ...row, index }));
    this.detail = detail;
    this.list = byId("changes");
    this.more = byId("more");
    /** @type {HTMLFormElement} */
    this.form = byId("filters");
    /** @type {Record<string, string>} */
    this.criteria = {};
    /** @type {Row[]} */
    this.matching = [];
    this.more.addEventListener("click", () => this.grow());
    this.form.addEventListener("input", debounced(() => this.filter(this.criteria), 150));
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("reset", () => setTimeout(() => this.filter({})));
    for (const button of document.querySelectorAll(".number")) {
      button.addEventListener("click", () => {
        this.filter(JSON.parse(/** @type {HTMLElement} */ (button).dataset.filter ?? "{}"));
        byId("rows-title").focus();
      });
    }
    this.filter({});
  }

  /** Rows that meet the criteria; without any, those that have changed.
   * @param {Record<string, any>} criteria */
  filter(criteria) {
    this.criteria = criteria;
    const { id, same } = fieldsOf(this.form);
    const every = same.checked || Object.keys(criteria).length > 0;
    this.matching = this.rows.filter(
      (row) =>
        Object.entries(criteria).every(([field, value]) => [/** @type {any} */ (row)[field]].flat().includes(value)) &&
        (every || hasChanged(row)) &&
        includes(`${row.id}\n${row.paper ?? ""}\n${row.question ?? ""}\n${row.asked ?? ""}`, id.value),
    );
    const label = Object.entries(criteria).map(([field, value]) => `${field} ${value}`).join(", ");
    byId("matched").textContent = `${plural(this.matching.length, "row")}${label ? `: ${label}` : ""}`;
    this.list.replaceChildren();
    this.grow();
  }

  grow() {
    const from = this.list.children.length;
    const items = this.matching.slice(from, from + ROWS_PER_STEP).map((row, offset) => {
      const button = element("button", { type: "button" },
        nameNode(middleCut(row.paper ?? row.id)), " ",
        element("bdi", {}, endCut(row.asked ?? row.question ?? "")), " ",
        element("span", { class: "facts" }, summary(row)));
      button.addEventListener("click", () => this.open(from + offset));
      return element("li", {}, button);
    });
    this.list.append(...items);
    this.more.hidden = this.list.children.length >= this.matching.length;
    sayPrinted(this.list, this.list.children.length, this.matching.length);
  }

  /** @param {number} position */
  async open(position) {
    const row = this.matching[position];
    if (!row) return;
    while (position >= this.list.children.length) this.grow();
    /** @type {Texts[] | null} */
    const texts = row.status ? await load(`texts-${Math.floor(row.index / PAIRS_PER_CHUNK)}`) : null;
    const nodes = texts ? textNodes(row, texts[row.index % PAIRS_PER_CHUNK]) : [
      element("p", { class: "facts" }, summary(row)),
      element("p", {}, "This page has only the texts of the largest changes; overnight export has all."),
    ];
    this.detail.show(`${row.paper ?? row.id} ${endCut(row.question ?? "")}`, nodes, {
      step: (by) => this.open(position + by),
      back: () => this.list.children[position]?.querySelector("button").focus(),
    });
  }
}

/** @param {Row} row */
function hasChanged({ status, stance, extent }) {
  return !status || extent !== "same" || isMove(status) || isMove(stance ?? "");
}

/** @param {string} move */
function isMove(move) {
  return new Set(move.split(" → ")).size > 1;
}

/** @param {Row} row */
function summary(row) {
  if (!row.status) return `on ${row.on}`;
  return [
    ...[row.status, row.stance ?? ""].filter(isMove),
    ...(row.gained ?? []).map((check) => `now passes ${check}`),
    ...(row.lost ?? []).map((check) => `now misses ${check}`),
    row.extent === "same" ? "identical" : `differs in ${row.extent}, ${Math.round(100 * (row.similarity ?? 0))}% of content words in common`,
  ].join(" · ");
}

/** @param {Row} row @param {Texts} texts */
function textNodes(row, texts) {
  const side = (/** @type {string} */ title, /** @type {number} */ at, /** @type {"del" | "ins"} */ tag) => {
    const nodes = texts.sides[at].map(([onlyHere, piece]) => (onlyHere ? element(tag, {}, piece) : piece));
    const said = element("div", { class: "text", dir: "auto" }, ...(nodes.length ? nodes : ["(empty)"]));
    return element("div", {}, element("h3", {}, `${title}, ${plural(texts.words[at], "word")}`), said);
  };
  const asked = texts.prompt.map(([role, text]) =>
    element("div", {}, element("p", { class: "facts" }, role), element("div", { class: "text prompt", dir: "auto" }, text)),
  ).reverse();
  return [
    element("p", { class: "question" }, element("bdi", {}, texts.question)),
    element("p", { class: "facts" }, `${summary(row)} · record ${row.id}`),
    ...columnNodes(texts.columns),
    element("div", { class: "sides" }, side("Before", 0, "del"), side("After", 1, "ins")),
    ...(asked.length ? [folded("Passages and question", ...asked)] : []),
  ];
}

load("rows").then((rows) => new Changes(rows, new Detail()));
