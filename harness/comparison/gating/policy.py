"""The policy of a gate: which numbers must not get worse, by how much they may, and how much must be seen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from harness.comparison.paired import Mean
from harness.tasks.yaml.mapping import Table, describe
from harness.tasks.yaml.nodes import Faults, read_mapping

Rule = Literal["no_worse", "non_inferior"]
Measure = Literal["speed", "memory", "gpu_memory", "cost", "tokens"]

RULES: tuple[Rule, ...] = get_args(Rule)
MEASURES: tuple[Measure, ...] = get_args(Measure)
MEANS: tuple[Mean, ...] = get_args(Mean)
# Below, neither the interval nor the test of a difference can be trusted at sizes that medicine has.
MIN_CLUSTERS = 20
# Fewer allow no test at all, whatever a policy says: 2 ** -5 is the smallest p value that is below 5 %.
FEWEST_CLUSTERS = 5

_SETTINGS = ("tolerance", "detect", "rule", "required_coverage", "max_failed", "min_clusters")
_NUMBER_KEYS = ("task", "metric", "name", "protocol", "stratum", "mean", *_SETTINGS)
_MEASURE_KEYS = ("measure", "task", "tolerance")


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberRow:
    """A number of a task that must not get worse.

    Attributes:
        task: Name of the task.
        metric, protocol, name, mean: Which number of the task; None: as in its headline if the row names no metric of
            its own, else the first that fits.
        stratum: (key, value) whose samples count; None: all samples.
        tolerance: An acceptable drop, in the metric's own unit, >= 0; for a metric where lower is better, a rise.
        detect: The drop beyond the tolerance that must be caught with 90 % power, > 0; None: none is asked for.
        rule: `no_worse` fails only if a drop beyond the tolerance is shown; `non_inferior` passes only if such a drop
            is excluded.
        required_coverage: Least coverage of the candidate, in [0, 1]; None: that of the baseline.
        max_failed: Most samples of the candidate without a usable answer, as a count; None: any number, since they
            count in the mean at the worst value.
        min_clusters: With fewer patients nothing is judged.
        place: `file:line` of the row; empty if it comes from no file.
    """

    task: str
    metric: str | None = None
    protocol: str | None = None
    name: str | None = None
    mean: Mean | None = None
    stratum: tuple[str, str] | None = None
    tolerance: float = 0.0
    detect: float | None = None
    rule: Rule = "no_worse"
    required_coverage: float | None = None
    max_failed: int | None = None
    min_clusters: int = MIN_CLUSTERS
    place: str = ""

    @property
    def title(self) -> str:
        """The row in words, such as `vqa_rad vqa_accuracy (standard) answer_type=closed`."""
        number = " ".join(dict.fromkeys(word for word in (self.metric, self.name) if word)) or "headline"
        protocol = f" ({self.protocol})" if self.protocol else ""
        mean = f" {self.mean}" if self.mean else ""
        stratum = f" {self.stratum[0]}={self.stratum[1]}" if self.stratum else ""
        return f"{self.task} {number}{protocol}{mean}{stratum}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureRow:
    """Speed, memory or cost, gated as candidate divided by baseline.

    Attributes:
        measure: `speed` as seconds in the model per request; `cost` and `tokens` per request; `memory` and `gpu_memory`
            of the worker that held most.
        task: Only the requests of this task; None: those of the run. Memory is known of the whole run only.
        tolerance: How much more is allowed, as a share: 0.1 allows a ratio of 1.1.
        place: `file:line` of the row.
    """

    measure: Measure
    tolerance: float
    task: str | None = None
    place: str = ""

    @property
    def title(self) -> str:
        """The row in words."""
        return f"{self.measure} of {self.task}" if self.task else f"{self.measure} of the run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All rows of a gate; the error rate of 5 % is that of the whole policy.

    Attributes:
        numbers: Rows of scores, in the order of the file.
        measures: Rows of speed, memory and cost.
    """

    numbers: tuple[NumberRow, ...]
    measures: tuple[MeasureRow, ...] = ()


def headlines_policy(tasks: Sequence[str]) -> Policy:
    """Return the policy of a gate that was given none: the headline of every task must not get worse."""
    return Policy(numbers=tuple(NumberRow(task=task) for task in tasks))


def load_policy(path: Path) -> Policy:
    """Return the policy of one YAML file.

    Raises:
        SpecError: One line `file:line: key: what was expected, what was found` per fault.
    """
    faults = Faults()
    document = read_mapping(path, faults)
    policy = Policy(numbers=())
    if document is not None:
        table = Table(document, "", ("defaults", "rows"), faults)
        defaults = _settings(table.table("defaults", _SETTINGS), NumberRow(task=""))
        if "rows" not in table:
            table.fault("rows", "required key is missing; expected a list of rows")
        rows = [_row(row, defaults) for row in table.tables("rows", tuple({*_NUMBER_KEYS, *_MEASURE_KEYS}))]
        if "rows" in table and isinstance(table.items["rows"].value, tuple) and not rows:
            table.fault("rows", "expected at least one row; a gate without rows would pass anything")
        policy = Policy(
            numbers=tuple(row for row in rows if isinstance(row, NumberRow)),
            measures=tuple(row for row in rows if isinstance(row, MeasureRow)),
        )
        seen: dict[NumberRow | MeasureRow, str] = {}
        for row in rows:
            same = (
                NumberRow(
                    task=row.task,
                    metric=row.metric,
                    protocol=row.protocol,
                    name=row.name,
                    mean=row.mean,
                    stratum=row.stratum,
                )
                if isinstance(row, NumberRow)
                else MeasureRow(measure=row.measure, task=row.task, tolerance=0.0)
            )
            file, _, line = row.place.rpartition(":")
            if same in seen:
                # A number that stands twice would be counted twice by Holm, and its rules could contradict each other.
                faults.add(file, int(line), f"{row.title}: stands twice, first in line {seen[same]}; keep one of them")
            seen.setdefault(same, line)
    if faults.found:
        raise faults.error()
    return policy


def _row(table: Table, defaults: NumberRow) -> NumberRow | MeasureRow:
    """Return one row, of which the file's faults have been noted."""
    place = f"{table.node.file}:{table.node.line}"
    if "measure" in table:
        for key in table.items:
            if key in _NUMBER_KEYS and key not in _MEASURE_KEYS:
                table.fault(key, f"does not belong in a row with 'measure', which knows {', '.join(_MEASURE_KEYS)}")
        measure = table.choice("measure", MEASURES)
        if "task" in table and measure in ("memory", "gpu_memory"):
            table.fault("task", f"'{measure}' is measured for the whole run, not by task; leave the task out")
        return MeasureRow(
            measure=measure,
            task=table.optional_text("task"),
            # Required: no two runs take the same time, so 0 is hardly ever meant.
            tolerance=table.number("tolerance", least=0, most=1000),
            place=place,
        )
    for key in ("protocol", "name", "mean"):
        if key in table and "metric" not in table:
            table.fault(key, "stands beside 'metric' only; a row without one means the headline of the task")
    return replace(
        _settings(table, defaults),
        task=table.text("task"),
        metric=table.optional_text("metric"),
        protocol=table.optional_text("protocol"),
        name=table.optional_text("name"),
        mean=table.choice("mean", MEANS) if "mean" in table else None,
        stratum=_stratum(table),
        place=place,
    )


def _settings(table: Table, defaults: NumberRow) -> NumberRow:
    """Return `defaults` with those settings that the table gives."""
    found = replace(defaults)
    if "tolerance" in table:
        found = replace(found, tolerance=table.number("tolerance", least=0, most=1e9))
    if "detect" in table:
        detect = table.number("detect", least=0, most=1e9)
        if detect == 0 and table.items["detect"].value == 0:
            table.fault("detect", "expected a number above 0: no number of samples shows a drop of nothing")
        found = replace(found, detect=detect)
    if "rule" in table:
        found = replace(found, rule=table.choice("rule", RULES))
    if "required_coverage" in table:
        found = replace(found, required_coverage=table.number("required_coverage", least=0, most=1))
    if "max_failed" in table:
        found = replace(found, max_failed=table.integer("max_failed", least=0))
    if "min_clusters" in table:
        found = replace(found, min_clusters=table.integer("min_clusters", least=FEWEST_CLUSTERS))
    return found


def _stratum(table: Table) -> tuple[str, str] | None:
    """Return the one key and value of `stratum: {modality: ct}`."""
    if "stratum" not in table:
        return None
    node = table.items["stratum"]
    stratum = table.table("stratum", None)
    if len(stratum.items) != 1:
        if isinstance(node.value, dict):
            table.fault("stratum", f"expected one key with its value, as in {{modality: ct}}, got {describe(node)}")
        return None
    (key,) = stratum.items
    # Strata are lower case in results.json.
    return key, stratum.text(key).lower()
