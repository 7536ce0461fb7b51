// Shows the rows of a list that hold the words and have the status; without scripts the whole list stays visible.
for (const bar of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-filter]"))) {
  const list = /** @type {HTMLTableElement} */ (document.getElementById(bar.dataset["filter"] ?? ""));
  const rows = [.../** @type {HTMLTableSectionElement} */ (list.tBodies[0]).rows];
  const words = rows.map((row) => (row.textContent ?? "").toLowerCase());
  const find = /** @type {HTMLInputElement} */ (bar.querySelector("input"));
  const status = /** @type {HTMLSelectElement} */ (bar.querySelector("select"));
  const shown = /** @type {HTMLOutputElement} */ (bar.querySelector("output"));
  const apply = () => {
    const wanted = find.value.trim().toLowerCase();
    let count = 0;
    rows.forEach((row, index) => {
      row.hidden = !(words[index]?.includes(wanted) && (!status.value || row.dataset["status"] === status.value));
      count += Number(!row.hidden);
    });
    shown.value = `${count} of ${rows.length} shown`;
  };
  find.addEventListener("input", apply);
  status.addEventListener("change", apply);
  bar.hidden = false;
  apply();
}
