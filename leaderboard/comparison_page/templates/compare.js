// Shows the difference of the two models that the reader picks. The choice is in the fragment of the address, so that a
// link to a comparison can be kept; the scores of the samples are read from script files beside the page when they are needed.

/// <reference path="./numbers.js" />

/**
 * @typedef {object} Task
 * @property {string} place
 * @property {string} metric
 * @property {string} protocol
 * @property {string} name
 * @property {boolean} share Whether values are shares, shown in percent.
 * @property {boolean} higherIsBetter
 * @property {string | null} over
 * @property {boolean} pooled
 * @property {string} basis
 * @property {string} page
 * @property {[string, string][]} strata
 *
 * @typedef {object} Model
 * @property {string} entry
 * @property {string} label
 * @property {boolean} phantom
 * @property {[number, string, string][]} files Place of a task, file of its samples, file of the scores.
 *
 * @typedef {object} Compared
 * @property {Task} task
 * @property {Paired} paired
 * @property {Difference} headline
 * @property {{stratum: [string, string], difference: Difference, adjusted: number | null}[]} strata
 * @property {number | null} adjusted
 */

{
  const LEVEL = 0.05;
  const SHOWN = 10; // samples each way before all of them are asked for
  const MOST = 500;
  const TESTS = { "mcnemar": "McNemar", "permutation-exact": "all exchanges", "sign-flip-normal": "exchanges, normal form", "none": "no test" };

  /** @param {string} id @returns {HTMLElement} */
  const part = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
  /** @type {{tasks: Task[], models: Model[]}} */
  const index = JSON.parse(part("index").textContent ?? "");
  const choices = /** @type {[HTMLSelectElement, HTMLSelectElement]} */ ([part("model-a"), part("model-b")]);
  const state = part("state");
  const place = part("compared");

  /** @type {Map<string, any>} */
  const files = new Map();
  /** @type {Map<string, Promise<void>>} */
  const asked = new Map();
  Object.assign(globalThis, { medgroundCompare: (/** @type {string} */ name, /** @type {unknown} */ content) => files.set(name, content) });

  /** Runs the script file once. @param {string} name @returns {Promise<void>} */
  const load = (name) => {
    const before = asked.get(name);
    if (before !== undefined) return before;
    const found = /** @type {Promise<void>} */ (new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = name;
      script.onload = () => (files.has(name) ? done() : failed(new Error(`${name} holds no scores`)));
      script.onerror = () => failed(new Error(`${name} cannot be read`));
      document.head.append(script);
    }));
    asked.set(name, found);
    return found;
  };

  /**
   * @param {string} tag @param {Record<string, string>} [attributes] @param {(Node | string)[]} children
   * @returns {HTMLElement}
   */
  const element = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };

  /** @param {number | null} value @param {Task} task @param {boolean} [signed] */
  const words = (value, task, signed = false) => {
    if (value === null) return "–";
    const text = (task.share ? 100 * value : value).toFixed(task.share ? 1 : 2);
    const plain = Number(text) === 0 ? text.replace("-", "") : text.replace("-", "\u2212");
    return signed && Number(text) > 0 ? `+${plain}` : plain;
  };

  /** @param {number | null} p */
  const pWords = (p) => (p === null ? "–" : p < 0.0001 ? "< 0.0001" : p.toFixed(4));

  /** @param {Difference} found @param {Task} task @param {number | null} adjusted @returns {[string, string]} Words and their class. */
  const verdict = (found, task, adjusted) => {
    if (found.difference === null || adjusted === null) return ["not compared", ""];
    if (adjusted >= LEVEL || found.difference === 0) return ["no difference shown", ""];
    return found.difference > 0 === task.higherIsBetter ? ["B is better", "better"] : ["A is better", "worse"];
  };

  /** A difference and its interval on an axis that all lines of a table share. @param {Difference} found @param {number} most */
  const drawing = (found, most) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    for (const [name, value] of [["class", "axis"], ["viewBox", "0 0 144 16"], ["aria-hidden", "true"], ["focusable", "false"]]) svg.setAttribute(String(name), String(value));
    /** @param {number} value */
    const x = (value) => String(72 + 68 * Math.max(-1, Math.min(1, value / most)));
    /** @param {string} tag @param {Record<string, string>} attributes */
    const add = (tag, attributes) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
      svg.append(made);
    };
    add("line", { class: "rail", x1: "2", x2: "142", y1: "8", y2: "8" });
    add("line", { class: "zero", x1: "72", x2: "72", y1: "1", y2: "15" });
    if (found.interval !== null) add("line", { class: "bar", x1: x(found.interval[0]), x2: x(found.interval[1]), y1: "8", y2: "8" });
    if (found.difference !== null) add("circle", { class: "dot", cx: x(found.difference), cy: "8", r: "2.6" });
    return svg;
  };

  /** @param {string} head @param {Task} task @param {Difference} found @param {number | null} adjusted @param {number} most @param {HTMLElement} first */
  const line = (head, task, found, adjusted, most, first) => {
    const [said, tone] = verdict(found, task, adjusted);
    /** @param {(Node | string)[]} children */
    const number = (...children) => element("td", { class: "n" }, ...children);
    const interval = found.interval === null ? "no interval" : `${words(found.interval[0], task, true)} to ${words(found.interval[1], task, true)}`;
    return element("tr", head ? { id: head } : {}, first,
      number(words(found.valueA, task)), number(words(found.valueB, task)),
      number(words(found.difference, task, true), element("span", { class: "ci" }, interval)),
      element("td", { class: "range", "aria-hidden": "true" }, drawing(found, most)),
      element("td", { class: "words" }, element("span", { class: tone }, said), element("span", { class: "ci" }, `p ${pWords(adjusted)}, ${TESTS[found.method]}`)),
      number(`${found.wins} / ${found.ties} / ${found.losses}`, element("span", { class: "ci" }, `${found.n} samples`)),
      number(String(found.clusters)));
  };

  /** @param {string} caption @param {string} first @param {HTMLElement[]} lines */
  const table = (caption, first, lines) => {
    const id = `caption-${(table.count += 1)}`;
    const heads = [["who", first], ["n", "A"], ["n", "B"], ["n", "B \u2212 A, 95 %"], ["range", ""], ["", "shown"], ["n", "won / even / lost"], ["n", "patients"]];
    return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": id },
      element("table", { class: "compared" }, element("caption", { id }, caption),
        element("thead", {}, element("tr", {}, ...heads.map(([name, text]) => (text === "" ? element("td", { class: "range", "aria-hidden": "true" }) : element("th", { scope: "col", class: String(name) }, String(text)))))),
        element("tbody", {}, ...lines)));
  };
  table.count = 0;

  /** A common end of the axes of several differences. @param {Difference[]} all */
  const widest = (all) => Math.max(1e-9, ...all.flatMap((it) => [...(it.interval ?? []), it.difference ?? 0].map(Math.abs)));

  /** @param {Compared} it @param {1 | -1} sign @param {string} title */
  const movedList = (it, sign, title) => {
    const rows = ComparedScores.moved(it.paired, sign);
    const list = element("ol");
    /** @param {number} from @param {number} to */
    const fill = (from, to) => rows.slice(from, to).forEach((row) => {
      const failed = [it.paired.failedA[row] ? "A gave no usable answer" : "", it.paired.failedB[row] ? "B gave no usable answer" : ""].filter(Boolean);
      const said = `${words(Number(it.paired.a[row]), it.task)} \u2192 ${words(Number(it.paired.b[row]), it.task)}`;
      list.append(element("li", {}, element("bdi", {}, String(it.paired.ids[row])), ` ${said}${failed.length ? ` (${failed.join(", ")})` : ""}`));
    });
    fill(0, SHOWN);
    const box = element("div", {}, element("h3", {}, `${title}: ${rows.length}`), list);
    if (rows.length > SHOWN) {
      const all = Math.min(rows.length, MOST);
      const more = element("button", { type: "button" }, all < rows.length ? `Show ${all} of ${rows.length}` : `Show all ${all}`);
      more.addEventListener("click", () => { fill(SHOWN, all); more.remove(); });
      box.append(more);
    }
    return box;
  };

  /** @param {Compared} it */
  const details = (it) => {
    const { task, paired } = it;
    const box = element("details", { class: "fold", "data-place": task.place }, element("summary", {}, element("bdi", {}, task.place), `: samples that moved${it.strata.length ? " and strata" : ""}`));
    box.addEventListener("toggle", () => {
      if (box.childElementCount > 1) return;
      const [up, down] = /** @type {[1 | -1, 1 | -1]} */ (task.higherIsBetter ? [1, -1] : [-1, 1]);
      box.append(element("p", { class: "small" }, element("a", { href: task.page }, "The task"), ` (${task.basis}). ${paired.onlyA || paired.onlyB ? `${paired.onlyA} samples were scored for A alone and ${paired.onlyB} for B alone; they are left out. ` : ""}${it.headline.unpaired ? `${it.headline.unpaired} samples have a value in one model only. ` : ""}`));
      box.append(element("div", { class: "moved" }, movedList(it, up, "B is better"), movedList(it, down, "A is better")));
      if (it.strata.length) {
        const most = widest(it.strata.map((row) => row.difference));
        box.append(table(`${task.place} by stratum`, "stratum", it.strata.map((row) => line("", task, row.difference, row.adjusted, most,
          element("th", { scope: "row", class: "who" }, element("bdi", {}, row.stratum[1]), element("span", { class: "by" }, row.stratum[0].replaceAll("_", " ")))))));
      }
    });
    return box;
  };

  /** @param {Model} a @param {Model} b @returns {Promise<Compared[]>} */
  const compare = async (a, b) => {
    const ofB = new Map(b.files.map((file) => [file[0], file]));
    const shared = a.files.flatMap((file) => { const other = ofB.get(file[0]); return other === undefined ? [] : [{ file, other }]; });
    await Promise.all(shared.flatMap(({ file, other }) => [file[1], file[2], other[1], other[2]]).map(load));
    const found = shared.map(({ file, other }) => {
      const task = /** @type {Task} */ (index.tasks[file[0]]);
      const paired = ComparedScores.pair(files.get(file[1]), files.get(file[2]), files.get(other[1]), files.get(other[2]));
      return {
        task, paired, adjusted: null,
        headline: ComparedScores.difference(paired, task),
        strata: task.strata.map((stratum) => ({ stratum, adjusted: null, difference: ComparedScores.difference(paired, { higherIsBetter: task.higherIsBetter, stratum }) })).filter((row) => row.difference.n > 0),
      };
    });
    const headlines = ComparedScores.holm(found.map((it) => it.headline.p));
    const strata = ComparedScores.holm(found.flatMap((it) => it.strata.map((row) => row.difference.p)));
    let next = 0;
    return found.map((it, place) => ({
      ...it,
      adjusted: headlines[place] ?? null,
      strata: it.strata.map((row) => ({ ...row, adjusted: strata[next++] ?? null })),
    }));
  };

  let latest = 0;
  const show = async () => {
    const [a, b] = choices.map((choice) => index.models[Number(choice.value)]);
    const mine = (latest += 1);
    if (a === undefined || b === undefined) return;
    state.textContent = "Reading the scores …";
    place.replaceChildren();
    /** @type {Compared[]} */
    let found = [];
    try {
      found = await compare(a, b);
    } catch (error) {
      state.textContent = `${error instanceof Error ? error.message : error}; build the board again.`;
      return;
    }
    if (mine !== latest) return; // another pair was picked meanwhile
    if (!found.length) {
      state.textContent = a.phantom !== b.phantom ? "One of the two was run on synthetic patients, the other on real data." : "The two have no task in common with scores of the same data.";
      return;
    }
    const shown = found.filter((it) => verdict(it.headline, it.task, it.adjusted)[1]);
    state.textContent = `${found.length} ${found.length === 1 ? "task" : "tasks"} in common; a difference is shown in ${shown.length}.`;
    const most = { true: widest(found.filter((it) => it.task.share).map((it) => it.headline)), false: 0 };
    const lines = found.map((it) => line("", it.task, it.headline, it.adjusted, it.task.share ? most.true : widest([it.headline]),
      element("th", { scope: "row", class: "who" }, element("a", { href: it.task.page }, element("bdi", {}, it.task.place)),
        element("span", { class: "by" }, `${it.task.name}, protocol ${it.task.protocol}${it.task.higherIsBetter ? "" : ", lower is better"}${it.task.over === null ? "" : `, macro over ${it.task.over.replaceAll("_", " ")}`}${it.task.pooled ? "; mean of the samples, not the pooled number of the tables" : ""}`))));
    place.append(table(`A: ${a.label} (${a.entry}); B: ${b.label} (${b.entry})${a.phantom ? "; synthetic patients" : ""}`, "task", lines),
      element("h2", {}, "Samples and strata"), ...found.map(details));
  };

  /** The models that the address names. */
  const read = () => {
    const wanted = new URLSearchParams(location.hash.slice(1));
    const at = ["a", "b"].map((key) => index.models.findIndex((model) => model.entry === wanted.get(key)));
    const a = Math.max(0, Number(at[0]));
    choices[0].value = String(a);
    choices[1].value = String(Number(at[1]) === -1 ? Number(a === 0) : at[1]);
    void show();
  };
  const write = () => {
    const [a, b] = choices.map((choice) => index.models[Number(choice.value)]?.entry ?? "");
    location.hash = new URLSearchParams({ a: String(a), b: String(b) }).toString();
  };

  for (const choice of choices) {
    index.models.forEach((model, at) => {
      const twin = index.models.some((other) => other !== model && other.label === model.label);
      choice.add(new Option(`${model.label}${twin ? ` (${model.entry})` : ""}${model.phantom ? ", synthetic patients" : ""}`, String(at)));
    });
    choice.addEventListener("change", write);
  }
  part("swap").addEventListener("click", () => {
    [choices[0].value, choices[1].value] = [choices[1].value, choices[0].value];
    write();
  });
  addEventListener("hashchange", read);
  read();
}
