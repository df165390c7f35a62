/* The answers to read first, how far the reader is, and the file of what was said. */
class First {
  constructor(section, content, marks, detail) {
    this.marks = marks;
    this.detail = detail;
    this.entries = content.order.map(([paper, number, name, reasons]) => ({
      name,
      reasons,
      answer: content.papers[paper].answers[number],
      paragraphs: content.papers[paper].paragraphs,
    }));
    this.progress = section.querySelector("#progress");
    this.note = section.querySelector("#kept");
    this.form = section.querySelector("#marks");
    this.states = this.entries.map((entry, index) => this.item(section.querySelector("#first"), entry, index));
    const { annotator } = this.form.elements;
    annotator.addEventListener("change", () => (marks.annotator = annotator.value));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.download(section.dataset.file);
    });
    marks.addEventListener("change", () => this.show());
    this.show();
  }

  item(list, { name, reasons, answer }, index) {
    const state = element("span", { class: "said" });
    const button = element("button", { type: "button" },
      element("bdi", {}, name), " ", element("bdi", {}, answer.question_name.slice(0, 90)), " ",
      ...reasons.flatMap((reason) => [element("span", { class: `reason ${reason}` }, reason), " "]), state);
    button.addEventListener("click", () => this.open(index));
    list.append(element("li", {}, button));
    return state;
  }

  open(index) {
    const entry = this.entries[index];
    if (!entry) return;
    const { name, answer, paragraphs } = entry;
    const nodes = answerNodes(answer, paragraphs, this.marks);
    this.detail.show(`${name} ${answer.question_name}`, nodes, (step) => this.open(index + step));
  }

  show() {
    const said = this.entries.map(({ answer }) => this.marks.get(answer.key).value);
    said.forEach((value, index) => (this.states[index].textContent = value));
    const read = said.filter(Boolean).length;
    const others = this.marks.rows().length - read;
    const more = others > 0 ? `, and ${plural(others, "other answer")}` : "";
    this.progress.textContent = `${read} of ${this.entries.length} read${more}`;
    const { annotator } = this.form.elements;
    if (document.activeElement !== annotator) annotator.value = this.marks.annotator;
    this.note.hidden = this.marks.keeps;
  }

  download(file) {
    const said = this.form.querySelector("[role=status]");
    const rows = this.marks.rows();
    const { annotator } = this.form.elements;
    if (!rows.length) said.textContent = "Nothing is marked yet: open an answer, and press y, n or u.";
    else if (!this.marks.annotator) {
      said.textContent = "Write your name first.";
      annotator.focus();
    } else {
      download(file, csv(rows));
      this.marks.unsaved = false;
      const alone = this.marks.notesAlone;
      said.textContent = `${plural(rows.length, "correction")} in ${file}${alone ? `; ${plural(alone, "note")} without yes, no or unsure left out` : ""}`;
    }
  }
}
