// What a test measures on a page, whatever the page is. Each function returns what is wrong, in words.

/** @param {Element} it */
var nameOf = (it) => `${it.tagName}.${it.getAttribute("class")} ${(it.textContent ?? "").trim().slice(0, 40)}`;

/** Whether a box around it hides what reaches out, as that of a slice does. @param {Element} it */
var isClipped = (it) => {
  for (let box = it.parentElement; box !== null && box !== document.body; box = box.parentElement) {
    if (getComputedStyle(box).overflowX !== "visible") return true;
  }
  return false;
};

/** Opens what can be opened, and names what reaches out of the window, what is cut, and neighbours that overlap. */
var layoutFaults = () => {
  const width = document.documentElement.clientWidth;
  /** @type {string[]} */
  const faults = [];
  document.querySelectorAll("details").forEach((it) => { it.open = true; });
  const content = document.documentElement.scrollWidth;
  if (content > width) faults.push(`page scrolls to ${content}`);
  for (const it of document.querySelectorAll("body *")) {
    const box = it.getBoundingClientRect();
    // What scrolls by itself may be wider than its place; parts of a drawing are the drawing's affair.
    if (!box.width || it.closest(".scroll, pre, .hidden, .skip") || (it.closest("svg") && it.tagName !== "svg")) continue;
    if (isClipped(it)) continue;
    if (box.left < -0.5 || box.right > width + 0.5) faults.push(`outside: ${nameOf(it)}`);
    const scrolls = it.matches("select, input, option");
    if (it.clientWidth && it.scrollWidth > it.clientWidth + 1 && !scrolls) faults.push(`cut: ${nameOf(it)}`);
  }
  for (const parent of document.querySelectorAll("section, li, tr, ul, .cards, .controls, header, main, form")) {
    const boxes = [...parent.children].filter((it) => !it.matches(".hidden, .skip"))
      // A link that wraps is no box.
      .filter((it) => it.getClientRects().length === 1)
      .map((it) => ({ it, box: it.getBoundingClientRect() })).filter(({ box }) => box.width);
    boxes.forEach((one, at) => boxes.slice(at + 1, at + 4).forEach((other) => {
      const across = Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left);
      const down = Math.min(one.box.bottom, other.box.bottom) - Math.max(one.box.top, other.box.top);
      if (across > 1 && down > 1) faults.push(`overlap: ${nameOf(one.it)} and ${nameOf(other.it)}`);
    }));
  }
  return faults.slice(0, 5);
};

/** Sorts by some columns and names those by which something beside the order of the lines changes. */
var sortingFaults = () => {
  const boxes = () => JSON.stringify([...document.querySelectorAll("table, thead th, .controls, h2")].map((it) => {
    const box = it.getBoundingClientRect();
    return [box.left, box.top, box.width, box.height].map(Math.round);
  }));
  const buttons = [.../** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll("button.sort"))];
  const shown = buttons.filter((it) => it.getBoundingClientRect().width).slice(0, 6);
  /** @type {string[]} */
  const faults = [];
  for (const button of shown) {
    const before = boxes();
    button.click();
    if (boxes() !== before) faults.push(`${(button.textContent ?? "").trim()} moves what is around it`);
  }
  return { faults, buttons: shown.length };
};
