// @ts-check
// Sort, search, filter and column choice of the tables that have controls, and links to single cells.
// A page works without: the controls are hidden until this runs.

"use strict";
(() => {
  /** Columns that are shown before a reader chooses: more do not fit a screen. */
  const FIRST_COLUMNS = 10;

  /**
   * Return the number that a cell begins with; NaN if it begins with none, which sorts last.
   * @param {Element | undefined} cell
   */
  const numberOf = (cell) => Number.parseFloat((cell?.firstChild?.textContent ?? "").replaceAll(",", ""));

  /**
   * Sorting and hiding rows must not move columns: their widths are kept as they are at first.
   * @param {HTMLTableElement} table
   */
  const keepWidths = (table) => {
    if (table.dataset.kept) return;
    table.dataset.kept = "1";
    const heads = [.../** @type {NodeListOf<HTMLElement>} */ (table.querySelectorAll("thead tr:first-child > *"))];
    const widths = heads.map((head) => head.getBoundingClientRect().width);
    heads.forEach((head, index) => { if (widths[index]) head.style.minWidth = `${widths[index]}px`; });
  };

  /**
   * @param {HTMLTableElement} table
   * @param {HTMLTableCellElement} head
   */
  const sort = (table, head) => {
    keepWidths(table);
    const index = head.cellIndex;
    const words = head.classList.contains("who");
    const first = head.dataset.lower !== undefined || words ? "ascending" : "descending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    for (const each of table.querySelectorAll("th[aria-sort]")) each.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => ({
      row,
      key: words ? Number.NaN : numberOf(row.cells[index]),
      text: words ? row.cells[index].textContent ?? "" : "",
    }));
    rows.sort((a, b) => {
      if (words) return sign * a.text.localeCompare(b.text);
      if (Number.isNaN(a.key) || Number.isNaN(b.key)) return Number(Number.isNaN(a.key)) - Number(Number.isNaN(b.key));
      return sign * (a.key - b.key);
    });
    body.append(...rows.map(({ row }) => row));
  };

  /**
   * Show or hide a column.
   * @param {HTMLTableElement} table
   * @param {number} index
   * @param {boolean} shown
   */
  const showColumn = (table, index, shown) => {
    for (const row of table.rows) { if (row.cells[index]) row.cells[index].hidden = !shown; }
  };

  /**
   * @param {HTMLTableElement} table
   * @param {HTMLElement} controls
   */
  const filter = (table, controls) => {
    keepWidths(table);
    const search = /** @type {HTMLInputElement | null} */ (controls.querySelector("[data-search]"));
    const words = (search?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const boxes = /** @type {NodeListOf<HTMLInputElement>} */ (controls.querySelectorAll("[data-badge-choice]"));
    const badges = [...boxes].filter((box) => box.checked).map((box) => box.value);
    const size = /** @type {HTMLSelectElement | null} */ (controls.querySelector("[data-size]"));
    const [least, most] = (size?.value ?? "").split("-");
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const known = row.dataset.params !== undefined;
      const params = Number(row.dataset.params);
      const fits = !size?.value || (size.value === "unknown" ? !known : known && params >= Number(least) && params < Number(most));
      const own = (row.dataset.badge ?? "").split(" ");
      const has = !boxes.length || own.some((badge) => badges.includes(badge));
      row.hidden = !(fits && has && words.every((word) => (row.dataset.words ?? "").includes(word)));
      if (!row.hidden) shown += 1;
    }
    const count = controls.querySelector("[data-count]");
    if (count) count.textContent = `${shown} of ${table.tBodies[0].rows.length} rows`;
  };

  /**
   * Fill the list of columns: a box for each, and a choice of modality if columns say theirs.
   * @param {HTMLTableElement} table
   * @param {HTMLElement} controls
   */
  const chooseColumns = (table, controls) => {
    const list = controls.querySelector("[data-columns]");
    const heads = [.../** @type {NodeListOf<HTMLTableCellElement>} */ (table.querySelectorAll("th[data-column]"))];
    if (!list || heads.length < 2) { controls.querySelector("[data-columns-of]")?.remove(); return; }
    /** @type {Map<number, HTMLInputElement>} */
    const boxes = new Map();
    heads.forEach((head, index) => {
      const label = document.createElement("label");
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = index < FIRST_COLUMNS;
      if (!box.checked) showColumn(table, head.cellIndex, false);
      box.addEventListener("change", () => showColumn(table, head.cellIndex, box.checked));
      label.append(box, head.dataset.column ?? "");
      list.append(label);
      boxes.set(head.cellIndex, box);
    });
    const choice = /** @type {HTMLSelectElement | null} */ (controls.querySelector("[data-modality]"));
    choice?.addEventListener("change", () => {
      heads.forEach((head) => {
        const box = boxes.get(head.cellIndex);
        const shown = !choice.value || (head.dataset.modalities ?? "").split(" ").includes(choice.value);
        if (box) box.checked = shown;
        showColumn(table, head.cellIndex, shown);
      });
    });
    // A link to a cell of a hidden column shows the column.
    const target = location.hash ? document.getElementById(location.hash.slice(1)) : null;
    if (target instanceof HTMLTableCellElement && table.contains(target)) {
      const box = boxes.get(target.cellIndex);
      if (box && !box.checked) { box.checked = true; showColumn(table, target.cellIndex, true); }
      target.scrollIntoView({ block: "center", inline: "center" });
    }
  };

  for (const table of /** @type {NodeListOf<HTMLTableElement>} */ (document.querySelectorAll("table[data-sortable]"))) {
    for (const button of table.querySelectorAll("button.sort")) {
      const head = button.closest("th");
      if (head) button.addEventListener("click", () => sort(table, head));
    }
    const controls = /** @type {HTMLElement | null} */ (document.querySelector(`[data-for="${table.id}"]`));
    if (controls) {
      controls.hidden = false;
      chooseColumns(table, controls);
      controls.addEventListener("input", (event) => {
        const part = /** @type {Element} */ (event.target);
        if (!part.closest("[data-columns], [data-modality]")) filter(table, controls);
      });
    }
    // The address of a number: a click puts it into the address bar.
    table.addEventListener("click", (event) => {
      const cell = /** @type {Element} */ (event.target).closest("td[id]");
      if (cell && !/** @type {Element} */ (event.target).closest("a")) location.replace(`#${cell.id}`);
    });
  }
})();
