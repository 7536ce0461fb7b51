"""How often the gate fails a candidate that is no worse, and how often it catches one that is: a simulation.

Every draw is a policy whose rows have scores of a baseline and a candidate on the same patients. The rows are tested
and judged by the functions of the gate, and the drop that a candidate suffers, and the number of patients, are those
that `harness power` names. The same draws are judged by the rule of NeMo Evaluator's gate, stated here anew: a row
passes only if the 95 % interval of the paired difference lies above a loss of 1.5 points.

    python benchmarks/gate_rates.py [--draws 500] [--write docs/statistics.md]
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.markdown import put
from harness.comparison.gating.judgement import compare_row, judge
from harness.comparison.gating.policy import NumberRow
from harness.comparison.paired import Mean
from harness.comparison.pairing import PairedScores
from harness.comparison.power import Noise, clusters_needed, detectable_drop
from harness.metrics import find
from harness.metrics.metric import Floats, Metric
from harness.records import Prediction, Sample, Target
from harness.scoring.score_table import Ints

TOLERANCE = 0.01  # that a candidate with a drop has on top of what must be detected
NEMO_MARGIN = 0.015
# Patients on which the noise of the difference is measured: far more than are gated, so that its own error is small.
PILOT = 2_000
TEXTS = 3_000


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of both runs, the candidate's with a drop.

    Attributes:
        patient: int64 (rows,).
        a, b: float64 (rows,), values by sample.
        stats_a, stats_b: float64 (rows, stats); no columns for a mean of values.
    """

    patient: Ints
    a: Floats
    b: Floats
    stats_a: Floats
    stats_b: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One kind of data.

    Attributes:
        name: In the table.
        patients: Number of patients that are gated.
        most: Most samples per patient, of which every number from 1 is equally likely.
        draw: (generator, patients, samples per patient at most, drop) -> scores.
        mean: How the number comes from the scores.
        metric: The row of the table of metrics; None for a mean of values.
    """

    name: str
    patients: int
    most: int
    draw: Callable[[np.random.Generator, int, int, float], Scores]
    mean: Mean = "micro"
    metric: Metric | None = None


def patients(generator: np.random.Generator, count: int, most: int) -> Ints:
    """Return the patient of every sample, int64 (samples,)."""
    return np.repeat(np.arange(count), generator.integers(1, most + 1, size=count))


def dice(generator: np.random.Generator, count: int, most: int, drop: float) -> Scores:
    """Return Dice around 0.6: hard and easy patients, and both runs off by patient and by sample."""
    patient = patients(generator, count, most)
    skill = 0.6 + generator.normal(0, 0.08, count)[patient] + generator.normal(0, 0.06, len(patient))
    a, b = (
        skill + generator.normal(0, 0.03, count)[patient] + generator.normal(0, 0.04, len(patient)) for _ in range(2)
    )
    none = np.zeros((len(patient), 0))
    return Scores(patient, a, b - drop, none, none)


def accuracy(generator: np.random.Generator, count: int, most: int, drop: float) -> Scores:
    """Return answers of which six in ten are right; one in ten differs between the runs; a drop loses right ones."""
    patient = patients(generator, count, most)
    share = 1 / (1 + np.exp(-generator.normal(0.5, 0.8 if most > 1 else 0.0, count)))[patient]
    right = generator.random(len(patient)) < share
    # Either run flips 5.3 % of the answers, so that one in ten differs.
    a, b = (right ^ (generator.random(len(patient)) < 0.053) for _ in range(2))
    b = b & (generator.random(len(patient)) >= drop / _right(most))
    none = np.zeros((len(patient), 0))
    return Scores(patient, a.astype(np.float64), b.astype(np.float64), none, none)


@cache
def _right(most: int) -> float:
    """Return the share of right answers of a run without a drop."""
    generator = np.random.default_rng(0)
    share = 1 / (1 + np.exp(-generator.normal(0.5, 0.8 if most > 1 else 0.0, 1_000_000)))
    return float(np.mean(share * (1 - 0.053) + (1 - share) * 0.053))


def bleu(generator: np.random.Generator, count: int, most: int, drop: float) -> Scores:
    """Return BLEU of texts in which about one word in five is wrong; a drop takes n-grams from every text alike."""
    good_a, good_b, bad, values_a, values_b, values_bad = _texts()
    patient = patients(generator, count, most)
    # Texts stand in order of their quality, and a patient has neighbours.
    place = generator.integers(0, TEXTS, count)[patient] + generator.integers(0, TEXTS // 5, len(patient))
    place = place % TEXTS
    swapped = generator.random(len(patient)) < 0.5
    share = _share_of_bad(drop)
    first = np.where(swapped[:, None], good_b[place], good_a[place])
    second = np.where(swapped[:, None], good_a[place], good_b[place])
    value_1 = np.where(swapped, values_b[place], values_a[place])
    value_2 = np.where(swapped, values_a[place], values_b[place])
    second = (1 - share) * second + share * bad[place]
    return Scores(patient, value_1, (1 - share) * value_2 + share * values_bad[place], first, second)


@cache
def _texts() -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]:
    """Return stats of good texts twice and of bad ones, float64 (TEXTS, stats), then their values by sample."""
    generator = np.random.default_rng(1)
    metric = find("bleu", "standard")
    words = np.asarray([f"w{number}" for number in range(400)])
    lengths = generator.integers(10, 40, TEXTS)
    wrong = np.sort(np.clip(generator.normal(0.2, 0.06, TEXTS), 0.03, 0.5))
    found: list[list[tuple[float, ...]]] = [[], [], []]
    for length, share in zip(lengths, wrong, strict=True):
        reference = generator.choice(words, length)
        sample = Sample(id="s", target=Target(answers=(" ".join(reference),)))
        for place, rate in enumerate((share, share, share + 0.2)):
            reply = np.where(generator.random(length) < rate, generator.choice(words, length), reference)
            prediction = Prediction(key="", status="ok", text=" ".join(reply))
            found[place].append(metric.score(sample, prediction).stats)
    stats = [np.asarray(rows, dtype=np.float64) for rows in found]
    each = metric.each or metric.combine
    values = [np.nan_to_num(each(rows)[:, 0]) for rows in stats]
    return stats[0], stats[1], stats[2], values[0], values[1], values[2]


@cache
def _share_of_bad(drop: float) -> float:
    """Return the share of the n-grams of bad texts with which the BLEU of all texts drops by `drop`."""
    a, b, bad, *_ = _texts()
    combine = find("bleu", "standard").combine
    good = (a.sum(axis=0) + b.sum(axis=0)) / 2
    whole = float(combine(good)[0])
    low, high = 0.0, 1.0
    for _ in range(50):
        share = (low + high) / 2
        lost = whole - float(combine((1 - share) * good + share * bad.sum(axis=0))[0])
        low, high = (share, high) if lost < drop else (low, share)
    return low


SETTINGS = (
    Setting(name="Dice, 60 patients x 1-20 samples", patients=60, most=20, draw=dice),
    Setting(name="accuracy, 60 patients x 1-20 samples", patients=60, most=20, draw=accuracy),
    Setting(
        name="BLEU-4, 60 patients x 1-20 samples",
        patients=60,
        most=20,
        draw=bleu,
        mean="pooled",
        metric=find("bleu", "standard"),
    ),
    Setting(name="accuracy, 451 questions", patients=451, most=1, draw=accuracy),
)


def paired(scores: Scores) -> PairedScores:
    """Return the scores as the gate gets them."""
    import pyarrow as pa

    rows = len(scores.patient)
    every = np.ones(rows, dtype=np.bool_)
    return PairedScores(
        sample_ids=pa.array([str(row) for row in range(rows)]),
        repeat=np.zeros(rows, dtype=np.int64),
        cluster=scores.patient,
        clusters=int(scores.patient.max()) + 1,
        strata={},
        values_a=scores.a[:, np.newaxis],
        values_b=scores.b[:, np.newaxis],
        stats_a=scores.stats_a,
        stats_b=scores.stats_b,
        lists_a=(),
        lists_b=(),
        scored_a=every,
        scored_b=every,
        failed_a=~every,
        failed_b=~every,
        only_a=0,
        only_b=0,
    )


@cache
def plan(setting: int, rows: int, tolerance: float) -> tuple[float, int]:
    """Return the drop to detect and the number of patients, as `harness power` names them for a policy of `rows`."""
    kind = SETTINGS[setting]
    scores = kind.draw(np.random.default_rng(2), PILOT, kind.most, 0.0)
    row = NumberRow(task="pilot", tolerance=tolerance)
    noise = compare_row(
        row, paired(scores), kind.metric, name=0, mean=kind.mean, higher_is_better=True, over=None
    ).noise
    assert isinstance(noise, Noise)
    # What the patients at hand detect, in tenths of a point; then the number of patients for just that.
    detect = math.ceil(detectable_drop(noise, kind.patients, rows=rows) * 1000) / 1000
    return detect, clusters_needed(noise, detect, rows=rows)


def nemo_passes(scores: Scores) -> bool:
    """Say whether a row passes NeMo Evaluator's rule: the 95 % interval of the paired difference above -1.5 points."""
    difference = scores.b - scores.a
    margin = 1.96 * float(difference.std(ddof=1)) / math.sqrt(len(difference))
    return float(difference.mean()) - margin >= -NEMO_MARGIN


def one_draw(setting: int, rows: int, tolerance: float, drops: bool, seed: int) -> tuple[bool, bool, bool]:
    """Return whether one gate fails with a regression (of the first row, if it drops), cannot judge, and fails NeMo's.

    Args:
        setting: Place among SETTINGS.
        rows: Number of rows of the policy.
        tolerance: Of every row.
        drops: Whether the first row loses the tolerance and what must be detected.
        seed: Of the draw.
    """
    kind = SETTINGS[setting]
    detect, count = plan(setting, rows, tolerance)
    generator = np.random.default_rng([seed, setting, rows, int(drops)])
    drawn = [
        kind.draw(generator, count, kind.most, tolerance + detect if drops and row == 0 else 0.0) for row in range(rows)
    ]
    tested = [
        compare_row(
            NumberRow(task=f"task {seed} {row}", tolerance=tolerance, detect=detect),
            paired(scores),
            kind.metric,
            name=0,
            mean=kind.mean,
            higher_is_better=True,
            over=None,
        )
        for row, scores in enumerate(drawn)
    ]
    verdicts = [it.verdict for it in judge(tested)]
    failed = verdicts[0] == "regression" if drops else "regression" in verdicts
    unjudged = "regression" not in verdicts and "cannot_judge" in verdicts
    return failed, unjudged, not all(nemo_passes(scores) for scores in drawn)


def _draws(arguments: tuple[int, int, float, bool, Sequence[int]]) -> list[tuple[bool, bool, bool]]:
    setting, rows, tolerance, drops, seeds = arguments
    return [one_draw(setting, rows, tolerance, drops, seed) for seed in seeds]


def table(draws: int, workers: int, settings: Sequence[int]) -> str:
    """Return the table of some of the settings as markdown."""
    lines = [
        "| scores | rows | drop to detect | patients | no difference: gate fails (cannot judge) | NeMo's rule fails | "
        "tolerance + drop: gate fails | NeMo's rule fails |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for setting in settings:
            kind = SETTINGS[setting]
            for rows in (1, 12):
                cells = []
                for drops, tolerance in ((False, 0.0), (True, TOLERANCE)):
                    parts = [
                        (setting, rows, tolerance, drops, range(start, draws, 4 * workers))
                        for start in range(4 * workers)
                    ]
                    found = np.asarray([one for part in pool.map(_draws, parts) for one in part])
                    failed, unjudged, nemo = (100 * float(column) for column in found.mean(axis=0))
                    cells += [f"{failed:.1f} %" + ("" if drops else f" ({unjudged:.1f} %)"), f"{nemo:.1f} %"]
                (detect, _), (with_tolerance, count) = plan(setting, rows, 0.0), plan(setting, rows, TOLERANCE)
                lines.append(f"| {kind.name} | {rows} | {with_tolerance:.3f} | {count} | {' | '.join(cells)} |")
                print(lines[-1], file=sys.stderr, flush=True)
                assert detect > 0
    return "\n".join(lines)


def main() -> None:
    """Print the table, or write it into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    every = range(len(SETTINGS))
    parser.add_argument("--settings", type=int, nargs="+", choices=every, default=every, help="rows of the table")
    parser.add_argument("--write", type=Path, help="Page with the marks of the table `gate rates`.")
    options = parser.parse_args()
    found = table(options.draws, options.workers, options.settings)
    if options.write is None:
        print(found)
    else:
        options.write.write_text(put(options.write.read_text(encoding="utf-8"), "gate rates", found), encoding="utf-8")


if __name__ == "__main__":
    main()
