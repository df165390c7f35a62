// @ts-check
/* The answers to read first, how far the reader is, and the file of what was said. */
class First {
  /** @param {HTMLElement} section @param {any} content @param {Marks} marks @param {Detail} detail */
  constructor(section, content, marks, detail) {
    this.marks = marks;
    this.detail = detail;
    /** @type {{name: string, reasons: string[], answer: Answer, paper: Paper}[]} */
    this.entries = content.order.map((/** @type {[number, number, string, string[]]} */ [paper, at, name, reasons]) => ({
      name,
      reasons,
      answer: content.papers[paper].answers[at],
      paper: content.papers[paper],
    }));
    this.progress = byId("progress");
    this.note = byId("kept");
    /** @type {HTMLFormElement} */
    this.form = byId("marks");
    this.list = byId("first");
    this.states = this.entries.map((_, at) => this.#item(at));
    const { annotator } = fieldsOf(this.form);
    annotator.addEventListener("change", () => (marks.annotator = annotator.value));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#download(section.dataset.file ?? "corrections.csv");
    });
    marks.addEventListener("change", () => this.#show());
    this.#show();
  }

  /** @param {number} at */
  #item(at) {
    const { name, reasons, answer } = this.entries[at];
    const state = element("span", { class: "said" });
    const button = element("button", { type: "button" },
      nameNode(middleCut(name)), " ", element("bdi", {}, endCut(answer.question || answer.question_name)), " ",
      ...reasons.flatMap((reason) => [element("span", { class: `reason ${reason}` }, reason), " "]), state,
      element("span", { class: "excerpt", dir: "auto" }, endCut(answer.answer, 240)));
    button.addEventListener("click", () => this.#open(at));
    this.list.append(element("li", {}, button));
    return state;
  }

  /** @param {number} at */
  #open(at) {
    const entry = this.entries[at];
    if (!entry) return;
    const { name, answer, paper } = entry;
    const back = () => this.list.children[at].querySelector("button")?.focus();
    history.replaceState(null, "", `#record=${encodeURIComponent(answer.id)}`);
    this.detail.show(`${name} ${answer.question_name}`, answerNodes(answer, paper, this.marks), {
      step: (by) => this.#open(at + by),
      back,
    });
  }

  #show() {
    const said = this.entries.map(({ answer }) => this.marks.get(answer.key).value);
    for (const [at, value] of said.entries()) this.states[at].textContent = value;
    const read = said.filter(Boolean).length;
    const others = this.marks.rows().length - read;
    const more = others > 0 ? `, and ${plural(others, "other answer")}` : "";
    this.progress.textContent = `${read} of ${this.entries.length} read${more}`;
    const { annotator } = fieldsOf(this.form);
    if (document.activeElement !== annotator) annotator.value = this.marks.annotator;
    this.note.hidden = this.marks.keeps;
  }

  /** @param {string} file */
  #download(file) {
    const said = this.form.querySelector("[role=status]") ?? this.form;
    const rows = this.marks.rows();
    const { annotator } = fieldsOf(this.form);
    if (!rows.length) said.textContent = "Nothing is marked yet: open an answer, and press y, n or u.";
    else if (!this.marks.annotator) {
      said.textContent = "Write your name first.";
      annotator.focus();
    } else {
      download(file, csv([COLUMNS, ...rows]));
      this.marks.unsaved = false;
      const alone = this.marks.notesAlone;
      said.textContent = `${plural(rows.length, "correction")} in ${file}${alone ? `; ${plural(alone, "note")} without yes, no or unsure left out` : ""}`;
    }
  }
}
