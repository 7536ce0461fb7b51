// Shows the rows of a list that hold the words and have the status; without scripts the whole list stays visible.
for (const bar of document.querySelectorAll("[data-filter]")) {
  const rows = [...document.getElementById(bar.dataset.filter).tBodies[0].rows];
  const words = rows.map((row) => row.textContent.toLowerCase());
  const [find, status, shown] = ["input", "select", "output"].map((name) => bar.querySelector(name));
  const apply = () => {
    const wanted = find.value.trim().toLowerCase();
    let count = 0;
    rows.forEach((row, index) => {
      row.hidden = !(words[index].includes(wanted) && (!status.value || row.dataset.status === status.value));
      count += !row.hidden;
    });
    shown.value = `${count} of ${rows.length} shown`;
  };
  find.addEventListener("input", apply);
  status.addEventListener("change", apply);
  bar.hidden = false;
  apply();
}
