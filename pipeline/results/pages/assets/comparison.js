/* The list of rows: what a number stands for, or what a record's name says. */
const AT_ONCE = 100;
const PACKED = 200;  // rows whose texts are packed together

class Changes {
  constructor(rows, sheet) {
    this.rows = rows.map((row, index) => ({ ...row, index }));
    this.sheet = sheet;
    this.list = document.getElementById("changes");
    this.more = document.getElementById("more");
    this.form = document.getElementById("filters");
    this.asked = {};
    this.matching = [];
    this.more.addEventListener("click", () => this.grow());
    this.form.addEventListener("input", debounced(() => this.filter(this.asked), 150));
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

  filter(asked) {
    this.asked = asked;
    const name = this.form.elements.id.value.toLowerCase();
    this.matching = this.rows.filter(
      (row) =>
        Object.entries(asked).every(([field, value]) => [row[field]].flat().includes(value)) &&
        (!name || row.id.toLowerCase().includes(name)),
    );
    const said = Object.entries(asked).map(([field, value]) => `${field} ${value}`).join(", ");
    document.getElementById("matched").textContent = `${number(this.matching.length)} rows${said ? `: ${said}` : ""}`;
    this.list.replaceChildren();
    this.grow();
  }

  grow() {
    const from = this.list.children.length;
    const items = this.matching.slice(from, from + AT_ONCE).map((row, at) => {
      const button = element("button", { type: "button" }, element("bdi", {}, row.id), ` ${summary(row)}`);
      button.addEventListener("click", () => this.open(from + at));
      return element("li", {}, button);
    });
    this.list.append(...items);
    this.more.hidden = this.list.children.length >= this.matching.length;
  }

  async open(at) {
    const row = this.matching[at];
    if (!row) return;
    const texts = row.status ? await held(`texts-${Math.floor(row.index / PACKED)}`) : null;
    const nodes = texts ? textNodes(row, texts[row.index % PACKED]) : [
      element("p", { class: "facts" }, summary(row)),
      element("p", {}, "This page holds the texts of the largest changes alone; overnight export has all."),
    ];
    this.sheet.show(row.id, nodes, (step) => this.open(at + step));
  }
}

function summary(row) {
  if (!row.status) return `on ${row.on}`;
  const moved = [row.status, row.stance].filter((move) => new Set(move.split(" → ")).size > 1);
  return [
    ...moved,
    ...row.gained.map((check) => `passes ${check} now`),
    ...row.lost.map((check) => `misses ${check} now`),
    row.extent === "same" ? "the same words" : `differs in ${row.extent}, ${Math.round(100 * row.likeness)} % of content words alike`,
  ].join(" · ");
}

function textNodes(row, text) {
  const side = (title, words, pieces, tag) => {
    const shown = pieces.map(([alone, piece]) => (alone ? element(tag, {}, piece) : piece));
    return element("div", {}, element("h3", {}, `${title}, ${number(words)} words`), element("div", { class: "text", dir: "auto" }, ...(shown.length ? shown : ["(empty)"])));
  };
  return [
    element("p", { class: "question" }, element("bdi", {}, text.question)),
    element("p", { class: "facts" }, summary(row)),
    element("div", { class: "sides" }, side("Before", text.words[0], text.sides[0], "del"), side("After", text.words[1], text.sides[1], "ins")),
  ];
}

held("rows").then((rows) => new Changes(rows, new Sheet()));
