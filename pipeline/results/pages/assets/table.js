// @ts-check
/* The answers as a table, a row each or a row a paper: sorted, grouped, with columns that are resized,
   pinned or left out. */
const MOST_QUESTIONS = 60; // side by side
const WIDER = 24; // pixels a key press

class Table extends Grid {
  /** @param {HTMLElement} node @param {Answers} answers
   * @param {(row: number, around: Around) => void} show */
  constructor(node, answers, show) {
    super(node, "--row", answers, show);
    /** @type {"answers" | "papers"} what a row is */
    this.shape = "answers";
    this.columns = answerColumns(answers, node.clientWidth);
    /** @type {{column: Column | null, direction: 1 | -1}} no column: what to read first */
    this.sorting = { column: null, direction: 1 };
    /** @type {Column | null} */
    this.grouping = null;
    /** @type {Set<string>} names of groups that are shut */
    this.shut = new Set();
    /** @type {Uint32Array} */
    this.rows = new Uint32Array();
    /** @type {{name: string, rows: number[], facts: string}[]} */
    this.groups = [];
    /** @type {Int32Array} rows of answers, or -1 - the number of a group */
    this.lines = new Int32Array();
    node.addEventListener("pointerdown", (event) => this.#drag(event));
  }

  /** The paper, and a column for the answers to each question.
   * @returns {Column[]} */
  #questionColumns() {
    const { answers } = this;
    const used = [...new Set(Array.from(this.rows, (row) => answers.question[row]))].sort((a, b) => a - b);
    const columns = used.slice(0, MOST_QUESTIONS).map((question) => {
      const [name, text] = answers.questions[question];
      const of = (/** @type {number} */ row) => answers.rowAt(answers.paper[row], question);
      return {
        name: `question ${name}`, label: text || name || "–", width: 300, isShown: true, isPinned: false, of,
        text: (/** @type {number} */ row) => (of(row) < 0 ? "" : (answers.excerpt(of(row)) ?? "")),
        key: (/** @type {number} */ row) => (of(row) < 0 ? STATES.length : STATES.indexOf(answers.kindOf(of(row)).state)),
        node: (/** @type {number} */ row) => this.#answerNode(of(row)),
      };
    });
    return [answerColumns(answers, this.node.clientWidth)[0], ...columns];
  }

  /** @param {number} row */
  #answerNode(row) {
    if (row < 0) return element("span", { class: "facts" }, "no answer");
    const { state } = this.answers.kindOf(row);
    const badge = state === "answered" ? [] : [element("span", { class: `badge ${state}` }, state), " "];
    return element("span", {}, ...badge, excerptNode(this.answers, row));
  }

  /** Has a row be an answer or a paper. @param {"answers" | "papers"} shape */
  async become(shape) {
    this.shape = shape;
    this.sorting = { column: null, direction: 1 };
    this.grouping = null;
    if (shape === "answers") this.columns = answerColumns(this.answers, this.node.clientWidth);
    await this.update(this.rows);
  }

  get hasKeysInHead() {
    return true;
  }

  /** The columns that are shown, the pinned ones first. */
  get shown() {
    const shown = this.columns.filter(({ isShown }) => isShown);
    return [...shown.filter(({ isPinned }) => isPinned), ...shown.filter(({ isPinned }) => !isPinned)];
  }

  /** @param {Uint32Array} rows */
  async update(rows) {
    this.rows = rows;
    if (this.shape === "papers") this.columns = this.#questionColumns();
    await this.arrange();
    this.at(0, 0);
    this.node.scrollTop = 0;
    this.draw();
    requestIdleCallback(() => this.#unpackForPaper());
  }

  /** A page that is printed cannot wait for texts. */
  #unpackForPaper() {
    const [first, last] = this.onPaper();
    this.answers.unpack(this.lines.subarray(first, last).filter((row) => row >= 0));
  }

  /** Sorts and groups the rows; unpacks first what they are sorted by. */
  async arrange() {
    const needed = [this.sorting.column, this.grouping, ...this.shown];
    await Promise.all(this.answers.columns.filter((name) => needed.some((c) => c?.name === `column ${name}`)).map((name) => this.answers.column(name)));
    if (this.sorting.column?.name === "answer") await this.answers.unpack(this.rows);
    const sorted = this.#sorted(this.shape === "papers" ? this.#ofPapers() : this.rows);
    if (!this.grouping) {
      this.groups = [];
      this.lines = Int32Array.from(sorted);
    } else this.#group(sorted, this.grouping);
    this.length = this.lines.length;
  }

  /** The first row of each paper, by the papers' names. */
  #ofPapers() {
    const { answers } = this;
    const papers = [...new Set(Array.from(this.rows, (row) => answers.paper[row]))];
    papers.sort((a, b) => BY_NATURE.compare(answers.papers[a], answers.papers[b]));
    return Uint32Array.from(papers, (paper) => answers.firsts[paper]);
  }

  /** @param {Uint32Array} rows */
  #sorted(rows) {
    const { column, direction } = this.sorting;
    if (!column) {
      const { urgency } = this.answers;
      return this.shape === "papers" ? rows : rows.slice().sort((a, b) => urgency[b] - urgency[a] || a - b);
    }
    const keys = new Map();
    for (const row of rows) keys.set(row, column.key(row));
    const isText = typeof keys.values().next().value === "string";
    const ranks = isText ? ranksOf([...keys.values()]) : null;
    const weight = (/** @type {number} */ row) => (ranks ? ranks.get(keys.get(row)) : keys.get(row));
    return rows.slice().sort((a, b) => direction * (weight(a) - weight(b)) || a - b);
  }

  /** @param {Uint32Array} sorted @param {Column} by */
  #group(sorted, by) {
    /** @type {Map<string, number[]>} */
    const groups = new Map();
    for (const row of sorted) {
      const name = by.text(row);
      const known = groups.get(name);
      if (known) known.push(row);
      else groups.set(name, [row]);
    }
    this.groups = [...groups].map(([name, rows]) => ({ name, rows, facts: this.#countsAndRates(rows) }));
    if (!this.sorting.column) this.groups.sort((a, b) => BY_NATURE.compare(a.name, b.name));
    const lines = this.groups.flatMap(({ name, rows }, at) => [-1 - at, ...(this.shut.has(name) ? [] : rows)]);
    this.lines = Int32Array.from(lines);
  }

  draw() {
    if (this.node.hidden) return;
    this.width = this.shown.length;
    this.node.setAttribute("aria-colcount", String(this.width));
    super.draw();
    const [first, last] = this.rowsDrawn();
    const rows = this.lines.subarray(first, last).filter((row) => row >= 0);
    this.answers.unpack(rows).then((news) => news && this.draw());
  }

  /** Where pinned columns stand. */
  #lefts() {
    let left = 0;
    return this.shown.map((column) => {
      const at = left;
      left += column.width;
      return at;
    });
  }

  head() {
    const lefts = this.#lefts();
    const cells = this.shown.map((column, at) => {
      const isSorted = this.sorting.column === column;
      const sorted = isSorted ? (this.sorting.direction > 0 ? "ascending" : "descending") : "none";
      const arrow = isSorted ? (this.sorting.direction > 0 ? " ▲" : " ▼") : "";
      const cell = element("div", {
        ...this.cellAttributes(-1, at, "columnheader"), class: "heading", "aria-sort": sorted,
        title: "Enter sorts, Shift and arrow keys resize, P pins",
      }, element("span", {}, column.label + arrow), element("span", { class: "handle", "data-column": column.name }));
      return this.#sized(cell, column, lefts[at]);
    });
    return element("div", { class: "line head", role: "row", "aria-rowindex": 1 }, ...cells);
  }

  /** @param {HTMLElement} cell @param {Column} column @param {number} left */
  #sized(cell, column, left) {
    cell.style.setProperty("--width", String(column.width));
    if (column.isPinned) {
      cell.classList.add("pinned");
      cell.style.left = `${left}px`;
    }
    return cell;
  }

  /** @param {number} at */
  line(at) {
    const row = this.lines[at];
    if (row < 0) return this.#groupLine(at, this.groups[-1 - row]);
    const lefts = this.#lefts();
    const cells = this.shown.map((column, number) => {
      const content = column.node ? column.node(row) : element("bdi", {}, column.text(row));
      const attributes = { ...this.cellAttributes(at, number), class: column.isNumber ? "value number-value" : "value" };
      return this.#sized(element("div", attributes, element("div", { class: "lines" }, content)), column, lefts[number]);
    });
    return element("div", { class: "line" }, ...cells);
  }

  /** @param {number[]} rows */
  #countsAndRates(rows) {
    /** @type {Record<string, number>} */
    const counts = {};
    for (const row of rows) {
      const { state } = this.answers.kindOf(row);
      counts[state] = (counts[state] ?? 0) + 1;
    }
    const states = STATES.filter((state) => state !== "answered" && counts[state]);
    const rates = states.map((state) => `${number(counts[state])} ${state} (${percent(counts[state], rows.length)})`);
    return [plural(rows.length, "answer"), ...rates].join(", ");
  }

  /** @param {number} at @param {{name: string, facts: string}} group */
  #groupLine(at, { name, facts }) {
    const isShut = this.shut.has(name);
    const cell = element("div", {
      ...this.cellAttributes(at, 0), class: "group", "aria-colspan": this.width, "aria-expanded": String(!isShut),
    }, element("div", { class: "group-name" }, isShut ? "▸ " : "▾ ", element("bdi", {}, name || "–")), element("div", { class: "facts" }, facts));
    return element("div", { class: "line" }, cell);
  }

  /** @param {number} row @param {number} column */
  open(row, column) {
    this.at(row, column);
    if (row < 0) this.sort(this.shown[column]);
    else if (this.lines[row] < 0) this.#toggle(this.groups[-1 - this.lines[row]].name);
    else {
      const answer = this.shown[column].of?.(this.lines[row]) ?? this.lines[row];
      const step = (/** @type {number} */ by) => this.#openNext(by);
      if (answer >= 0) this.show(answer, { step, back: () => this.focus(row, column) });
    }
  }

  /** @param {number} by */
  #openNext(by) {
    for (let row = this.current[0] + by; row >= 0 && row < this.length; row += by) {
      const answer = this.shown[this.current[1]]?.of?.(this.lines[row]) ?? this.lines[row];
      if (this.lines[row] >= 0 && answer >= 0) {
        this.open(row, this.current[1]);
        return;
      }
    }
  }

  /** @param {Column} column */
  async sort(column) {
    const { sorting } = this;
    if (sorting.column !== column) this.sorting = { column, direction: 1 };
    else this.sorting = sorting.direction > 0 ? { column, direction: -1 } : { column: null, direction: 1 };
    await this.arrange();
    this.draw();
  }

  /** @param {string} name */
  async #toggle(name) {
    if (!this.shut.delete(name)) this.shut.add(name);
    await this.arrange();
    this.focus(...this.current);
  }

  /** Groups by a column; groups are shut at first. @param {string} name of a column, or none */
  async group(name) {
    this.grouping = this.columns.find((column) => column.name === name) ?? null;
    await this.arrange();
    this.shut = new Set(this.groups.map((group) => group.name));
    await this.update(this.rows);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const [row, at] = this.current;
    const column = this.shown[at];
    if (row < 0 && event.shiftKey && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      this.resize(column, column.width + (event.key === "ArrowRight" ? WIDER : -WIDER));
      event.preventDefault();
    } else if (row < 0 && event.key.toLowerCase() === "p") {
      column.isPinned = !column.isPinned;
      this.focus(row, this.shown.indexOf(column));
    } else super.key(event);
  }

  /** @param {Column} column @param {number} width */
  resize(column, width) {
    column.width = Math.max(LEAST_WIDTH, Math.round(width));
    this.draw();
  }

  /** @param {PointerEvent} event */
  #drag(event) {
    const handle = event.target instanceof HTMLElement ? event.target.dataset.column : undefined;
    const column = this.columns.find(({ name }) => name === handle);
    if (!column) return;
    event.preventDefault();
    this.pressed = null; // it is no click
    const [from, width] = [event.clientX, column.width];
    const dragging = new AbortController();
    const { signal } = dragging;
    addEventListener("pointermove", (moved) => this.resize(column, width + moved.clientX - from), { signal });
    addEventListener("pointerup", () => dragging.abort(), { signal });
  }

  /** The rows as they are shown, as a file: whole answers where the page has them. */
  async file() {
    const { answers } = this;
    await Promise.all(answers.columns.map((name) => answers.column(name)));
    await answers.unpack(this.rows);
    const ids = await answers.ids();
    const texts = new Map();
    for (const paper of new Set(Array.from(this.rows, (row) => answers.paper[row]))) {
      if (!answers.opened.has(paper)) continue;
      for (const { id, answer } of (await load(`paper-${paper}`)).answers) texts.set(id, answer);
    }
    if (this.shape === "papers") return csv(this.#wideRows(texts, ids));
    const columns = this.columns.filter(({ name }) => name !== "answer" && name !== "words");
    const names = ["record_id", ...columns.map(({ label, name }) => (name.startsWith("column ") ? label : name)), "words", "p_answered", "answer", "is_whole"];
    const sorted = Array.from(this.lines).filter((row) => row >= 0);
    const rows = (this.groups.length ? this.groups.flatMap((group) => group.rows) : sorted).map((row) => {
      const whole = texts.get(ids[row]);
      return [
        ids[row], ...columns.map((column) => column.text(row)), answers.words[row],
        Number.isNaN(answers.p[row]) ? "" : Number(answers.p[row].toFixed(2)),
        whole ?? answers.excerpt(row) ?? "", whole === undefined ? "no" : "yes",
      ];
    });
    return csv([names, ...rows]);
  }

  /** A row for each paper, with its answers. @param {Map<string, string>} texts @param {string[]} ids */
  #wideRows(texts, ids) {
    const rows = Array.from(this.lines).map((row) =>
      this.columns.map((column) => {
        const answer = column.of?.(row) ?? -1;
        return (answer >= 0 && texts.get(ids[answer])) || column.text(row);
      }),
    );
    return [this.columns.map(({ label }) => label), ...rows];
  }
}

/** The order of texts as numbers. @param {string[]} texts */
function ranksOf(texts) {
  return new Map([...new Set(texts)].sort(BY_NATURE.compare).map((text, rank) => [text, rank]));
}
