// @ts-check
/* The columns of the table: what each shows of an answer, and what its rows are sorted by. */
const LEAST_WIDTH = 64;
const SCROLLBAR = 20;
const [LEAST_ANSWER, MOST_ANSWER] = [320, 720]; // its column takes what the others leave

/** A column: its text for people and files, and what its rows are sorted by.
 * @typedef {{name: string, label: string, width: number, isShown: boolean, isPinned: boolean,
 *   isNumber?: boolean, text: (row: number) => string, key: (row: number) => number | string,
 *   node?: (row: number) => Node | string, of?: (row: number) => number}} Column
 * `of` is the row of the answer that a cell shows, where that is another one of the same paper; -1 for
 * none. */

/** The columns of a table whose rows are answers; that of their texts takes what others leave.
 * @param {Answers} answers @param {number} clientWidth pixels that the table has
 * @returns {Column[]} */
function answerColumns(answers, clientWidth) {
  const question = (/** @type {number} */ row) => answers.questions[answers.question[row]];
  const kind = (/** @type {number} */ row) => answers.kindOf(row);
  const share = (/** @type {number} */ width, /** @type {number} */ most) => Math.max(LEAST_WIDTH, Math.min(width, Math.round(most * clientWidth)));
  const paperCharacters = Math.floor(share(150, 0.34) / 4.5); // two to three lines
  const several = new Set(answers.kinds.map(({ model }) => model)).size > 1;
  /** @type {Column[]} */
  const own = answers.columns.map((name) => ({
    name: `column ${name}`,
    label: name,
    width: 130,
    isShown: answers.columns.length <= 3,
    isPinned: false,
    text: (row) => carriedText(answers, name, row),
    key: (row) => carriedText(answers, name, row),
  }));
  /** @type {Column[]} */
  const columns = [
    {
      name: "paper", label: "paper", width: share(150, 0.34), isShown: true, isPinned: true,
      text: (row) => answers.papers[answers.paper[row]], key: (row) => answers.papers[answers.paper[row]],
      node: (row) => nameNode(middleCut(answers.papers[answers.paper[row]], paperCharacters)),
    },
    {
      name: "question", label: "question", width: share(190, 0.36), isShown: true, isPinned: false,
      text: (row) => question(row)[1] || question(row)[0], key: (row) => answers.question[row],
    },
    {
      name: "answer", label: "answer", width: LEAST_ANSWER, isShown: true, isPinned: false,
      text: (row) => answers.excerpt(row) ?? "", key: (row) => answers.excerpt(row) ?? "",
      node: (row) => excerptNode(answers, row),
    },
    {
      name: "state", label: "state", width: 110, isShown: true, isPinned: false,
      text: (row) => kind(row).state, key: (row) => STATES.indexOf(kind(row).state),
      node: (row) => element("span", { class: `badge ${kind(row).state}` }, kind(row).state),
    },
    {
      name: "answers_question", label: "answers?", width: 105, isShown: true, isPinned: false,
      text: (row) => kind(row).verdict ?? "", key: (row) => (Number.isNaN(answers.p[row]) ? 2 : answers.p[row]),
      node: (row) => (kind(row).verdict ? `${kind(row).verdict} ${Math.round(100 * answers.p[row])}%` : ""),
    },
    {
      name: "missed", label: "missed checks", width: 155, isShown: true, isPinned: false,
      text: (row) => kind(row).missed.join(", "), key: (row) => -kind(row).missed.length,
    },
    {
      name: "words", label: "words", width: 80, isShown: true, isPinned: false, isNumber: true,
      text: (row) => number(answers.words[row]), key: (row) => answers.words[row],
    },
    ...own,
    {
      name: "reasons", label: "why to read", width: 130, isShown: false, isPinned: false,
      text: (row) => kind(row).reasons.join(", "), key: (row) => -answers.urgency[row],
    },
    {
      name: "model", label: "model", width: 150, isShown: several, isPinned: false,
      text: (row) => kind(row).model, key: (row) => kind(row).model,
    },
    {
      name: "finish_reason", label: "finish reason", width: 110, isShown: false, isPinned: false,
      text: (row) => kind(row).finish ?? "", key: (row) => kind(row).finish ?? "",
    },
    {
      name: "run", label: "run", width: 80, isShown: false, isPinned: false,
      text: (row) => (kind(row).thisRun ? "this" : "earlier"), key: (row) => +!kind(row).thisRun,
    },
  ];
  const taken = columns.reduce((sum, { name, isShown, width }) => sum + (isShown && name !== "answer" ? width : 0), SCROLLBAR);
  const answer = columns.find(({ name }) => name === "answer");
  if (answer) answer.width = Math.min(Math.max(clientWidth - taken, LEAST_ANSWER), MOST_ANSWER);
  return columns;
}

/** @param {Answers} answers @param {string} name @param {number} row */
function carriedText(answers, name, row) {
  const column = answers.carried.get(name);
  return column ? column.values[column.at[row]] : "";
}

/** @param {Answers} answers @param {number} row */
function excerptNode(answers, row) {
  const excerpt = answers.excerpt(row);
  if (excerpt === null) return element("span", { class: "facts" }, "not on this page");
  return element("span", { class: "excerpt", dir: "auto" }, excerpt ?? "…");
}
