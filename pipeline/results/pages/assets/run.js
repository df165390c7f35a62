/* The matrix of papers by questions. Only rows in view are elements, so that it scrolls fast. */
const ROW = 28;  // pixels, as in the style sheet
const HEAD = 32;
const ROWS_OUT_OF_VIEW = 8;  // drawn above and below
const STANCES = ["answered", "hedged", "abstained"];
const SEVERITY = { answered: 0, hedged: 1, abstained: 2 };

class Matrix {
  constructor(grid, content, marks, detail) {
    this.grid = grid;
    this.marks = marks;
    this.detail = detail;
    this.questions = content.questions;
    this.opened = new Set(content.opened);
    this.kinds = content.kinds.map(([status, stance, missed, thisRun]) => ({ status, stance, missed, thisRun }));
    this.papers = content.papers.map(([name, flat], index) => this.paper(name, flat, index));
    this.visible = [];
    this.current = [0, 0];
    this.containing = null;
    grid.setAttribute("aria-colcount", this.questions.length + 1);
    grid.addEventListener("scroll", () => requestAnimationFrame(() => this.draw()));
    grid.addEventListener("keydown", (event) => this.key(event));
    grid.addEventListener("click", (event) => this.clicked(event));
    addEventListener("beforeprint", () => this.draw(true));
    addEventListener("afterprint", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(grid);
  }

  paper(name, flat, index) {
    const cells = new Map();
    for (let i = 0; i < flat.length; i += 2) {
      const cell = cells.get(flat[i]);
      if (cell) cell.push(this.kinds[flat[i + 1]]);
      else cells.set(flat[i], [this.kinds[flat[i + 1]]]);
    }
    let problems = 0;
    let abstained = 0;
    for (const kinds of cells.values()) {
      for (const kind of kinds) {
        problems += kind.status === "failed" ? 1000 : kind.missed.length;
        abstained += kind.stance === "abstained" ? 1 : 0;
      }
    }
    return { name, index, cells, problems, abstained };
  }

  /* Shows the papers with a matching cell, and returns the numbers of matching answers and papers. */
  filter(criteria) {
    const orders = {
      problems: (a, b) => b.problems - a.problems,
      abstained: (a, b) => b.abstained - a.abstained,
      paper: () => 0,
    };
    const name = criteria.paper.toLowerCase();
    let answers = 0;
    this.visible = [];
    for (const paper of this.papers) {
      if (name && !paper.name.toLowerCase().includes(name)) continue;
      const matching = new Set();
      for (const [question, kinds] of paper.cells) {
        const count = kinds.filter((kind) => this.matches(paper, question, kind, criteria)).length;
        if (count) matching.add(question);
        answers += count;
      }
      if (matching.size) this.visible.push({ ...paper, matching });
    }
    this.visible.sort((a, b) => orders[criteria.order](a, b) || (a.name < b.name ? -1 : 1));
    this.current = [0, 0];
    this.grid.setAttribute("aria-rowcount", this.visible.length + 1);
    this.grid.scrollTop = 0;
    this.draw();
    return [answers, this.visible.length];
  }

  matches(paper, question, kind, criteria) {
    return (
      (!criteria.question || this.questions[question][0] === criteria.question) &&
      (!criteria.check || kind.missed.includes(criteria.check)) &&
      (!criteria.stance || (criteria.stance === "failed" ? kind.status : kind.stance) === criteria.stance) &&
      (!criteria.thisRun || kind.thisRun) &&
      (!this.containing || this.containing.has(`${paper.index} ${this.questions[question][0]}`))
    );
  }

  draw(whole = false) {
    const first = whole ? 0 : Math.max(0, Math.floor(this.grid.scrollTop / ROW) - ROWS_OUT_OF_VIEW);
    this.grid.style.height = `${HEAD + this.visible.length * ROW + 20}px`;
    const room = Math.ceil(this.grid.clientHeight / ROW) + 2 * ROWS_OUT_OF_VIEW;
    const last = whole ? this.visible.length : Math.min(this.visible.length, first + room);
    const focused = this.grid.contains(document.activeElement);
    const [row] = this.current;
    if (!focused && (row < first || row >= last)) this.current[0] = Math.ceil(this.grid.scrollTop / ROW);
    const tall = element("div", { class: "tall", role: "presentation" });
    tall.style.height = `${this.visible.length * ROW + HEAD}px`;
    const lines = [];
    for (let position = first; position < last; position++) lines.push(this.line(position));
    this.grid.replaceChildren(this.head(), ...lines, tall);
    if (focused) this.cell(...this.current)?.focus({ preventScroll: true });
  }

  head() {
    const columns = this.questions.map(([name, text], index) =>
      element("div", { class: "column", role: "columnheader", "aria-colindex": index + 2, title: text || name }, name || "–"),
    );
    const corner = element("div", { class: "name", role: "columnheader", "aria-colindex": 1 }, "paper");
    return element("div", { class: "line head", role: "row", "aria-rowindex": 1 }, corner, ...columns);
  }

  line(row) {
    const paper = this.visible[row];
    const name = element("div", { class: "name", role: "rowheader", "aria-colindex": 1, title: paper.name }, element("bdi", {}, paper.name));
    const line = element("div", { class: "line", role: "row", "aria-rowindex": row + 2 }, name);
    line.style.top = `${row * ROW + HEAD}px`;
    for (let column = 0; column < this.questions.length; column++) line.append(this.drawn(row, column));
    return line;
  }

  drawn(row, column) {
    const paper = this.visible[row];
    const kinds = paper.cells.get(column);
    const cell = element("div", {
      role: "gridcell",
      "aria-colindex": column + 2,
      "data-at": `${row} ${column}`,
      tabindex: row === this.current[0] && column === this.current[1] ? 0 : -1,
    });
    if (!kinds) {
      cell.className = "cell none";
      cell.setAttribute("aria-label", "no answer");
      return cell;
    }
    const worst = kinds.reduce((a, b) => (weight(b) > weight(a) ? b : a));
    const look = worst.status === "failed" ? "failed" : worst.stance;
    cell.className = `cell ${look}`;
    if (worst.missed.length) cell.classList.add("missed");
    if (!paper.matching.has(column)) cell.classList.add("other");
    const facts = [look, ...worst.missed.map((check) => `misses ${check}`)];
    if (kinds.length > 1) facts.push(`the worst of ${kinds.length} answers`);
    const label = `${paper.name}, ${this.questions[column][0] || "no question"}: ${facts.join(", ")}`;
    cell.setAttribute("aria-label", label);
    cell.title = label;
    return cell;
  }

  cell(row, column) {
    return this.grid.querySelector(`[data-at="${row} ${column}"]`);
  }

  focus(row, column) {
    const rows = this.visible.length - 1;
    const columns = this.questions.length - 1;
    this.current = [Math.min(Math.max(row, 0), rows), Math.min(Math.max(column, 0), columns)];
    const top = this.current[0] * ROW;
    const height = this.grid.clientHeight - HEAD - ROW;
    if (top < this.grid.scrollTop) this.grid.scrollTop = top;
    else if (top > this.grid.scrollTop + height) this.grid.scrollTop = top - height;
    this.draw();
    const cell = this.cell(...this.current);
    cell?.focus({ preventScroll: true });
    cell?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  key(event) {
    if (!this.visible.length || event.altKey || event.metaKey) return;
    const [row, column] = this.current;
    const page = Math.max(1, Math.floor(this.grid.clientHeight / ROW) - 2);
    const far = event.ctrlKey;
    const moves = {
      ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
      PageUp: [row - page, column],
      PageDown: [row + page, column],
      Home: [far ? 0 : row, 0],
      End: [far ? Infinity : row, Infinity],
    };
    if (event.key in moves) this.focus(...moves[event.key]);
    else if (event.key === "Enter" || event.key === " ") this.open(row, column);
    else return;
    event.preventDefault();
  }

  clicked(event) {
    const cell = event.target.closest("[data-at]");
    if (!cell) return;
    this.current = cell.dataset.at.split(" ").map(Number);
    this.open(...this.current);
  }

  async open(row, column) {
    const paper = this.visible[row];
    const kinds = paper?.cells.get(column);
    if (!kinds) return;
    this.current = [row, column];
    const [name, text] = this.questions[column];
    const content = this.opened.has(paper.index) ? await load(`paper-${paper.index}`) : null;
    const answers = content ? content.answers.filter((answer) => answer.question_name === name) : [];
    const nodes = answers.length
      ? answers.flatMap((answer) => answerNodes(answer, content.paragraphs, this.marks))
      : placeholderNodes(kinds, text);
    this.detail.show(`${paper.name} ${name}`, nodes, (step) => this.openNext(step));
  }

  /* Opens the next matching cell, row by row. */
  openNext(step) {
    let [row, column] = this.current;
    const columns = this.questions.length;
    for (;;) {
      const position = row * columns + column + step;
      if (position < 0 || position >= this.visible.length * columns) return;
      [row, column] = [Math.floor(position / columns), position % columns];
      if (this.visible[row].matching.has(column)) break;
    }
    this.focus(row, column);
    this.open(row, column);
  }

  /* Finds the answers that contain a text, and a value in a column, or in any; `filter` then leaves only those. */
  async search(text, column, value) {
    if (!text && !value) {
      this.containing = null;
      return;
    }
    const containing = new Set();
    for (const index of this.opened) {
      const { answers } = await load(`paper-${index}`);
      for (const { id, question, answer, question_name, columns } of answers) {
        const carried = columns.filter(([name]) => !column || name === column);
        const found =
          includes(`${id}\n${question}\n${answer}`, text) && (!value || carried.some(([, cell]) => includes(cell, value)));
        if (found) containing.add(`${index} ${question_name}`);
      }
    }
    this.containing = containing;
  }
}

function includes(text, wanted) {
  return text.toLowerCase().includes(wanted.toLowerCase());
}

function weight(kind) {
  return (kind.status === "failed" ? 1000 : 0) + kind.missed.length * 10 + SEVERITY[kind.stance];
}

function placeholderNodes(kinds, question) {
  const items = kinds.map((k) => element("li", {}, [k.status, k.stance, ...k.missed.map((m) => `misses ${m}`)].join(", ")));
  return [
    element("p", { class: "question" }, question),
    element("ul", {}, ...items),
    element("p", {}, "This page has the texts of a sample of the answers, and this one is not in it. Use overnight export to read it."),
  ];
}

function answerNodes(answer, paragraphs, marks) {
  const look = answer.status === "failed" ? "failed" : answer.stance;
  const facts = [
    plural(answer.words, "word"),
    `prompt ${answer.template}`,
    answer.model,
    `run ${answer.run}`,
    answer.written_at,
    ...answer.repairs.map((repair) => `input repaired: ${repair}`),
  ];
  return [
    element("p", { class: "question" }, element("bdi", {}, answer.question)),
    element("p", { class: "facts" }, element("span", { class: `badge ${look}` }, look), ` ${facts.filter(Boolean).join(" · ")}`),
    element("h3", {}, "Answer"),
    element("div", { class: "text answer", dir: "auto" }, answer.answer || "(empty)"),
    markNode(marks, answer),
    ...columnNodes(answer.columns),
    element("h3", {}, "Checks"),
    table(["check", "result", "evidence"], answer.checks.map(([name, passed, level, evidence]) => [name, checkResult(passed, level), evidence])),
    element("h3", {}, answer.attempts.length > 1 ? plural(answer.attempts.length, "attempt") : "Attempt"),
    ...answer.attempts.map(attemptNode),
    element("h3", {}, "Prompt, with the sentences that support the answer"),
    ...answer.prompt.map(([role, numbers]) => messageNode(role, numbers, paragraphs, answer.support)),
    element("p", { class: "facts" }, `Record ${answer.id}, from ${answer.source}`),
  ];
}

function checkResult(passed, level) {
  return passed ? "passed" : element("span", { class: "fell" }, level === "fail" ? "failed" : "missed");
}

function attemptNode([completion, finish, failed, prompt, cached, completionTokens, seconds], index) {
  const tokens = prompt || completionTokens
    ? `${plural(prompt, "prompt token")}, ${number(cached)} of them cached, ${number(completionTokens)} generated, `
    : "";
  const end = failed.length ? `failed ${failed.join(", ")}` : "passed";
  const summary = `${index + 1}: ${end}; ${tokens}${seconds} s, finish reason ${finish ?? "none"}`;
  return element("details", {}, element("summary", {}, summary), element("div", { class: "text", dir: "auto" }, completion || "(empty)"));
}

function messageNode(role, numbers, paragraphs, support) {
  const marked = new Set(support.map(([paragraph, sentence]) => `${paragraph} ${sentence}`));
  const text = element("div", { class: "text prompt", dir: "auto" });
  for (const paragraph of numbers) {
    paragraphs[paragraph].forEach((sentence, index) => {
      text.append(marked.has(`${paragraph} ${index}`) ? element("mark", {}, sentence) : sentence);
    });
  }
  return element("div", {}, element("p", { class: "facts" }, role), text);
}

async function start() {
  const content = await load("matrix");
  const section = document.getElementById("reading");
  const marks = new Marks(section.dataset.run);
  const detail = new Detail();
  markByKey(marks, detail.dialog);
  new First(section, await load("first"), marks, detail);
  const matrix = new Matrix(document.getElementById("matrix"), content, marks, detail);
  const form = document.getElementById("filters");
  const options = (name, values) =>
    form.elements[name].append(...values.map(([value, label]) => element("option", { value }, label)));
  options("question", matrix.questions.map(([name, text]) => [name, `${name} ${text}`.trim().slice(0, 90) || "–"]));
  options("check", [...new Set(matrix.kinds.flatMap((kind) => kind.missed))].sort().map((c) => [c, c]));
  if (content.columns.length) options("column", content.columns.map((name) => [name, name.slice(0, 90) || "–"]));
  options("stance", [...STANCES, "failed"].map((stance) => [stance, stance]));
  const criteria = () => ({
    ...Object.fromEntries(new FormData(form)),
    thisRun: form.elements.this_run.checked,
  });
  const apply = () => {
    const [answers, papers] = matrix.filter(criteria());
    document.getElementById("matched").textContent = `${plural(answers, "answer")} of ${plural(papers, "paper")}`;
  };
  const search = debounced(async () => {
    const { text, column, value } = form.elements;
    await matrix.search(text.value, column?.value ?? "", value?.value ?? "");
    apply();
  }, 250);
  form.addEventListener("input", (event) => (["text", "column", "value"].includes(event.target.name) ? search() : apply()));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(async () => {
    await matrix.search("", "", "");
    apply();
  }));
  apply();
}

if (document.getElementById("matrix")) start();
