/* The list of rows, filtered by a number of the page or by a record's name. */
const ROWS_PER_STEP = 100;
const PAIRS_PER_CHUNK = 200;  // as in comparison.py

class Changes {
  constructor(rows, detail) {
    this.rows = rows.map((row, index) => ({ ...row, index }));
    this.detail = detail;
    this.list = document.getElementById("changes");
    this.more = document.getElementById("more");
    this.form = document.getElementById("filters");
    this.criteria = {};
    this.matching = [];
    this.more.addEventListener("click", () => this.grow());
    this.form.addEventListener("input", debounced(() => this.filter(this.criteria), 150));
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("reset", () => setTimeout(() => this.filter({})));
    for (const button of document.querySelectorAll(".number")) {
      button.addEventListener("click", () => {
        this.filter(JSON.parse(button.dataset.filter));
        document.getElementById("rows-title").focus();
      });
    }
    this.filter({});
  }

  filter(criteria) {
    this.criteria = criteria;
    const name = this.form.elements.id.value.toLowerCase();
    this.matching = this.rows.filter(
      (row) =>
        Object.entries(criteria).every(([field, value]) => [row[field]].flat().includes(value)) &&
        (!name || row.id.toLowerCase().includes(name)),
    );
    const label = Object.entries(criteria).map(([field, value]) => `${field} ${value}`).join(", ");
    document.getElementById("matched").textContent = `${plural(this.matching.length, "row")}${label ? `: ${label}` : ""}`;
    this.list.replaceChildren();
    this.grow();
  }

  grow() {
    const from = this.list.children.length;
    const items = this.matching.slice(from, from + ROWS_PER_STEP).map((row, offset) => {
      const button = element("button", { type: "button" }, element("bdi", {}, row.id), ` ${summary(row)}`);
      button.addEventListener("click", () => this.open(from + offset));
      return element("li", {}, button);
    });
    this.list.append(...items);
    this.more.hidden = this.list.children.length >= this.matching.length;
  }

  async open(position) {
    const row = this.matching[position];
    if (!row) return;
    const texts = row.status ? await load(`texts-${Math.floor(row.index / PAIRS_PER_CHUNK)}`) : null;
    const nodes = texts ? textNodes(row, texts[row.index % PAIRS_PER_CHUNK]) : [
      element("p", { class: "facts" }, summary(row)),
      element("p", {}, "This page has only the texts of the largest changes; overnight export has all."),
    ];
    this.detail.show(row.id, nodes, (step) => this.open(position + step));
  }
}

function summary(row) {
  if (!row.status) return `on ${row.on}`;
  const transitions = [row.status, row.stance].filter((move) => new Set(move.split(" → ")).size > 1);
  return [
    ...transitions,
    ...row.gained.map((check) => `now passes ${check}`),
    ...row.lost.map((check) => `now misses ${check}`),
    row.extent === "same" ? "identical" : `differs in ${row.extent}, ${Math.round(100 * row.similarity)}% of content words in common`,
  ].join(" · ");
}

function textNodes(row, texts) {
  const side = (title, words, pieces, tag) => {
    const nodes = pieces.map(([onlyHere, piece]) => (onlyHere ? element(tag, {}, piece) : piece));
    return element("div", {}, element("h3", {}, `${title}, ${plural(words, "word")}`), element("div", { class: "text", dir: "auto" }, ...(nodes.length ? nodes : ["(empty)"])));
  };
  return [
    element("p", { class: "question" }, element("bdi", {}, texts.question)),
    element("p", { class: "facts" }, summary(row)),
    ...columnNodes(texts.columns),
    element("div", { class: "sides" }, side("Before", texts.words[0], texts.sides[0], "del"), side("After", texts.words[1], texts.sides[1], "ins")),
  ];
}

load("rows").then((rows) => new Changes(rows, new Detail()));
