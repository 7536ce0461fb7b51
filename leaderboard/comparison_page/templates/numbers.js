// The difference of two models from the scores of their samples: the estimators of `harness.comparison.paired` and the
// tests of `harness.comparison.every_pair`, in closed form. Everything here is a pure function; compare.js shows it.

/**
 * The samples of a task that some models scored, sorted by id and repetition.
 * @typedef {object} Samples
 * @property {string} prefix What all ids begin with.
 * @property {string[]} ids The rest of each id.
 * @property {number[]} repeat 0-based; empty if every sample was asked once.
 * @property {string[]} clusters Names of the clusters (patients), ascending.
 * @property {number[]} cluster Each sample's place among them.
 * @property {[string, string[], number[]][]} strata Key, its values ascending, each sample's place among them.
 *
 * One value per sample.
 * @typedef {object} Scores
 * @property {string} samples File of the samples.
 * @property {(number | null)[] | string} values Numbers, or float64 as base64, lowest byte first; null and NaN are undefined.
 * @property {number[]} failed Rows whose answer could not be used; they have the worst value.
 *
 * Samples that both models scored.
 * @typedef {object} Paired
 * @property {string[]} ids
 * @property {Int32Array} cluster Rank of each sample's cluster among those that occur.
 * @property {number} clusters
 * @property {{key: string, names: string[], index: Int32Array}[]} strata
 * @property {Float64Array} a Values of the first model; NaN is undefined.
 * @property {Float64Array} b
 * @property {Uint8Array} failedA 1 where the answer could not be used.
 * @property {Uint8Array} failedB
 * @property {number} onlyA Samples that the first model alone scored.
 * @property {number} onlyB
 *
 * Sums by place (a cluster, or a cluster within a stratum) and part (the strata of a macro mean; one for other means).
 * @typedef {object} Sums
 * @property {number} places
 * @property {number} parts
 * @property {Float64Array} valuesA (places x parts)
 * @property {Float64Array} countsA
 * @property {Float64Array} valuesB
 * @property {Float64Array} countsB
 * @property {Int32Array} group The group within which each place counts for the error.
 * @property {number[]} sizes Places per group.
 *
 * @typedef {object} Difference
 * @property {number | null} valueA
 * @property {number | null} valueB
 * @property {number | null} difference b - a.
 * @property {[number, number] | null} interval 95 %, normal with the cluster-robust error; null with fewer than 5 clusters.
 * @property {number | null} p
 * @property {"mcnemar" | "permutation-exact" | "sign-flip-normal" | "none"} method
 * @property {number} n Pairs with a value in at least one model.
 * @property {number} clusters
 * @property {number} nA
 * @property {number} nB
 * @property {number} wins Pairs in which b is better.
 * @property {number} ties
 * @property {number} losses
 * @property {number} unpaired Pairs with a value in one model only.
 * @property {number | null} error Cluster-robust standard error.
 */

const ComparedScores = (() => {
  const FEWEST_CLUSTERS = 5;
  const MOST_CLUSTERS_EXACT = 14;
  const ROUNDING = 1e-10;
  const QUANTILE = 1.959963984540054; // of the normal distribution at 97.5 %

  /** @param {Scores} scores @returns {Float64Array} */
  const decode = (scores) => {
    if (typeof scores.values !== "string") return Float64Array.from(scores.values, (value) => value ?? NaN);
    const bytes = Uint8Array.from(atob(scores.values), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Float64Array.from({ length: bytes.length / 8 }, (_, row) => view.getFloat64(8 * row, true));
  };

  /** The names that occur, and each row's place among them. @param {string[]} names @param {number[]} places */
  const ranked = (names, places) => {
    const used = [...new Set(places)].sort((one, other) => one - other);
    const rank = new Map(used.map((place, at) => [place, at]));
    return {
      names: used.map((place) => /** @type {string} */ (names[place])),
      index: Int32Array.from(places, (place) => /** @type {number} */ (rank.get(place))),
    };
  };

  /**
   * The samples that both models scored; clusters and strata are those of the first.
   * @param {Samples} ofA @param {Scores} scoresA @param {Samples} ofB @param {Scores} scoresB
   * @returns {Paired}
   */
  const pair = (ofA, scoresA, ofB, scoresB) => {
    const [a, b] = [decode(scoresA), decode(scoresB)];
    const [failedA, failedB] = [new Set(scoresA.failed), new Set(scoresB.failed)];
    /** @param {Samples} of @param {number} row */
    const keyOf = (of, row) => `${of.prefix}${of.ids[row]}\u001f${of.repeat[row] ?? 0}`;
    const rowsA = [...ofA.ids.keys()];
    /** @type {number[]} */
    let rowsB = rowsA;
    let common = rowsA;
    if (ofA !== ofB) {
      const known = new Map([...ofB.ids.keys()].map((row) => [keyOf(ofB, row), row]));
      common = rowsA.filter((row) => known.has(keyOf(ofA, row)));
      rowsB = common.map((row) => /** @type {number} */ (known.get(keyOf(ofA, row))));
    }
    /** @template T @param {ArrayLike<T>} all */
    const chosen = (all) => common.map((row) => /** @type {T} */ (all[row]));
    const clusters = ranked(ofA.clusters, chosen(ofA.cluster));
    return {
      ids: common.map((row) => `${ofA.prefix}${ofA.ids[row]}${ofA.repeat[row] ? ` (repetition ${ofA.repeat[row] + 1})` : ""}`),
      cluster: clusters.index,
      clusters: clusters.names.length,
      strata: ofA.strata.map(([key, names, places]) => ({ key, ...ranked(names, chosen(places)) })),
      a: Float64Array.from(chosen(a)),
      b: Float64Array.from(rowsB, (row) => /** @type {number} */ (b[row])),
      failedA: Uint8Array.from(common, (row) => Number(failedA.has(row))),
      failedB: Uint8Array.from(rowsB, (row) => Number(failedB.has(row))),
      onlyA: ofA.ids.length - common.length,
      onlyB: ofB.ids.length - common.length,
    };
  };

  /**
   * @param {Paired} paired @param {number[]} rows
   * @param {string | null} over Stratum key of a macro mean; null for a mean over samples.
   * @returns {Sums}
   */
  const sumsOf = (paired, rows, over) => {
    const { index: cluster, names } = ranked([...Array(paired.clusters).keys()].map(String), rows.map((row) => at(paired.cluster, row)));
    const stratum = over === null ? undefined : paired.strata.find((it) => it.key === over);
    const parts = stratum === undefined ? 1 : stratum.names.length;
    const part = rows.map((row) => (stratum === undefined ? 0 : at(stratum.index, row)));
    // Clusters are drawn inside each stratum if none spans strata, else whole.
    const pairs = [...new Set(rows.map((_, it) => at(part, it) * names.length + at(cluster, it)))].sort((one, other) => one - other);
    const spans = pairs.length > names.length;
    const placeOf = new Map(pairs.map((key, place) => [key, place]));
    const places = spans ? names.length : pairs.length;
    const inside = !spans && parts > 1;
    const group = Int32Array.from({ length: places }, (_, place) => (inside ? Math.floor(at(pairs, place) / names.length) : 0));
    const sizes = Array(inside ? parts : 1).fill(0);
    for (const of of group) sizes[of] += 1;
    const [valuesA, countsA, valuesB, countsB] = [0, 0, 0, 0].map(() => new Float64Array(places * parts));
    rows.forEach((row, it) => {
      const key = at(part, it) * names.length + at(cluster, it);
      const cell = (spans ? at(cluster, it) : /** @type {number} */ (placeOf.get(key))) * parts + at(part, it);
      for (const [values, counts, value] of /** @type {[Float64Array, Float64Array, number][]} */ ([
        [valuesA, countsA, at(paired.a, row)],
        [valuesB, countsB, at(paired.b, row)],
      ])) {
        if (Number.isNaN(value)) continue;
        values[cell] = at(values, cell) + value;
        counts[cell] = at(counts, cell) + 1;
      }
    });
    return {
      places, parts, group, sizes,
      valuesA: /** @type {Float64Array} */ (valuesA), countsA: /** @type {Float64Array} */ (countsA),
      valuesB: /** @type {Float64Array} */ (valuesB), countsB: /** @type {Float64Array} */ (countsB),
    };
  };

  /** @param {ArrayLike<number>} list @param {number} place @returns {number} */
  const at = (list, place) => /** @type {number} */ (list[place]);

  /** Column sums. @param {Float64Array} cells @param {number} parts */
  const totals = (cells, parts) => {
    const found = new Float64Array(parts);
    cells.forEach((value, cell) => { found[cell % parts] = at(found, cell % parts) + value; });
    return found;
  };

  /** The mean over the parts of their means; NaN if one has no value. @param {Float64Array} values @param {Float64Array} counts */
  const estimate = (values, counts) => {
    let sum = 0;
    for (let part = 0; part < values.length; part += 1) sum += at(counts, part) > 0 ? at(values, part) / at(counts, part) : NaN;
    return sum / values.length;
  };

  /** What each place adds to a linear form of the number at given totals. @param {Sums} sums @param {Float64Array} values @param {Float64Array} counts @param {Float64Array} ofValues @param {Float64Array} ofCounts */
  const influence = (sums, values, counts, ofValues, ofCounts) => {
    const found = new Float64Array(sums.places);
    for (let cell = 0; cell < values.length; cell += 1) {
      const part = cell % sums.parts;
      const mean = at(ofValues, part) / at(ofCounts, part);
      const place = Math.floor(cell / sums.parts);
      found[place] = at(found, place) + (at(values, cell) - mean * at(counts, cell)) / (at(ofCounts, part) * sums.parts);
    }
    return found;
  };

  /** Cluster-robust standard error of the difference; null if a group has a single place. @param {Sums} sums */
  const standardError = (sums) => {
    if (sums.sizes.length > 1 && Math.min(...sums.sizes) < 2) return null;
    const a = influence(sums, sums.valuesA, sums.countsA, totals(sums.valuesA, sums.parts), totals(sums.countsA, sums.parts));
    const b = influence(sums, sums.valuesB, sums.countsB, totals(sums.valuesB, sums.parts), totals(sums.countsB, sums.parts));
    const centre = new Float64Array(sums.sizes.length);
    a.forEach((value, place) => {
      const group = at(sums.group, place);
      centre[group] = at(centre, group) + (at(b, place) - value) / at(sums.sizes, group);
    });
    let variance = 0;
    a.forEach((value, place) => {
      const group = at(sums.group, place), size = at(sums.sizes, group);
      variance += ((at(b, place) - value - at(centre, group)) ** 2 * size) / Math.max(size - 1, 1);
    });
    return Math.sqrt(variance);
  };

  /** Upper tail of the normal distribution, both sides together. @param {number} z @returns {number} */
  const twoSided = (z) => {
    const x = Math.abs(z) / Math.SQRT2;
    if (x < 3) {
      // erf by its series of positive terms, which does not cancel.
      let term = x, sum = x;
      for (let k = 1; term > sum * 1e-17; k += 1) { term *= (2 * x * x) / (2 * k + 1); sum += term; }
      return Math.min(1, 1 - (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum);
    }
    // erfc by its continued fraction, from the end.
    let tail = 0;
    for (let k = 60; k >= 1; k -= 1) tail = (k / 2) / (x + tail);
    return Math.exp(-x * x) / (Math.sqrt(Math.PI) * (x + tail));
  };

  /** P(X <= count) of a binomial with `trials` tosses of a fair coin. @param {number} count @param {number} trials */
  const binomial = (count, trials) => {
    if (count >= trials) return 1;
    // Relative to the last term, so that nothing underflows; terms fall off towards 0 if the count is below the middle.
    let logLast = -trials * Math.LN2;
    for (let k = 1; k <= count; k += 1) logLast += Math.log((trials - k + 1) / k);
    let term = 1, sum = 1;
    for (let k = count; k >= 1; k -= 1) { term *= k / (trials - k + 1); sum += term; }
    return Math.min(1, Math.exp(logLast) * sum);
  };

  /** @param {Sums} sums @param {number} sign @returns {{p: number | null, method: Difference["method"]}} */
  const signFlips = (sums, sign) => {
    const { parts } = sums;
    const observed = sign * (estimate(totals(sums.valuesB, parts), totals(sums.countsB, parts)) - estimate(totals(sums.valuesA, parts), totals(sums.countsA, parts)));
    const moveValues = sums.valuesB.map((value, cell) => value - at(sums.valuesA, cell));
    const moveCounts = sums.countsB.map((value, cell) => value - at(sums.countsA, cell));
    const wholeValues = totals(sums.valuesB.map((value, cell) => value + at(sums.valuesA, cell)), parts);
    const wholeCounts = totals(sums.countsB.map((value, cell) => value + at(sums.countsA, cell)), parts);
    const differing = [...Array(sums.places).keys()].filter((place) => {
      for (let part = 0; part < parts; part += 1) {
        if (at(moveValues, place * parts + part) !== 0 || at(moveCounts, place * parts + part) !== 0) return true;
      }
      return false;
    });
    if (differing.length > MOST_CLUSTERS_EXACT) {
      const pushes = influence(sums, moveValues, moveCounts, wholeValues.map((value) => value / 2), wholeCounts.map((value) => value / 2));
      const square = pushes.reduce((sum, push) => sum + push ** 2, 0);
      return { p: square === 0 ? 1 : twoSided(observed / Math.sqrt(square)), method: "sign-flip-normal" };
    }
    const tolerance = ROUNDING * Math.max(Math.abs(observed), 1e-3);
    const draws = 2 ** differing.length;
    let low = 0, high = 0;
    for (let draw = 0; draw < draws; draw += 1) {
      const [movedValues, movedCounts] = [new Float64Array(parts), new Float64Array(parts)];
      differing.forEach((place, bit) => {
        const flip = (draw >> bit) & 1 ? -1 : 1;
        for (let part = 0; part < parts; part += 1) {
          movedValues[part] = at(movedValues, part) + flip * at(moveValues, place * parts + part);
          movedCounts[part] = at(movedCounts, part) + flip * at(moveCounts, place * parts + part);
        }
      });
      /** @param {Float64Array} whole @param {Float64Array} moved @param {number} way */
      const side = (whole, moved, way) => whole.map((value, part) => (value + way * at(moved, part)) / 2);
      const gain = sign * (estimate(side(wholeValues, movedValues, 1), side(wholeCounts, movedCounts, 1)) - estimate(side(wholeValues, movedValues, -1), side(wholeCounts, movedCounts, -1)));
      if (!(gain > observed + tolerance)) low += 1;
      if (!(gain < observed - tolerance)) high += 1;
    }
    return { p: Math.min(1, (2 * Math.min(low, high)) / draws), method: "permutation-exact" };
  };

  /**
   * The difference of one number.
   * @param {Paired} paired
   * @param {{higherIsBetter: boolean, over?: string | null, stratum?: [string, string] | null}} number `over`: key of a macro mean.
   * @returns {Difference}
   */
  const difference = (paired, { higherIsBetter, over = null, stratum = null }) => {
    const of = stratum === null ? undefined : paired.strata.find((it) => it.key === stratum[0]);
    const wanted = of === undefined || stratum === null ? -1 : of.names.indexOf(stratum[1]);
    const rows = [...paired.ids.keys()].filter((row) => stratum === null || (of !== undefined && of.index[row] === wanted));
    const sign = higherIsBetter ? 1 : -1;
    const sums = sumsOf(paired, rows, over);
    /** @param {number} value */
    const known = (value) => (Number.isFinite(value) ? value : null);
    const valueA = known(estimate(totals(sums.valuesA, sums.parts), totals(sums.countsA, sums.parts)));
    const valueB = known(estimate(totals(sums.valuesB, sums.parts), totals(sums.countsB, sums.parts)));
    let [n, nA, nB, wins, ties, losses, unpaired, steps] = [0, 0, 0, 0, 0, 0, 0, 0];
    const supported = new Set();
    for (const row of rows) {
      const [a, b] = [at(paired.a, row), at(paired.b, row)];
      const gain = sign * (b - a);
      if (!Number.isNaN(a)) nA += 1;
      if (!Number.isNaN(b)) nB += 1;
      if (!Number.isNaN(a) || !Number.isNaN(b)) { n += 1; supported.add(paired.cluster[row]); }
      if (Number.isNaN(a) !== Number.isNaN(b)) unpaired += 1;
      if (gain > 0) wins += 1;
      if (gain < 0) losses += 1;
      if (gain === 0) ties += 1;
      if (gain === 0 || gain === 1 || gain === -1) steps += 1;
    }
    const clusters = supported.size;
    const defined = valueA !== null && valueB !== null;
    const moved = defined ? valueB - valueA : null;
    const error = defined && clusters >= FEWEST_CLUSTERS ? standardError(sums) : null;
    const single = over === null && rows.length > 0 && sums.places === rows.length && steps === rows.length;
    const { p, method } = !defined ? { p: null, method: /** @type {Difference["method"]} */ ("none") }
      : single ? { p: Math.min(1, 2 * binomial(Math.min(wins, losses), wins + losses)), method: /** @type {Difference["method"]} */ ("mcnemar") }
      : signFlips(sums, sign);
    return {
      valueA, valueB, difference: moved, p, method, n, clusters, nA, nB, wins, ties, losses, unpaired, error,
      interval: moved === null || error === null ? null : [moved - QUANTILE * error, moved + QUANTILE * error],
    };
  };

  /** Holm's adjusted p values of one family; null stays null and does not count. @param {(number | null)[]} values @returns {(number | null)[]} */
  const holm = (values) => {
    const known = values.map((p, place) => ({ p, place })).filter((it) => it.p !== null)
      .sort((one, other) => Number(one.p) - Number(other.p) || one.place - other.place);
    /** @type {(number | null)[]} */
    const found = values.map(() => null);
    let largest = 0;
    known.forEach(({ p, place }, rank) => {
      largest = Math.max(largest, Math.min(1, (known.length - rank) * Number(p)));
      found[place] = largest;
    });
    return found;
  };

  /**
   * The samples whose value moved, those that moved most first, ties by id.
   * @param {Paired} paired @param {number} sign 1: those with a higher value in b; -1: those with a lower one.
   * @returns {number[]} Rows.
   */
  const moved = (paired, sign) => [...paired.ids.keys()]
    .filter((row) => sign * (at(paired.b, row) - at(paired.a, row)) > 0)
    .sort((one, other) => sign * (at(paired.b, other) - at(paired.a, other) - at(paired.b, one) + at(paired.a, one))
      || (String(paired.ids[one]) < String(paired.ids[other]) ? -1 : 1));

  return { pair, difference, holm, moved, twoSided, binomial };
})();
