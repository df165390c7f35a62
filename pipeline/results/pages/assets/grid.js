// @ts-check
/* A grid of which only the rows in view are elements, so that it scrolls fast whatever its length.
   One cell of it is in the order of the keyboard; arrow keys move on from there. */
const ROWS_OUT_OF_VIEW = 8; // drawn above and below
const [PRINTED_ROWS, PRINTED_CELLS] = [1_000, 20_000]; // at most: each is an element

class Grid {
  /** @param {HTMLElement} node @param {"--row" | "--cell"} rowHeight its name in the style sheet
   * @param {Answers} answers @param {(row: number, around: Around) => void} show opens an answer */
  constructor(node, rowHeight, answers, show) {
    this.node = node;
    const style = getComputedStyle(node);
    this.rowHeight = parseFloat(style.getPropertyValue(rowHeight)); // pixels
    this.headHeight = parseFloat(style.getPropertyValue("--head"));
    this.answers = answers;
    this.show = show;
    /** Rows. */
    this.length = 0;
    this.width = 1; // columns
    /** @type {[number, number]} row and column; row -1 is the head */
    this.current = [0, 0];
    node.addEventListener("scroll", () => requestAnimationFrame(() => this.draw()));
    node.addEventListener("keydown", (event) => this.key(event));
    /** @type {Element | null} a cell */
    this.pressed = null;
    node.addEventListener("pointerdown", (event) => (this.pressed = this.#cellOf(event.target)));
    node.addEventListener("pointerup", (event) => this.#released(event));
    node.addEventListener("click", (event) => this.#clicked(event));
    node.addEventListener("focusin", (event) => this.at(...(this.#place(event.target) ?? this.current)));
    this.isOnPaper = false;
    for (const event of ["beforeprint", "afterprint"]) addEventListener(event, () => this.#print(event === "beforeprint"));
    new ResizeObserver(() => this.draw()).observe(node);
  }

  /** The first row of the grid. @returns {HTMLElement} */
  head() {
    throw new Error("of a subclass");
  }

  /** A row with its cells, each with `data-at`. @param {number} row @returns {HTMLElement} */
  line(row) {
    throw new Error(`of a subclass: ${row}`);
  }

  /** What a cell does. @param {number} row @param {number} column */
  open(row, column) {
    throw new Error(`of a subclass: ${row} ${column}`);
  }

  /** Whether the head is reached by keys. */
  get hasKeysInHead() {
    return false;
  }

  /** Rows that are elements, from the first to the one behind the last. @returns {[number, number]} */
  rowsDrawn() {
    return this.isOnPaper ? this.onPaper() : this.#inView();
  }

  /** @returns {[number, number]} */
  #inView() {
    const first = Math.max(0, Math.floor(this.node.scrollTop / this.rowHeight) - ROWS_OUT_OF_VIEW);
    const room = Math.ceil(this.node.clientHeight / this.rowHeight) + 2 * ROWS_OUT_OF_VIEW;
    return [first, Math.min(this.length, first + room)];
  }

  /** The rows that are printed: as many as a browser lays out in a few seconds. @returns {[number, number]} */
  onPaper() {
    const most = Math.min(PRINTED_ROWS, Math.max(1, Math.floor(PRINTED_CELLS / this.width)));
    const last = Math.min(this.length, most);
    sayPrinted(this.node, last, this.length);
    return [0, last];
  }

  /** @param {boolean} isOnPaper */
  #print(isOnPaper) {
    this.isOnPaper = isOnPaper; // also when the size of the paper has it drawn once more
    this.draw();
  }

  draw() {
    if (this.node.hidden) return;
    this.node.style.height = `${this.headHeight + this.length * this.rowHeight + 20}px`;
    const [first, last] = this.rowsDrawn();
    const focused = this.node.contains(document.activeElement);
    const [row, column] = this.current;
    if (!focused && row >= 0 && (row < first || row >= last)) {
      this.current = [Math.min(Math.ceil(this.node.scrollTop / this.rowHeight), Math.max(this.length - 1, 0)), column];
    }
    const tall = element("div", { class: "tall-end", role: "presentation" });
    tall.style.height = `${this.length * this.rowHeight + this.headHeight}px`;
    const lines = [];
    for (let at = first; at < last; at++) lines.push(this.placed(this.line(at), at));
    const wide = this.node.scrollLeft;
    this.node.setAttribute("aria-rowcount", String(this.length + 1));
    this.node.replaceChildren(this.head(), ...lines, tall);
    this.node.scrollLeft = wide;
    if (focused) this.cell(...this.current)?.focus({ preventScroll: true });
  }

  /** @param {HTMLElement} line @param {number} row */
  placed(line, row) {
    line.setAttribute("role", "row");
    line.setAttribute("aria-rowindex", String(row + 2));
    line.style.top = `${row * this.rowHeight + this.headHeight}px`;
    return line;
  }

  /** What makes a cell one of the grid. @param {number} row @param {number} column @param {string} role */
  cellAttributes(row, column, role = "gridcell") {
    const isCurrent = row === this.current[0] && column === this.current[1];
    return { role, "aria-colindex": column + 1, "data-at": `${row} ${column}`, tabindex: isCurrent ? 0 : -1 };
  }

  /** @param {number} row @param {number} column
   * @returns {HTMLElement | null} */
  cell(row, column) {
    return this.node.querySelector(`[data-at="${row} ${column}"]`);
  }

  /** @param {number} row @param {number} column */
  at(row, column) {
    this.current = [row, column];
  }

  /** Goes to a cell, which is scrolled into view. @param {number} row @param {number} column */
  focus(row, column) {
    const least = this.hasKeysInHead ? -1 : 0;
    this.current = [
      Math.min(Math.max(row, least), Math.max(this.length - 1, least)),
      Math.min(Math.max(column, 0), this.width - 1),
    ];
    const top = Math.max(this.current[0], 0) * this.rowHeight;
    const room = this.node.clientHeight - this.headHeight - this.rowHeight;
    if (top < this.node.scrollTop) this.node.scrollTop = top;
    else if (top > this.node.scrollTop + room) this.node.scrollTop = top - room;
    this.draw();
    const cell = this.cell(...this.current);
    cell?.focus({ preventScroll: true });
    cell?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.altKey || event.metaKey || isText(event.target)) return;
    const [row, column] = this.current;
    const page = Math.max(1, Math.floor(this.node.clientHeight / this.rowHeight) - 2);
    const far = event.ctrlKey;
    /** @type {Record<string, [number, number]>} */
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

  /** @param {MouseEvent} event */
  #clicked(event) {
    const place = this.#place(event.target);
    if (!place) return;
    this.at(...place);
    this.open(...place);
  }

  /** Makes a click of it if the grid has drawn itself since the pointer went down: a browser makes
   * none then, as the cell that was pressed is gone. @param {PointerEvent} event */
  #released(event) {
    const { pressed } = this;
    const isSame = pressed?.getAttribute("data-at") === this.#cellOf(event.target)?.getAttribute("data-at");
    if (event.button === 0 && pressed && !pressed.isConnected && isSame) this.#clicked(event);
  }

  /** @param {EventTarget | null} target */
  #cellOf(target) {
    return target instanceof Element ? target.closest("[data-at]") : null;
  }

  /** Row and column of what is in a cell. @param {EventTarget | null} target
   * @returns {[number, number] | null} */
  #place(target) {
    const cell = this.#cellOf(target);
    if (!(cell instanceof HTMLElement)) return null;
    const [row, column] = (cell.dataset.at ?? "").split(" ").map(Number);
    return [row, column];
  }
}
