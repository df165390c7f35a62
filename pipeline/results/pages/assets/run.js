// @ts-check
/* The page about a run: its answers as a table, a matrix, or a list of those to read first. */

class RunPage {
  /** @param {Answers} answers @param {Marks} marks @param {Detail} detail */
  constructor(answers, marks, detail) {
    this.answers = answers;
    this.marks = marks;
    this.detail = detail;
    /** @type {HTMLFormElement} */
    this.form = byId("filters");
    this.turn = 0; // of filtering: the latest one is shown
    const show = (/** @type {number} */ row, /** @type {Around} */ around) => answers.show(row, marks, detail, around);
    this.table = new Table(byId("table"), answers, show);
    this.matrix = new Matrix(byId("matrix"), answers, show);
    this.rows = new Uint32Array();
    this.#fillForm();
    this.#listen();
  }

  get view() {
    return fieldsOf(this.form).view.value;
  }

  /** The choices of the filters are those that lead to answers. */
  #fillForm() {
    const { answers } = this;
    const some = (/** @type {(kind: Kind) => (string | null)[]} */ of) =>
      [...new Set(answers.kinds.flatMap(of))].filter((value) => value !== null && value !== "").map(String).sort();
    /** @type {Record<string, (string | [string, string])[]>} */
    const choices = {
      question: answers.questions.map(([name, text]) => [name, endCut(`${name === text ? "" : name} ${text}`.trim()) || "–"]),
      check: some((kind) => kind.missed),
      state: STATES,
      verdict: some((kind) => [kind.verdict]),
      reason: REASONS.filter((reason) => answers.kinds.some((kind) => kind.reasons.includes(reason))),
      finish: some((kind) => [kind.finish]),
      model: some((kind) => [kind.model]),
      column: answers.columns.map((name) => [name, endCut(name) || "–"]),
      group: this.table.columns.filter(({ name }) => !["answer", "words"].includes(name)).map(({ name, label }) => [name, label]),
    };
    for (const [name, values] of Object.entries(choices)) {
      const select = fieldsOf(this.form)[name];
      if (!select) continue;
      const options = values.map((value) => (Array.isArray(value) ? value : [value, value]));
      select.append(...options.map(([value, label]) => element("option", { value }, label)));
      const label = select.closest("label");
      if (label && values.length < 2 && !["question", "group", "state"].includes(name)) label.hidden = values.length === 0;
    }
    this.#listColumns();
  }

  #listColumns() {
    byId("columns").replaceChildren(...this.table.columns.map((column) => this.#columnNode(column)));
  }

  async #shape() {
    const { shape, group } = fieldsOf(this.form);
    group.value = "";
    group.disabled = shape.value === "papers";
    await this.table.become(shape.value);
    this.#listColumns();
  }

  /** @param {Column} column */
  #columnNode(column) {
    const shown = element("input", { type: "checkbox", name: `show ${column.name}` });
    const pinned = element("input", { type: "checkbox", name: `pin ${column.name}` });
    shown.checked = column.isShown;
    pinned.checked = column.isPinned;
    const apply = async () => {
      Object.assign(column, { isShown: shown.checked, isPinned: pinned.checked });
      await this.table.arrange();
      this.table.draw();
    };
    shown.addEventListener("change", apply);
    pinned.addEventListener("change", apply);
    return element("li", {}, element("label", { class: "tick" }, shown, " ", element("bdi", {}, column.label)), element("label", { class: "tick" }, pinned, " pinned"));
  }

  #listen() {
    const { form } = this;
    const apply = debounced(() => this.apply(), 150);
    form.addEventListener("input", (event) => {
      const { name } = /** @type {HTMLInputElement} */ (event.target);
      if (name === "view") this.#showView();
      else if (name === "shape") this.#shape();
      else if (name === "group") this.table.group(fieldsOf(form).group.value);
      else if (name === "order") this.#showView();
      else if (!name.startsWith("show ") && !name.startsWith("pin ")) apply();
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => {
      const { view } = this; // which is no filter
      setTimeout(() => this.#reset(view));
    });
    byId("save").addEventListener("click", async () => download("answers.csv", await this.table.file()));
    for (const button of document.querySelectorAll("[data-filter]")) {
      button.addEventListener("click", () => this.lookAt(JSON.parse(/** @type {HTMLElement} */ (button).dataset.filter ?? "{}")));
    }
    addEventListener("hashchange", () => this.openLinked());
    this.detail.dialog.addEventListener("close", () => history.replaceState(null, "", location.pathname + location.search));
  }

  /** @param {string} view */
  async #reset(view) {
    fieldsOf(this.form).view.value = view;
    await this.#shape();
    await this.apply();
  }

  /** Shows only rows that meet some criteria, those of an alert. @param {Partial<Criteria>} wanted */
  lookAt(wanted) {
    if (this.view === "first") fieldsOf(this.form).view.value = "table";
    this.form.reset();
    for (const [name, value] of Object.entries(wanted)) {
      const field = fieldsOf(this.form)[name];
      if (field.type === "checkbox") field.checked = Boolean(value);
      else field.value = value;
    }
    byId("answers-title").focus();
    byId("answers-title").scrollIntoView();
  }

  async apply() {
    const written = Object.fromEntries(new FormData(this.form));
    const { this_run, abstaining } = fieldsOf(this.form);
    const criteria = { ...EVERYTHING, ...written, thisRun: this_run.checked, abstaining: abstaining.checked };
    const turn = ++this.turn;
    const containing = await this.answers.search(criteria);
    if (turn !== this.turn) return; // something else is wanted by now
    this.rows = this.answers.select(criteria, containing);
    await this.#showView();
    const papers = new Set(Array.from(this.rows, (row) => this.answers.paper[row])).size;
    byId("matched").textContent = `${plural(this.rows.length, "answer")} of ${plural(papers, "paper")}`;
  }

  async #showView() {
    for (const name of ["table", "matrix", "first"]) {
      for (const part of document.querySelectorAll(`.view-${name}`)) /** @type {HTMLElement} */ (part).hidden = name !== this.view;
    }
    this.matrix.order = fieldsOf(this.form).order.value;
    if (this.view === "table") await this.table.update(this.rows);
    if (this.view === "matrix") this.matrix.update(this.rows);
  }

  /** Opens the answer that the page's address names. */
  async openLinked() {
    const id = new URLSearchParams(location.hash.slice(1)).get("record");
    if (id === null) return;
    const row = await this.answers.rowOf(id);
    if (row < 0) {
      byId("matched").textContent = `No answer to record ${id} on this page`;
      return;
    }
    const at = this.table.lines.indexOf(row);
    const back = () => byId("answers-title").focus();
    if (at >= 0 && this.view === "table") this.table.open(at, 0);
    else this.answers.show(row, this.marks, this.detail, { step: () => {}, back });
  }
}

async function start() {
  const [content, opened] = await Promise.all([load("rows"), load("opened")]);
  const section = byId("answers");
  const marks = new Marks(section.dataset.run);
  const detail = new Detail();
  markByKey(marks, detail.dialog);
  const page = new RunPage(new Answers(content, opened), marks, detail);
  await page.apply();
  await page.openLinked();
  new First(section, await load("first"), marks, detail);
}

if (document.getElementById("answers")) start();
