// @ts-check
// The controls of a page of samples. Without scripts a page shows every sample, and of volumes one slice a plane.
"use strict";
(() => {
  const viewer = /** @type {HTMLElement | null} */ (document.querySelector(".viewer"));
  if (!viewer) return;

  /** @typedef {{places: number[], tile: [number, number], columns: number, paths: string[][]}} PlaneData */

  /**
   * Let the slider of a plane change its slice; the wheel does too, once the plane has the focus, so that a page still
   * scrolls past it.
   * @param {HTMLElement} figure
   * @param {PlaneData} data
   */
  const plane = (figure, data) => {
    const slider = /** @type {HTMLInputElement} */ (figure.querySelector("input"));
    const output = /** @type {HTMLOutputElement} */ (figure.querySelector("output"));
    const depth = /of (\d+)/.exec(output.value)?.[1] ?? "";
    const image = figure.querySelector("image");
    const paths = figure.querySelectorAll("path");
    const show = () => {
      const at = Number(slider.value);
      const [high, wide] = data.tile;
      image?.setAttribute("x", String(-(at % data.columns) * wide));
      image?.setAttribute("y", String(-Math.floor(at / data.columns) * high));
      paths.forEach((path, index) => path.setAttribute("d", data.paths[index][at]));
      output.value = `slice ${data.places[at] + 1} of ${depth}`;
      slider.setAttribute("aria-valuetext", output.value);
    };
    /** @param {number} by */
    const move = (by) => {
      slider.value = String(Number(slider.value) + by);
      show();
    };
    slider.hidden = false;
    slider.addEventListener("input", show);
    figure.addEventListener("wheel", (event) => {
      if (!figure.contains(document.activeElement) || !event.deltaY) return;
      event.preventDefault();
      move(Math.sign(event.deltaY));
    }, { passive: false });
    figure.addEventListener("keydown", (event) => {
      // The slider has its own arrow keys.
      const by = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1 }[event.key];
      if (event.target === slider || !by || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      move(by);
    });
    show();
  };

  for (const group of viewer.querySelectorAll(".planes")) {
    const data = /** @type {PlaneData[]} */ (JSON.parse(group.querySelector("script")?.textContent ?? "[]"));
    group.querySelectorAll("figure").forEach((figure, index) => plane(figure, data[index]));
  }

  const articles = /** @type {HTMLElement[]} */ ([...viewer.querySelectorAll(".sample")]);
  const entries = /** @type {HTMLElement[]} */ ([...viewer.querySelectorAll(".index li")]);
  const filter = /** @type {HTMLSelectElement | null} */ (viewer.querySelector("#status-filter"));
  if (filter) {
    const output = /** @type {HTMLOutputElement} */ (viewer.querySelector(".choose output"));
    const none = /** @type {HTMLElement} */ (viewer.querySelector(".none"));
    const apply = () => {
      for (const item of [...articles, ...entries]) {
        item.hidden = filter.value !== "" && item.dataset.status !== filter.value;
      }
      const shown = articles.filter((article) => !article.hidden).length;
      none.hidden = shown > 0 || articles.length === 0;
      output.value = `${shown} of ${articles.length} on this page`;
    };
    filter.addEventListener("change", apply);
    /** @type {HTMLElement} */ (viewer.querySelector(".choose")).hidden = false;
    apply();
  }

  // Only while the focus is inside, so that no key of the browser or of a screen reader is taken away from a reader.
  viewer.addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || target.matches("select, input:not([type=checkbox], [type=range])")) return;
    const box = { t: "target", p: "prediction", i: "pixels", v: "prompt" }[event.key];
    const input = box ? /** @type {HTMLInputElement | null} */ (viewer.querySelector(`#show-${box}`)) : null;
    if (input) {
      input.checked = !input.checked;
    } else if (event.key === "j" || event.key === "k") {
      const visible = articles.filter((article) => !article.hidden);
      const here = visible.findIndex((article) => article.contains(document.activeElement));
      const next = visible[event.key === "j" ? here + 1 : here - 1];
      next?.focus({ preventScroll: true });
      next?.scrollIntoView({ block: "start" });
    } else {
      return;
    }
    event.preventDefault();
  });
})();
