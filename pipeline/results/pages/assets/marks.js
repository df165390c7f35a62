// @ts-check
/* What a reader says about answers: kept by the browser, written to a corrections file. */
/** @typedef {{value: string, note: string, annotator?: string, at?: string}} Mark */
/** @typedef {{annotator: string, marks: Record<string, Mark>}} State */

/** @type {Record<string, string>} */
const VERDICTS = { y: "yes", n: "no", u: "unsure" };
const COLUMNS = ["record_id", "generation_key", "answer_sha256", "field", "value", "annotator", "at", "note"];

/* Marks by what a correction names an answer by. Every change is written at once, on top of what
   another tab has written; where the browser keeps nothing, marks last as long as the page. */
class Marks extends EventTarget {
  /** @param {string} name */
  constructor(name) {
    super();
    this.name = `overnight ${name}`;
    /** @type {State} */
    this.state = { annotator: "", marks: {} };
    this.unsaved = false;  // only where nothing is kept
    this.state = this.#read();
    this.keeps = this.#write(this.state);
    addEventListener("storage", (event) => {
      if (event.key === this.name) this.#changed(this.#read());
    });
    addEventListener("beforeunload", (event) => {
      if (this.unsaved) event.preventDefault();
    });
  }

  /** @param {string} key */
  get(key) {
    return this.state.marks[key] ?? { value: "", note: "" };
  }

  get annotator() {
    return this.state.annotator;
  }

  set annotator(name) {
    this.#change((state) => (state.annotator = name.trim()));
  }

  /** @param {string} key @param {{value?: string, note?: string}} change */
  mark(key, change) {
    this.#change((state) => {
      const mark = { ...(state.marks[key] ?? { value: "", note: "" }), ...change };
      const at = new Date().toISOString();
      if (mark.value || mark.note) state.marks[key] = { ...mark, at, annotator: state.annotator };
      else delete state.marks[key];
    });
  }

  /* The marks with a value, as rows of a corrections file. */
  rows() {
    return Object.entries(this.state.marks)
      .filter(([, mark]) => mark.value)
      .map(([key, { value, annotator, at, note }]) => [
        ...JSON.parse(key), "answers_question", value, annotator || this.annotator, at, note,
      ]);
  }

  get notesAlone() {
    return Object.values(this.state.marks).filter((mark) => !mark.value).length;
  }

  /** @param {(state: State) => unknown} edit */
  #change(edit) {
    const state = this.#read();
    edit(state);
    this.keeps = this.#write(state);
    this.unsaved = !this.keeps && this.rows().length > 0;
    this.#changed(state);
  }

  /** @param {State} state */
  #changed(state) {
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }

  /** @returns {State} */
  #read() {
    try {
      const state = JSON.parse(localStorage.getItem(this.name) ?? "null");
      return state && this.keeps !== false ? { annotator: "", marks: {}, ...state } : this.state;
    } catch {
      return this.state;
    }
  }

  /** @param {State} state */
  #write(state) {
    try {
      localStorage.setItem(this.name, JSON.stringify(state));
      return true;
    } catch {
      return false;
    }
  }
}

/** The question to the reader of one answer, under its text.
 * @param {Marks} marks @param {Answer} answer */
function markNode(marks, answer) {
  const form = element("form", { class: "mark", "data-key": answer.key, "aria-label": "Your reading" });
  const legend = element("legend", {}, "Does it give what the question asks for?");
  const buttons = Object.entries(VERDICTS).map(([key, value]) => {
    const button = element("button", { type: "button", value, "aria-keyshortcuts": key }, `${value} `, element("kbd", {}, key));
    button.addEventListener("click", () => marks.mark(answer.key, { value }));
    return button;
  });
  const clear = element("button", { type: "button" }, "clear");
  clear.addEventListener("click", () => marks.mark(answer.key, { value: "" }));
  const note = element("input", { name: "note", autocomplete: "off", value: marks.get(answer.key).note });
  note.addEventListener("input", () => marks.mark(answer.key, { note: note.value }));
  const annotator = element("input", { name: "annotator", autocomplete: "off" });
  annotator.addEventListener("change", () => (marks.annotator = annotator.value));
  const asked = element("label", {}, "Your name, once, for the corrections file ", annotator);
  const show = () => {
    const { value } = marks.get(answer.key);
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.value === value));
    clear.hidden = !value;
    asked.hidden = Boolean(marks.annotator);
  };
  const watching = new AbortController();
  marks.addEventListener("change", () => (form.isConnected ? show() : watching.abort()), { signal: watching.signal });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.append(element("fieldset", {}, legend, ...buttons, clear), element("label", {}, "Note ", note), asked);
  show();
  return form;
}

/** Keys y, n and u mark the open answer.
 * @param {Marks} marks @param {HTMLDialogElement} dialog */
function markByKey(marks, dialog) {
  dialog.addEventListener("keydown", (event) => {
    const value = VERDICTS[event.key.toLowerCase()];
    if (!value || event.ctrlKey || event.altKey || event.metaKey || isText(event.target)) return;
    const form = dialog.querySelector(".mark");
    if (!(form instanceof HTMLElement)) return;
    event.preventDefault();
    marks.mark(form.dataset.key ?? "", { value });
  });
}
