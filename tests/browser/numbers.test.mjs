// The arithmetic of the page that compares models, without a browser and without Python.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import vm from "node:vm";

const source = new URL("../../leaderboard/comparison_page/templates/numbers.js", import.meta.url);
const context = vm.createContext({ atob });
const { pair, difference, holm, moved } = vm.runInContext(`${readFileSync(source, "utf8")}; ComparedScores`, context);

const samples = (ids, strata = []) => ({
  prefix: "set/", ids, repeat: [], clusters: ids, cluster: ids.map((_, row) => row), strata,
});
const scores = (values, failed = []) => ({ samples: "", values, failed });
/** Plain values: those of the context have classes of their own. */
const plain = (value) => JSON.parse(JSON.stringify(value));

test("samples are paired by their ids, whatever their order", () => {
  const paired = pair(samples(["a", "b", "c"]), scores([1, 0, null]), samples(["c", "x", "b"]), scores([1, 1, 1]));
  assert.deepEqual(plain(paired.ids), ["set/b", "set/c"]);
  assert.deepEqual([...paired.a], [0, NaN]);
  assert.deepEqual([...paired.b], [1, 1]);
  assert.deepEqual([paired.onlyA, paired.onlyB], [1, 1]);
});

test("a model compared with itself shows nothing", () => {
  const of = samples(["a", "b", "c", "d", "e", "f"]);
  const found = difference(pair(of, scores([1, 0, 1, 1, 0, 1]), of, scores([1, 0, 1, 1, 0, 1])), { higherIsBetter: true });
  assert.deepEqual([found.difference, found.p, found.method, found.ties], [0, 1, "mcnemar", 6]);
  assert.deepEqual(plain(found.interval), [0, 0]);
});

test("a lower number is a win where lower is better", () => {
  const of = samples(["a", "b"]);
  const paired = pair(of, scores([5, 1]), of, scores([2, 1]));
  const found = difference(paired, { higherIsBetter: false });
  assert.deepEqual([found.wins, found.ties, found.losses], [1, 1, 0]);
  assert.deepEqual(plain(moved(paired, -1).map((row) => paired.ids[row])), ["set/a"]);
});

test("a stratum that no common sample has gives no number", () => {
  const of = samples(["a", "b"], [["modality", ["ct", "mr"], [0, 0]]]);
  const found = difference(pair(of, scores([1, 0]), of, scores([1, 1])), { higherIsBetter: true, stratum: ["modality", "mr"] });
  assert.deepEqual([found.n, found.valueA, found.difference, found.p, found.method], [0, null, null, null, "none"]);
});

test("values come as numbers or as the bytes of float64", () => {
  const of = samples(["a", "b"]);
  const bytes = Buffer.from(Float64Array.of(0.1, NaN).buffer).toString("base64");
  const paired = pair(of, scores(bytes), of, scores([1, null]));
  assert.deepEqual([...paired.a], [0.1, NaN]);
  assert.deepEqual([...paired.b], [1, NaN]);
});

test("Holm leaves out what was not tested", () => {
  assert.deepEqual(plain(holm([0.01, null, 0.02, 0.5])), [0.03, null, 0.04, 0.5]);
  assert.deepEqual(plain(holm([])), []);
});
