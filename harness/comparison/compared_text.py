"""Comparisons as JSON and as text for the terminal."""

from collections.abc import Sequence

from harness.comparison.compare import LEVEL, ComparedNumber, ComparedTask, Comparison, MovedSample
from harness.comparison.scored_run import ScoredRun
from harness.records import Json
from harness.reports.run_table import columns, metric_name, number

SCHEMA = 1
# Fields of a PairedDifference in the order of the JSON.
MEASURED = (
    *("value_a", "value_b", "difference", "ci", "ci_method", "p", "p_method", "n", "clusters", "n_a", "n_b"),
    *("wins", "ties", "losses", "unpaired", "standard_error", "effect_size", "detectable"),
)


FAMILY_WORDS = (("headline", "headlines"), ("stratum row", "stratum rows"), ("other number", "other numbers"))


def family_sizes(comparisons: Sequence[Comparison]) -> dict[str, int]:
    """Return the number of tests by family: `headline`, `stratum`, `other`."""
    sizes = {"headline": 0, "stratum": 0, "other": 0}
    for comparison in comparisons:
        sizes |= {compared.family: compared.tests for task in comparison.tasks for compared in task.numbers}
    return sizes


def signed(value: float | None) -> str:
    """Return a difference with its sign and four decimals; a dash for None."""
    return "-" if value is None else f"{value:+.4f}"


def p_value(value: float | None) -> str:
    """Return a p value with four decimals, a smaller one as a bound; a dash for None."""
    return "-" if value is None else f"{value:.4f}" if value >= 0.0001 else "<0.0001"


def row_name(compared: ComparedNumber, over: str | None) -> str:
    """Return metric, protocol and mean of a number; of a stratum its key and value."""
    row = compared.row
    if row["stratum"]:
        ((key, value),) = row["stratum"].items()
        return f"{key} {value}"
    mean = f" over {over}" if row["mean"] == "macro" else ""
    return f"{metric_name(row)} {row['protocol']}, {row['mean']}{mean}"


def text(comparisons: Sequence[Comparison], *, every_stratum: bool = False, width: int | None = None) -> str:
    """Return comparisons as tables for the terminal.

    Args:
        comparisons: From `compare_runs`.
        every_stratum: Show the rows of all strata; otherwise those with a difference after adjustment.
        width: Characters in a line of a table; names and counts go above the numbers if they do not fit. None: any.
    """
    return "\n\n".join(_one(comparison, every_stratum, width) for comparison in comparisons)


def _one(comparison: Comparison, every_stratum: bool, width: int | None) -> str:
    a, b = comparison.a, comparison.b
    lines = [f"A  {a.model}   {a.source}   {a.data} data", f"B  {b.model}   {b.source}   {b.data} data"]
    rows: list[tuple[str, ...]] = [
        ("task", "A", "B", "B - A", "95 % interval", "p", "adjusted", "n", "better", "equal", "worse", "verdict")
    ]
    notes: list[str] = []
    hidden = 0
    for task in comparison.tasks:
        for compared in task.numbers:
            # A stratum without a difference says little, and there may be a hundred of them.
            if compared.family == "stratum" and not every_stratum and compared.verdict not in ("better", "worse"):
                hidden += 1
                continue
            rows.append(_row(task, compared))
            if compared.reason:
                notes.append(f"{task.pair.name}: {compared.reason}")
        notes += [f"{task.pair.name}: {words}" for words in (*task.pair.differences, *task.pair.notes)]
        if task.pair.differences or task.only_a or task.only_b:
            notes.append(
                f"{task.pair.name}: compared on the {task.pairs:,} samples that both scored; "
                f"{task.only_a:,} of A alone and {task.only_b:,} of B alone are left out"
            )
        notes += _detectable(task)
    lines += _table(rows, width)
    for names, run in ((comparison.only_a, b), (comparison.only_b, a)):
        if names:
            notes.append(f"not in {run.source}: {', '.join(names)}")
    if hidden:
        notes.append(f"{hidden} stratum rows without a difference after adjustment: --all")
    words = ", ".join(
        f"{count} {name if count == 1 else several}"
        for count, (name, several) in zip(family_sizes([comparison]).values(), FAMILY_WORDS, strict=True)
        if count
    )
    if words:
        notes.append(f"p values are two-sided, adjusted by Holm over {words}; `better` and `worse` at {LEVEL:.0%}")
    return "\n".join([*lines, *notes])


def _table(rows: Sequence[tuple[str, ...]], width: int | None) -> list[str]:
    lines = columns(rows)
    if width is None or max(map(len, lines)) <= width:
        return lines
    head, *numbers = columns([("", *row[1:7], row[-1]) for row in rows])
    lines = [head]
    for (name, *_, n, better, equal, worse, _), cells in zip(rows[1:], numbers, strict=True):
        counts = "" if n == "-" else f"   n {n}: {better} better, {equal} equal, {worse} worse"
        lines += [f"{name}{counts}", cells]
    return lines


def _row(task: ComparedTask, compared: ComparedNumber) -> tuple[str, ...]:
    found = compared.difference
    own = compared.family == "headline"
    name = task.pair.name if own else f"  {row_name(compared, task.pair.a.over)}"
    if found is None:
        return (name, *["-"] * 10, compared.verdict)
    interval = "-" if found.ci is None else f"[{signed(found.ci[0])}, {signed(found.ci[1])}]"
    counts = (str(found.n), str(found.wins), str(found.ties), str(found.losses))
    return (
        name,
        number(found.value_a),
        number(found.value_b),
        signed(found.difference),
        interval,
        p_value(found.p),
        p_value(compared.p_adjusted),
        *counts,
        compared.verdict,
    )


def _detectable(task: ComparedTask) -> list[str]:
    """Return what the headline is, and the smallest difference that these samples could have shown."""
    compared = task.headline
    if compared is None or compared.difference is None:
        return []
    words = f"{task.pair.name}: {row_name(compared, task.pair.a.over)}"
    if not compared.row["higher_is_better"]:
        words += ", lower is better"
    if compared.difference.detectable is None:
        return [f"{words}; no interval, as there are {compared.difference.clusters} patients"]
    return [
        f"{words}; with {compared.difference.clusters} patients a true difference of "
        f"{compared.difference.detectable:.4f} is shown in 9 of 10 cases"
    ]


def to_json(comparisons: Sequence[Comparison]) -> dict[str, Json]:
    """Return comparisons as `harness compare --json` prints them."""
    return {
        "schema": SCHEMA,
        "comparisons": [
            {
                "a": _run_json(comparison.a),
                "b": _run_json(comparison.b),
                "only_a": list(comparison.only_a),
                "only_b": list(comparison.only_b),
                "tasks": {
                    task.pair.name: {
                        "differences": list(task.pair.differences),
                        "notes": list(task.pair.notes),
                        "pairs": task.pairs,
                        "only_a": task.only_a,
                        "only_b": task.only_b,
                        "numbers": [_number_json(number, task.pair.a.over) for number in task.numbers],
                        "moved": {
                            "better": [_moved_json(sample) for sample in task.better],
                            "worse": [_moved_json(sample) for sample in task.worse],
                        },
                    }
                    for task in comparison.tasks
                },
            }
            for comparison in comparisons
        ],
    }


def _run_json(run: ScoredRun) -> dict[str, Json]:
    return {"run": str(run.source), "model": run.model, "data": run.data, "limited": run.limited}


def _moved_json(sample: MovedSample) -> dict[str, Json]:
    return {
        "sample_id": sample.sample_id,
        "repeat": sample.repeat,
        "value_a": sample.value_a,
        "value_b": sample.value_b,
    }


def _number_json(number: ComparedNumber, over: str | None) -> dict[str, Json]:
    row, found = number.row, number.difference
    names = ("metric", "name", "protocol", "protocol_version", "mean", "stratum", "higher_is_better")
    values = {name: None if found is None else getattr(found, name) for name in MEASURED}
    return {
        **{name: row[name] for name in names},
        "over": over if row["mean"] == "macro" else None,
        "unit": number.unit,
        **values,
        "ci": None if found is None or found.ci is None else list(found.ci),
        "p_adjusted": number.p_adjusted,
        "family": number.family,
        "tests": number.tests,
        "verdict": number.verdict,
        **({"reason": number.reason} if number.reason else {}),
    }
