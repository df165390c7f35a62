/* The matrix: rows are made for what is in sight, so that thousands of papers scroll as ten do. */
const ROW = 28;  // pixels, as in the style sheet
const HEAD = 32;
const BEYOND = 8;
const STANCES = ["answered", "hedged", "abstained"];
const GRAVITY = { answered: 0, hedged: 1, abstained: 2 };

class Matrix {
  constructor(place, content, sheet) {
    this.place = place;
    this.sheet = sheet;
    this.questions = content.questions;
    this.held = new Set(content.held);
    this.kinds = content.kinds.map(([status, stance, missed, mine]) => ({ status, stance, missed, mine }));
    this.papers = content.papers.map(([name, flat], index) => this.paper(name, flat, index));
    this.shown = [];
    this.current = [0, 0];
    this.found = null;
    place.setAttribute("aria-colcount", this.questions.length + 1);
    place.addEventListener("scroll", () => requestAnimationFrame(() => this.draw()));
    place.addEventListener("keydown", (event) => this.key(event));
    place.addEventListener("click", (event) => this.clicked(event));
    addEventListener("beforeprint", () => this.draw(true));
    addEventListener("afterprint", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(place);
  }

  paper(name, flat, index) {
    const cells = new Map();
    for (let at = 0; at < flat.length; at += 2) {
      const cell = cells.get(flat[at]);
      if (cell) cell.push(this.kinds[flat[at + 1]]);
      else cells.set(flat[at], [this.kinds[flat[at + 1]]]);
    }
    let trouble = 0;
    let abstained = 0;
    for (const kinds of cells.values()) {
      for (const kind of kinds) {
        trouble += kind.status === "failed" ? 1000 : kind.missed.length;
        abstained += kind.stance === "abstained" ? 1 : 0;
      }
    }
    return { name, index, cells, trouble, abstained };
  }

  /* What a filter leaves: papers with a cell that matches, in the order asked for. */
  filter(asked) {
    const orders = {
      trouble: (a, b) => b.trouble - a.trouble,
      abstained: (a, b) => b.abstained - a.abstained,
      paper: () => 0,
    };
    const name = asked.paper.toLowerCase();
    let answers = 0;
    this.shown = [];
    for (const paper of this.papers) {
      if (name && !paper.name.toLowerCase().includes(name)) continue;
      const matching = new Set();
      for (const [question, kinds] of paper.cells) {
        const here = kinds.filter((kind) => this.matches(paper, question, kind, asked)).length;
        if (here) matching.add(question);
        answers += here;
      }
      if (matching.size) this.shown.push({ ...paper, matching });
    }
    this.shown.sort((a, b) => orders[asked.order](a, b) || (a.name < b.name ? -1 : 1));
    this.current = [0, 0];
    this.place.setAttribute("aria-rowcount", this.shown.length + 1);
    this.place.scrollTop = 0;
    this.draw();
    return [answers, this.shown.length];
  }

  matches(paper, question, kind, asked) {
    return (
      (!asked.question || this.questions[question][0] === asked.question) &&
      (!asked.check || kind.missed.includes(asked.check)) &&
      (!asked.stance || (asked.stance === "failed" ? kind.status : kind.stance) === asked.stance) &&
      (!asked.mine || kind.mine) &&
      (!this.found || this.found.has(`${paper.index} ${this.questions[question][0]}`))
    );
  }

  draw(whole = false) {
    const first = whole ? 0 : Math.max(0, Math.floor(this.place.scrollTop / ROW) - BEYOND);
    this.place.style.height = `${HEAD + this.shown.length * ROW + 20}px`;
    const room = Math.ceil(this.place.clientHeight / ROW) + 2 * BEYOND;
    const last = whole ? this.shown.length : Math.min(this.shown.length, first + room);
    const focused = this.place.contains(document.activeElement);
    const [row] = this.current;
    if (!focused && (row < first || row >= last)) this.current[0] = Math.ceil(this.place.scrollTop / ROW);
    const tall = element("div", { class: "tall", role: "presentation" });
    tall.style.height = `${this.shown.length * ROW + HEAD}px`;
    const lines = [];
    for (let at = first; at < last; at++) lines.push(this.line(at));
    this.place.replaceChildren(this.head(), ...lines, tall);
    if (focused) this.cell(...this.current)?.focus({ preventScroll: true });
  }

  head() {
    const columns = this.questions.map(([id, text], at) =>
      element("div", { class: "column", role: "columnheader", "aria-colindex": at + 2, title: text || id }, id || "–"),
    );
    const corner = element("div", { class: "name", role: "columnheader", "aria-colindex": 1 }, "paper");
    return element("div", { class: "line head", role: "row", "aria-rowindex": 1 }, corner, ...columns);
  }

  line(row) {
    const paper = this.shown[row];
    const name = element("div", { class: "name", role: "rowheader", "aria-colindex": 1, title: paper.name }, element("bdi", {}, paper.name));
    const line = element("div", { class: "line", role: "row", "aria-rowindex": row + 2 }, name);
    line.style.top = `${row * ROW + HEAD}px`;
    for (let column = 0; column < this.questions.length; column++) line.append(this.drawn(row, column));
    return line;
  }

  drawn(row, column) {
    const paper = this.shown[row];
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
    const said = [look, ...worst.missed.map((check) => `misses ${check}`)];
    if (kinds.length > 1) said.push(`${kinds.length} answers, this the worst`);
    const label = `${paper.name}, ${this.questions[column][0] || "no question"}: ${said.join(", ")}`;
    cell.setAttribute("aria-label", label);
    cell.title = label;
    return cell;
  }

  cell(row, column) {
    return this.place.querySelector(`[data-at="${row} ${column}"]`);
  }

  focus(row, column) {
    const rows = this.shown.length - 1;
    const columns = this.questions.length - 1;
    this.current = [Math.min(Math.max(row, 0), rows), Math.min(Math.max(column, 0), columns)];
    const top = this.current[0] * ROW;
    const height = this.place.clientHeight - HEAD - ROW;
    if (top < this.place.scrollTop) this.place.scrollTop = top;
    else if (top > this.place.scrollTop + height) this.place.scrollTop = top - height;
    this.draw();
    const cell = this.cell(...this.current);
    cell?.focus({ preventScroll: true });
    cell?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  key(event) {
    if (!this.shown.length || event.altKey || event.metaKey) return;
    const [row, column] = this.current;
    const page = Math.max(1, Math.floor(this.place.clientHeight / ROW) - 2);
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
    const paper = this.shown[row];
    const kinds = paper?.cells.get(column);
    if (!kinds) return;
    this.current = [row, column];
    const [id, text] = this.questions[column];
    const content = this.held.has(paper.index) ? await held(`paper-${paper.index}`) : null;
    const cases = content ? content.cases.filter((c) => c.asked === id) : [];
    const nodes = cases.length
      ? cases.flatMap((one) => caseNodes(one, content.paragraphs))
      : notHeld(kinds, text);
    this.sheet.show(`${paper.name} ${id}`, nodes, (step) => this.openNext(step));
  }

  /* The next cell that matches, row after row. */
  openNext(step) {
    let [row, column] = this.current;
    const columns = this.questions.length;
    for (;;) {
      const at = row * columns + column + step;
      if (at < 0 || at >= this.shown.length * columns) return;
      [row, column] = [Math.floor(at / columns), at % columns];
      if (this.shown[row].matching.has(column)) break;
    }
    this.focus(row, column);
    this.open(row, column);
  }

  async search(text) {
    if (!text) {
      this.found = null;
      return;
    }
    const sought = text.toLowerCase();
    const found = new Set();
    for (const index of this.held) {
      const { cases } = await held(`paper-${index}`);
      for (const one of cases) {
        const said = `${one.id}\n${one.question}\n${one.answer}`.toLowerCase();
        if (said.includes(sought)) found.add(`${index} ${one.asked}`);
      }
    }
    this.found = found;
  }
}

function weight(kind) {
  return (kind.status === "failed" ? 1000 : 0) + kind.missed.length * 10 + GRAVITY[kind.stance];
}

function notHeld(kinds, question) {
  const said = kinds.map((k) => element("li", {}, [k.status, k.stance, ...k.missed.map((m) => `misses ${m}`)].join(", ")));
  return [
    element("p", { class: "question" }, question),
    element("ul", {}, ...said),
    element("p", {}, "This page holds the text of a sample of the answers, and this one is not among them. The store has it: overnight export."),
  ];
}

function caseNodes(one, paragraphs) {
  const look = one.status === "failed" ? "failed" : one.stance;
  const facts = [
    `${number(one.words)} words`,
    `prompt ${one.prompted}`,
    one.model,
    `run ${one.run}`,
    one.written,
    ...one.repairs.map((repair) => `input mended: ${repair}`),
  ];
  return [
    element("p", { class: "question" }, element("bdi", {}, one.question)),
    element("p", { class: "facts" }, element("span", { class: `badge ${look}` }, look), ` ${facts.filter(Boolean).join(" · ")}`),
    element("h3", {}, "Answer"),
    element("div", { class: "text answer", dir: "auto" }, one.answer || "(empty)"),
    element("h3", {}, "Checks"),
    table(["check", "found", "evidence"], one.checks.map(([name, passed, level, evidence]) => [name, finding(passed, level), evidence])),
    element("h3", {}, one.attempts.length > 1 ? `${one.attempts.length} attempts` : "Attempt"),
    ...one.attempts.map(attemptNode),
    element("h3", {}, "Prompt, with the sentences that support the answer"),
    ...one.prompt.map(([role, numbers]) => promptNode(role, numbers, paragraphs, one.support)),
    element("p", { class: "facts" }, `Record ${one.id}, from ${one.place}`),
  ];
}

function finding(passed, level) {
  return passed ? "passed" : element("span", { class: "fell" }, level === "fail" ? "failed" : "missed");
}

function attemptNode([completion, finish, failed, prompt, cached, completionTokens, seconds], at) {
  const tokens = prompt || completionTokens
    ? `${number(prompt)} prompt tokens, ${number(cached)} of them cached, ${number(completionTokens)} generated, `
    : "";
  const end = failed.length ? `failed ${failed.join(", ")}` : "passed";
  const summary = `${at + 1}: ${end}; ${tokens}${seconds} s, finish reason ${finish ?? "none"}`;
  return element("details", {}, element("summary", {}, summary), element("div", { class: "text", dir: "auto" }, completion || "(empty)"));
}

function promptNode(role, numbers, paragraphs, support) {
  const marked = new Set(support.map(([paragraph, sentence]) => `${paragraph} ${sentence}`));
  const text = element("div", { class: "text prompt", dir: "auto" });
  for (const paragraph of numbers) {
    paragraphs[paragraph].forEach((sentence, at) => {
      text.append(marked.has(`${paragraph} ${at}`) ? element("mark", {}, sentence) : sentence);
    });
  }
  return element("div", {}, element("p", { class: "facts" }, role), text);
}

async function start() {
  const content = await held("matrix");
  const matrix = new Matrix(document.getElementById("matrix"), content, new Sheet());
  const form = document.getElementById("filters");
  const options = (name, values) =>
    form.elements[name].append(...values.map(([value, label]) => element("option", { value }, label)));
  options("question", matrix.questions.map(([id, text]) => [id, `${id} ${text}`.trim().slice(0, 90) || "–"]));
  options("check", [...new Set(matrix.kinds.flatMap((kind) => kind.missed))].sort().map((c) => [c, c]));
  options("stance", [...STANCES, "failed"].map((stance) => [stance, stance]));
  const asked = () => ({
    ...Object.fromEntries(new FormData(form)),
    mine: form.elements.mine.checked,
  });
  const apply = () => {
    const [answers, papers] = matrix.filter(asked());
    document.getElementById("matched").textContent = `${number(answers)} answers of ${number(papers)} papers`;
  };
  const search = debounced(async () => {
    await matrix.search(form.elements.text.value);
    apply();
  }, 250);
  form.addEventListener("input", (event) => (event.target.name === "text" ? search() : apply()));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(async () => {
    await matrix.search("");
    apply();
  }));
  apply();
}

if (document.getElementById("matrix")) start();
