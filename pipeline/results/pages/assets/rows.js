// @ts-check
/* All answers of the page as columns of numbers, and what else there is of them. */
const STATES = ["answered", "hedged", "abstained", "failed"];
const REASONS = ["failed", "unsure", "unsupported", "differing"];
const CLOSEST = 0.9; // what an answer adds to its urgency whose probability is 0.5: less than any reason

/** What many answers have in common; `state` is the stance, or `failed`.
 * @typedef {{status: string, stance: string, state: string, missed: string[], thisRun: boolean,
 *   verdict: string | null, finish: string | null, model: string, reasons: string[]}} Kind */
/** @typedef {{paper: string, question: string, check: string, state: string, verdict: string,
 *   reason: string, finish: string, model: string, column: string, value: string, text: string,
 *   thisRun: boolean, abstaining: boolean}} Criteria */

/** @type {Criteria} */
const EVERYTHING = {
  paper: "", question: "", check: "", state: "", verdict: "", reason: "", finish: "", model: "",
  column: "", value: "", text: "", thisRun: false, abstaining: false,
};
const BY_NATURE = new Intl.Collator("en", { numeric: true });

/** As `rows.py` writes it.
 * @typedef {{questions: [string, string][], papers: [string, number][],
 *   kinds: [string, string, string[], boolean, string | null, string | null, string | null, string[]][],
 *   question: number[], kind: number[], words: number[], p: (number | null)[], columns: string[],
 *   excerpted: number[][]}} RowsContent */

class Answers {
  /** @param {RowsContent} content @param {number[]} opened */
  constructor(content, opened = []) {
    this.questions = content.questions; // names and texts
    this.papers = content.papers.map(([name]) => name);
    /** @type {Kind[]} */
    this.kinds = content.kinds.map(([status, stance, missed, thisRun, verdict, finish, model, reasons]) => {
      const state = status === "failed" ? "failed" : stance;
      return { status, stance, state, missed, thisRun, verdict, finish, model: model ?? "", reasons };
    });
    this.columns = content.columns;
    this.opened = new Set(opened); // papers whose answers are on the page as a whole
    this.size = content.kind.length;
    this.question = Uint16Array.from(content.question);
    this.kind = Uint32Array.from(content.kind);
    this.words = Uint32Array.from(content.words);
    this.p = Float32Array.from(content.p, (p) => p ?? NaN);
    this.paper = new Uint32Array(this.size);
    this.firsts = new Uint32Array(this.papers.length + 1);
    content.papers.forEach(([, count], at) => {
      this.firsts[at + 1] = this.firsts[at] + count;
      this.paper.fill(at, this.firsts[at], this.firsts[at + 1]);
    });
    const weights = this.kinds.map(weightOf);
    this.urgency = Float32Array.from(this.kind, (kind, row) => weights[kind] + closeness(this.p[row]));
    /** @type {Map<number, [chunk: number, first: number]>} where a paper's excerpts are */
    this.excerpted = new Map();
    content.excerpted.forEach((papers, chunk) => {
      let first = 0;
      for (const paper of papers) {
        this.excerpted.set(paper, [chunk, first]);
        first += this.firsts[paper + 1] - this.firsts[paper];
      }
    });
    /** @type {Map<number, string[]>} chunks of excerpts that are here by now */
    this.excerpts = new Map();
    /** @type {Map<string, {values: string[], at: number[]}>} carried columns that are here by now */
    this.carried = new Map();
  }

  /** The first answer of a paper to a question; -1 if there is none.
   * @param {number} paper @param {number} question */
  rowAt(paper, question) {
    for (let row = this.firsts[paper]; row < this.firsts[paper + 1]; row++) if (this.question[row] === question) return row;
    return -1;
  }

  /** @param {number} row */
  kindOf(row) {
    return this.kinds[this.kind[row]];
  }

  /** The rows that meet all criteria; those of texts are looked up beforehand by `search`.
   * @param {Criteria} wanted @param {Uint8Array | null} containing */
  select(wanted, containing) {
    const kinds = this.kinds.map((kind) => meets(kind, wanted));
    const papers = this.papers.map((name) => includes(name, wanted.paper));
    if (wanted.abstaining) {
      for (const [at, is] of this.#abstaining().entries()) papers[at] &&= is;
    }
    const questions = this.questions.map(([name]) => !wanted.question || name === wanted.question);
    const rows = new Uint32Array(this.size);
    let count = 0;
    for (let row = 0; row < this.size; row++) {
      if (kinds[this.kind[row]] && questions[this.question[row]] && papers[this.paper[row]] && (!containing || containing[row])) {
        rows[count++] = row;
      }
    }
    return rows.subarray(0, count);
  }

  /** Papers of several answers, all of which abstain. */
  #abstaining() {
    return this.papers.map((_, at) => {
      const [first, end] = [this.firsts[at], this.firsts[at + 1]];
      for (let row = first; row < end; row++) if (this.kindOf(row).stance !== "abstained") return false;
      return end - first > 2;
    });
  }

  /** Which rows contain a text, and a value in a carried column, or in any; null if all do.
   * @param {Criteria} wanted */
  async search({ text, column, value }) {
    if (!text && !value) return null;
    const found = new Uint8Array(this.size).fill(text ? 0 : 1);
    if (text) await this.#searchTexts(text, found);
    if (value) await this.#searchColumns(column, value, found);
    return found;
  }

  /** @param {string} text @param {Uint8Array} found */
  async #searchTexts(text, found) {
    const asking = this.questions.map(([name, asked]) => includes(`${name}\n${asked}`, text));
    const ids = await this.ids();
    const named = this.papers.map((name) => includes(name, text));
    for (let row = 0; row < this.size; row++) {
      found[row] = +(asking[this.question[row]] || named[this.paper[row]] || includes(ids[row], text));
    }
    for (const [paper, [chunk, first]] of this.excerpted) {
      const excerpts = await this.#chunk(chunk);
      for (let row = this.firsts[paper], at = first; row < this.firsts[paper + 1]; row++, at++) {
        found[row] ||= +includes(excerpts[at], text);
      }
    }
    for (const paper of this.opened) {
      /** @type {Paper} */
      const { answers } = await load(`paper-${paper}`);
      const containing = new Set(answers.filter(({ answer }) => includes(answer, text)).map(({ id }) => id));
      for (let row = this.firsts[paper]; row < this.firsts[paper + 1]; row++) found[row] ||= +containing.has(ids[row]);
    }
  }

  /** @param {string} column @param {string} value @param {Uint8Array} found */
  async #searchColumns(column, value, found) {
    const has = new Uint8Array(this.size);
    for (const name of column ? [column] : this.columns) {
      const { values, at } = await this.column(name);
      const wanted = values.map((cell) => includes(cell, value));
      for (let row = 0; row < this.size; row++) has[row] ||= +wanted[at[row]];
    }
    for (let row = 0; row < this.size; row++) found[row] &&= has[row];
  }

  /** @returns {Promise<string[]>} */
  ids() {
    return load("ids");
  }

  /** A carried column: its distinct values, and the number of each row's.
   * @param {string} name
   * @returns {Promise<{values: string[], at: number[]}>} */
  async column(name) {
    const known = this.carried.get(name);
    if (known) return known;
    const column = await load(`column-${this.columns.indexOf(name)}`);
    this.carried.set(name, column);
    return column;
  }

  /** @param {number} chunk */
  async #chunk(chunk) {
    const known = this.excerpts.get(chunk);
    if (known) return known;
    const excerpts = await load(`excerpts-${chunk}`);
    this.excerpts.set(chunk, excerpts);
    return excerpts;
  }

  /** The beginning of an answer: null where the page has none, undefined where it is still packed.
   * @param {number} row */
  excerpt(row) {
    const place = this.excerpted.get(this.paper[row]);
    if (!place) return null;
    return this.excerpts.get(place[0])?.[place[1] + row - this.firsts[this.paper[row]]];
  }

  /** Unpacks the beginnings of these rows' answers; returns whether any were still packed.
   * @param {Iterable<number>} rows */
  async unpack(rows) {
    const chunks = new Set([...rows].map((row) => this.excerpted.get(this.paper[row])?.[0]));
    let news = false;
    for (const chunk of chunks) {
      if (chunk === undefined || this.excerpts.has(chunk)) continue;
      await this.#chunk(chunk);
      news = true;
    }
    return news;
  }

  /** An answer with its paper, if the page has its text.
   * @param {number} row
   * @returns {Promise<{answer: Answer, paper: Paper} | null>} */
  async whole(row) {
    const number = this.paper[row];
    if (!this.opened.has(number)) return null;
    /** @type {Paper} */
    const paper = await load(`paper-${number}`);
    const ids = await this.ids();
    const answer = paper.answers.find(({ id }) => id === ids[row]);
    return answer ? { answer, paper } : null;
  }

  /** The row of a record; -1 if the page has none.
   * @param {string} id */
  async rowOf(id) {
    return (await this.ids()).indexOf(id);
  }

  /** @param {number} row */
  title(row) {
    return `${this.papers[this.paper[row]]} ${this.questions[this.question[row]][0]}`;
  }

  /** Shows the answer of a row, or what the page has of it.
   * @param {number} row @param {Marks} marks @param {Detail} detail @param {Around} around */
  async show(row, marks, detail, around) {
    const [whole, ids] = await Promise.all([this.whole(row), this.ids()]);
    const nodes = whole ? answerNodes(whole.answer, whole.paper, marks) : await this.#placeholder(row);
    history.replaceState(null, "", `#record=${encodeURIComponent(ids[row])}`);
    detail.show(this.title(row), nodes, around);
  }

  /** @param {number} row */
  async #placeholder(row) {
    await this.unpack([row]);
    const { state, missed } = this.kindOf(row);
    const facts = [state, ...missed.map((check) => `misses ${check}`)];
    return placeholderNodes(this.questions[this.question[row]][1], this.excerpt(row) ?? "", facts);
  }
}

/** Of the reasons to read it: a more urgent one outweighs all others together.
 * @param {Kind} kind */
function weightOf({ reasons }) {
  return reasons.reduce((sum, reason) => sum + 2 ** (REASONS.length - 1 - REASONS.indexOf(reason)), 0);
}

/** How close a probability is to a half, as far as there is one.
 * @param {number} p */
function closeness(p) {
  return Number.isNaN(p) ? 0 : CLOSEST * (1 - 2 * Math.abs(p - 0.5));
}

/** @param {Kind} kind @param {Criteria} wanted */
function meets(kind, wanted) {
  return (
    (!wanted.check || kind.missed.includes(wanted.check)) &&
    (!wanted.state || kind.state === wanted.state) &&
    (!wanted.verdict || kind.verdict === wanted.verdict) &&
    (!wanted.reason || kind.reasons.includes(wanted.reason)) &&
    (!wanted.finish || kind.finish === wanted.finish) &&
    (!wanted.model || kind.model === wanted.model) &&
    (!wanted.thisRun || kind.thisRun)
  );
}
