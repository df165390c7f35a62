// @ts-check
/* Papers by questions: a cell for the answers to a question about a paper. */
const SEVERITY = { answered: 0, hedged: 1, abstained: 2 };

class Matrix extends Grid {
  /** @param {HTMLElement} node @param {Answers} answers
   * @param {(row: number, around: Around) => void} show */
  constructor(node, answers, show) {
    super(node, "--cell", answers, show);
    this.order = "problems";
    this.width = answers.questions.length;
    /** @type {{paper: number, cells: Map<number, number[]>, matching: Set<number>}[]} */
    this.visible = [];
    /** @type {Uint32Array} */
    this.rows = new Uint32Array();
    node.setAttribute("aria-colcount", String(this.width + 1));
  }

  /** Shows the papers of these rows; answers that are not among them are faint.
   * @param {Uint32Array} rows */
  update(rows) {
    this.rows = rows;
    const { answers } = this;
    /** @type {Map<number, Set<number>>} */
    const matching = new Map();
    for (const row of rows) {
      const paper = answers.paper[row];
      const known = matching.get(paper);
      if (known) known.add(answers.question[row]);
      else matching.set(paper, new Set([answers.question[row]]));
    }
    const papers = [...matching].map(([paper, questions]) => ({ paper, matching: questions, cells: this.#cells(paper) }));
    const weigh = this.order === "abstained" ? this.#abstained : this.#problems;
    const weights = new Map(papers.map((one) => [one.paper, this.order === "paper" ? 0 : weigh.call(this, one.paper)]));
    /** @typedef {{paper: number}} OfPaper */
    const byName = (/** @type {OfPaper} */ a, /** @type {OfPaper} */ b) => BY_NATURE.compare(answers.papers[a.paper], answers.papers[b.paper]);
    papers.sort((a, b) => (weights.get(b.paper) ?? 0) - (weights.get(a.paper) ?? 0) || byName(a, b));
    this.visible = papers;
    this.length = papers.length;
    this.at(0, 0);
    this.node.scrollTop = 0;
    this.draw();
  }

  /** Rows of a paper by question. @param {number} paper */
  #cells(paper) {
    /** @type {Map<number, number[]>} */
    const cells = new Map();
    for (let row = this.answers.firsts[paper]; row < this.answers.firsts[paper + 1]; row++) {
      const question = this.answers.question[row];
      cells.set(question, [...(cells.get(question) ?? []), row]);
    }
    return cells;
  }

  /** @param {number} paper @param {(kind: Kind) => number} weigh */
  #sum(paper, weigh) {
    let sum = 0;
    for (let row = this.answers.firsts[paper]; row < this.answers.firsts[paper + 1]; row++) sum += weigh(this.answers.kindOf(row));
    return sum;
  }

  /** @param {number} paper */
  #problems(paper) {
    return this.#sum(paper, (kind) => (kind.status === "failed" ? 1000 : kind.missed.length));
  }

  /** @param {number} paper */
  #abstained(paper) {
    return this.#sum(paper, (kind) => +(kind.stance === "abstained"));
  }

  head() {
    const columns = this.answers.questions.map(([name, text], at) =>
      element("div", { class: "column", role: "columnheader", "aria-colindex": at + 2, title: text || name }, name || "–"),
    );
    const corner = element("div", { class: "name", role: "columnheader", "aria-colindex": 1 }, "paper");
    return element("div", { class: "line head", role: "row", "aria-rowindex": 1 }, corner, ...columns);
  }

  /** @param {number} row */
  line(row) {
    const name = this.answers.papers[this.visible[row].paper];
    const header = element("div", { class: "name", role: "rowheader", "aria-colindex": 1, title: name }, cutNode(name));
    const cells = this.answers.questions.map((_, column) => this.#drawn(row, column));
    return element("div", { class: "line" }, header, ...cells);
  }

  /** @param {number} row @param {number} column */
  #drawn(row, column) {
    const { paper, cells, matching } = this.visible[row];
    const rows = cells.get(column);
    const attributes = { ...this.cellAttributes(row, column), "aria-colindex": column + 2 };
    if (!rows) return element("div", { ...attributes, class: "cell none", "aria-label": "no answer" });
    const kinds = rows.map((one) => this.answers.kindOf(one));
    const worst = kinds.reduce((a, b) => (severity(b) > severity(a) ? b : a));
    const looks = ["cell", worst.state, ...(worst.missed.length ? ["missed"] : []), ...(matching.has(column) ? [] : ["other"])];
    const facts = [worst.state, ...worst.missed.map((check) => `misses ${check}`)];
    if (rows.length > 1) facts.push(`the worst of ${rows.length} answers`);
    const label = `${this.answers.papers[paper]}, ${this.answers.questions[column][0] || "no question"}: ${facts.join(", ")}`;
    return element("div", { ...attributes, class: looks.join(" "), "aria-label": label, title: label });
  }

  /** @param {number} row @param {number} column */
  open(row, column) {
    const rows = this.visible[row]?.cells.get(column);
    if (!rows) return;
    this.at(row, column);
    const worst = rows.reduce((a, b) => (severity(this.answers.kindOf(b)) > severity(this.answers.kindOf(a)) ? b : a));
    this.#openRow(worst, rows);
  }

  /** One of several answers of a cell; steps go through these, then to the next matching cell.
   * @param {number} one @param {number[]} rows */
  #openRow(one, rows) {
    const [row, column] = this.current; // which the browser moves when the dialog closes
    const back = () => this.focus(row, column);
    this.show(one, { step: (by) => this.#step(one, rows, by), back });
  }

  /** @param {number} one @param {number[]} rows @param {number} by */
  #step(one, rows, by) {
    const within = rows[rows.indexOf(one) + by];
    if (within !== undefined) {
      this.#openRow(within, rows);
      return;
    }
    let [row, column] = this.current;
    for (;;) {
      const position = row * this.width + column + by;
      if (position < 0 || position >= this.length * this.width) return;
      [row, column] = [Math.floor(position / this.width), position % this.width];
      if (this.visible[row].matching.has(column)) break;
    }
    this.at(row, column);
    const next = this.visible[row].cells.get(column) ?? [];
    this.#openRow(by > 0 ? next[0] : next[next.length - 1], next);
  }
}

/** @param {Kind} kind */
function severity(kind) {
  return (kind.status === "failed" ? 1000 : 0) + kind.missed.length * 10 + SEVERITY[/** @type {"answered"} */ (kind.stance)];
}
