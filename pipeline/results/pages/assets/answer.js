// @ts-check
/* What the dialog shows of one answer: the answer on the left, on the right what it was asked with. */

/** @typedef {[check: string, kind: "unsupported" | "derived" | "general", text: string,
 *   place: [number, number] | null, message: number | null, source: [number, number] | null]} Claim */
/** @typedef {{id: string, key: string, question_name: string, question: string, status: string,
 *   stance: string, verdict: string | null, p: number | null, words: number, answer: string,
 *   reasoning: string, columns: [string, string][], checks: [string, boolean, string, string][],
 *   claims: Claim[], judgements: [string, string][], attempts: any[][], template: string,
 *   model: string, repairs: string[], source: string, run: string, written_at: string,
 *   prompt: [string, number[]][], boilerplate: number}} Answer */
/** @typedef {{paragraphs: string[], boilerplates: string[], answers: Answer[]}} Paper */
/** @typedef {{start: number, end: number, look: string, link: string, title: string}} Span */

/** The whole of an answer, in two columns.
 * @param {Answer} answer @param {Paper} paper @param {Marks} marks */
function answerNodes(answer, paper, marks) {
  const texts = answer.prompt.map(([, numbers]) => numbers.map((n) => paper.paragraphs[n]).join(""));
  const spans = spansOf(answer, texts, paper.boilerplates[answer.boilerplate] ?? "");
  const side = (/** @type {string} */ name, /** @type {string} */ label, /** @type {Node[]} */ nodes) =>
    element("div", { class: name, role: "region", tabindex: 0, "aria-label": label }, ...nodes);
  const left = side("said-side", "Answer", leftNodes(answer, spans.answer, marks));
  const right = side("asked-side", "Prompt", rightNodes(answer, texts, spans.messages));
  const both = element("div", { class: "reading" }, left, right);
  requestAnimationFrame(() => showIn(right, right.querySelector("mark")));
  both.addEventListener("click", (event) => follow(both, event.target));
  both.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    if (follow(both, event.target)) event.preventDefault();
  });
  return [both];
}

/** @param {Answer} answer @param {Span[]} spans @param {Marks} marks */
function leftNodes(answer, spans, marks) {
  const look = answer.status === "failed" ? "failed" : answer.stance;
  const passed = answer.checks.filter(([, is]) => is);
  const missed = answer.checks.filter(([, is]) => !is);
  const checkRows = (/** @type {Answer["checks"]} */ checks) =>
    checks.map(([name, is, level, evidence]) => [name, checkResult(is, level), evidence]);
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
    element("p", { class: "facts" }, element("span", { class: `badge ${look}` }, look), ...verdictNodes(answer)),
    element("div", { class: "text answer", dir: "auto" }, ...marked(answer.answer || "(empty)", spans)),
    markNode(marks, answer),
    ...(missed.length ? [element("h3", {}, "Missed checks"), table(["check", "result", "evidence"], checkRows(missed))] : []),
    ...(passed.length ? [folded(`${plural(passed.length, "check")} passed`, table(["check", "result", "evidence"], checkRows(passed)))] : []),
    ...unplacedNodes(answer),
    ...columnNodes(answer.columns),
    ...(answer.reasoning ? [folded("Reasoning", element("div", { class: "text", dir: "auto" }, answer.reasoning))] : []),
    element("h3", {}, plural(answer.attempts.length, "attempt")),
    element("ol", { class: "attempts" }, ...answer.attempts.map(attemptNode)),
    element("p", { class: "facts" }, facts.filter(Boolean).join(" · ")),
    element("p", { class: "facts" }, `Record ${answer.id}, from ${answer.source}. `,
      element("a", { href: `#record=${encodeURIComponent(answer.id)}` }, "Link to this answer")),
  ];
}

/** @param {Answer} answer */
function verdictNodes({ verdict, p, judgements }) {
  const estimated = verdict ? [` answers the question: ${verdict}${p === null ? "" : ` (${Math.round(100 * p)}%)`}`] : [];
  return [...estimated, ...judgements.map(([rater, value]) => ` · ${rater}: ${value}`)];
}

/** Claims that stand nowhere in the text that is shown, such as those of a document's prose.
 * @param {Answer} answer */
function unplacedNodes({ claims }) {
  const unplaced = claims.filter(([, , , place]) => !place);
  if (!unplaced.length) return [];
  return [element("h3", {}, "Claims"), table(["check", "kind", "text"], unplaced.map(([check, kind, text]) => [check, kind, text]))];
}

/** @param {Answer} answer @param {string[]} texts @param {Span[][]} spans */
function rightNodes(answer, texts, spans) {
  return answer.prompt.map(([role], at) =>
    element("section", { "aria-label": `Prompt: ${role}` },
      element("h3", {}, role === "user" || role === "plain" ? "Passages and question" : `Prompt: ${role}`),
      element("div", { class: "text prompt", dir: "auto" }, ...marked(texts[at], spans[at])),
    ),
  ).reverse(); // what the user asked stands above the instructions of the system
}

/** Where an answer and its prompt are marked: what the checks say of the answer, and which sentences
 * support it. An abstention is supported by nothing.
 * @param {Answer} answer @param {string[]} texts @param {string} boilerplate */
function spansOf(answer, texts, boilerplate) {
  /** @type {{answer: Span[], messages: Span[][]}} */
  const spans = { answer: [], messages: texts.map(() => []) };
  answer.claims.forEach(([check, kind, , place, message, source], at) => {
    const link = `claim-${at}`;
    if (place) spans.answer.push({ start: place[0], end: place[1], look: kind, link, title: `${check}: ${kind}` });
    if (place && message !== null && source) {
      spans.messages[message]?.push({ start: source[0], end: source[1], look: "nearest", link, title: `nearest to: ${check}` });
    }
  });
  if (answer.stance === "abstained") return spans;
  const excluded = (/** @type {string} */ sentence) => boilerplate.includes(sentence) || answer.question.includes(sentence);
  for (const [message, text] of texts.entries()) {
    for (const [at, { answer: claim, source }] of supportOf(answer.answer, text, excluded).entries()) {
      const link = `support-${message}-${at}`;
      spans.answer.push({ ...place(claim), look: "supported", link, title: "a sentence of the prompt supports this" });
      spans.messages[message].push({ ...place(source), look: "supports", link, title: "supports the answer" });
    }
  }
  return spans;
}

/** @param {Sentence} sentence */
function place({ start, end }) {
  return { start, end };
}

/** A text with its spans as marks that can be chosen; where spans overlap, the first one is chosen.
 * @param {string} text @param {Span[]} spans
 * @returns {(Node | string)[]} */
function marked(text, spans) {
  const within = spans.filter(({ start, end }) => start < end && end <= text.length);
  const borders = [...new Set([0, text.length, ...within.flatMap(({ start, end }) => [start, end])])].sort((a, b) => a - b);
  return borders.slice(0, -1).map((start, at) => {
    const piece = text.slice(start, borders[at + 1]);
    const here = within.filter((span) => span.start <= start && start < span.end);
    if (!here.length) return piece;
    const first = here.find((span) => span.start === start);
    return element("mark", {
      class: here.map((span) => span.look).join(" "),
      "data-link": here.map((span) => span.link).join(" "),
      title: here.map((span) => span.title).join("; "),
      ...(first ? { role: "button", tabindex: 0 } : {}),
    }, piece);
  });
}

/** Shows what belongs to a mark on the other side; returns whether there is anything.
 * @param {HTMLElement} both @param {EventTarget | null} target */
function follow(both, target) {
  const mark = target instanceof Element ? target.closest("mark") : null;
  if (!mark) return false;
  const links = (mark.dataset.link ?? "").split(" ");
  const side = mark.closest(".asked-side") ? ".said-side" : ".asked-side";
  const others = [...both.querySelectorAll(`${side} mark`)].filter((other) =>
    /** @type {HTMLElement} */ (other).dataset.link?.split(" ").some((link) => links.includes(link)),
  );
  for (const known of both.querySelectorAll("mark.at")) known.classList.remove("at");
  for (const one of [mark, ...others]) one.classList.add("at");
  const other = others[0];
  if (!other) return false;
  const itsSide = /** @type {HTMLElement} */ (other.closest(".said-side, .asked-side"));
  if (itsSide.scrollHeight > itsSide.clientHeight) showIn(itsSide, other);
  else other.scrollIntoView({ block: "center" });
  return true;
}

/** Scrolls a side, if it scrolls by itself, so that one of its elements is in its middle.
 * @param {HTMLElement} side @param {Element | null} one */
function showIn(side, one) {
  if (!one || side.scrollHeight <= side.clientHeight) return;
  side.scrollTop += one.getBoundingClientRect().top - side.getBoundingClientRect().top - side.clientHeight / 3;
}

/** @param {boolean} passed @param {string} level */
function checkResult(passed, level) {
  return passed ? "passed" : element("span", { class: "fell" }, level === "fail" ? "failed" : "missed");
}

/** @param {any[]} attempt @param {number} index */
function attemptNode([completion, reasoning, asked, finish, failed, prompt, cached, generated, seconds], index) {
  const tokens = prompt || generated
    ? `${plural(prompt, "prompt token")}, ${number(cached)} of them cached, ${number(generated)} generated, `
    : "";
  const end = failed.length ? `failed ${failed.join(", ")}` : "passed";
  return element("li", {},
    element("p", {}, index ? element("span", { class: "asked" }, asked || "asked once more") : "asked the prompt"),
    folded(`${end}; ${tokens}${seconds} s, finish reason ${finish ?? "none"}`,
      element("div", { class: "text", dir: "auto" }, completion || "(empty)"),
      ...(reasoning && index ? [folded("Reasoning", element("div", { class: "text", dir: "auto" }, reasoning))] : [])),
  );
}

/** For an answer whose text is not on the page.
 * @param {string} question @param {string} excerpt @param {string[]} facts */
function placeholderNodes(question, excerpt, facts) {
  return [
    element("p", { class: "question" }, element("bdi", {}, question)),
    element("p", { class: "facts" }, facts.join(", ")),
    ...(excerpt ? [element("div", { class: "text answer", dir: "auto" }, `${excerpt} …`)] : []),
    element("p", {}, "This page has the texts of a sample of the answers, and this one is not in it. Use overnight export to read it."),
  ];
}
