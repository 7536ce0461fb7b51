"""The `metrics` and `headline` of a task file, checked against the table of metrics."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import SpecError, nearest
from harness.records import Json
from harness.tasks.plug_ins import is_reference, load_row
from harness.tasks.spec import GIVES, MEANS, Headline, Mean, MetricUse, PlugIn
from harness.tasks.yaml.mapping import Table, describe, one_of

if TYPE_CHECKING:
    from harness.metrics.metric import LineKind, Metric

# Kind of line that a metric reads -> what the metric does with it, for the message if a task gives something else.
READS: "Mapping[LineKind, str]" = {
    "text": "compares words",
    "choice": "needs options and the letter of the right one",
    "masks": "compares the pixels of masks",
    "soft_masks": "compares the pixels of masks",
    "label_maps": "matches masks one to one",
    "grounding": "matches names and their masks",
    "instances": "matches masks one to one",
    "detections": "matches masks one to one",
    "boxes": "compares boxes",
    "sized_boxes": "compares boxes",
    "retrieval": "ranks a pool of embeddings",
    "judge": "reads the score out of a judge's reply",
}
RUBRIC = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def read_metrics(table: Table, folder: Path) -> tuple[MetricUse, ...]:
    """Return the task's metrics as far as they exist; the others, and those that do not suit, are faults."""
    if "metrics" not in table or table.items["metrics"].value == ():
        table.fault("metrics", "expected at least one metric")
    uses: list[MetricUse] = []
    for entry in table.tables("metrics", ("metric", "protocol", "params", "rubric")):
        row, plug_in = _row(entry, folder)
        if row is None:
            continue
        use = MetricUse(
            metric=row.name,
            protocol=row.protocol,
            parameters=_parameters(entry, row),
            plug_in=plug_in,
            rubric=_rubric(entry, row),
            line=entry.node.line,
        )
        _check_suits(table, entry, row)
        if any((use.metric, use.protocol, use.rubric) == (it.metric, it.protocol, it.rubric) for it in uses):
            way = f"rubric '{use.rubric}'" if use.rubric else f"protocol '{use.protocol}'"
            entry.fault("metric", f"'{use.metric}' with {way} stands in the list twice")
        uses.append(use)
    return tuple(uses)


def _row(entry: Table, folder: Path) -> "tuple[Metric | None, PlugIn | None]":
    name = entry.text("metric")
    if not name:
        return None, None
    if not is_reference(name):
        return _table_row(entry, name), None
    try:
        row, plug_in = load_row(name, folder)
    except SpecError as error:
        entry.fault("metric", str(error))
        return None, None
    entry.choice("protocol", (row.protocol,), row.protocol)
    return row, plug_in


def _table_row(entry: Table, name: str) -> "Metric | None":
    from harness.metrics import METRICS

    rows = {row.protocol: row for row in METRICS if row.name == name}
    if not rows:
        known = list(dict.fromkeys(row.name for row in METRICS))
        entry.fault("metric", f"expected {one_of(known)}, got '{name}'{nearest(name, known)}")
        return None
    protocol = entry.text("protocol", "standard" if "standard" in rows else next(iter(rows)))
    if protocol and protocol not in rows:
        known = list(rows)
        hint = nearest(protocol, known)
        entry.fault("protocol", f"expected {one_of(known)} for metric '{name}', got '{protocol}'{hint}")
    return rows.get(protocol)


def _parameters(entry: Table, row: "Metric") -> dict[str, Json]:
    """Return the parameters that the file gives a metric; a parameter that the row does not have is a fault."""
    from harness.metrics import bind

    given: dict[str, Json] = {}
    parameters = entry.table("params", None)
    for name, node in parameters.items.items():
        if isinstance(node.value, str | int | float | bool):
            given[name] = node.value
        else:
            parameters.fault(name, f"expected one value, got {describe(node)}")
    try:
        bind(row, given, "params")
    except SpecError as error:
        entry.fault("params", str(error).removeprefix("params: "))
        return {}
    return given


def _rubric(entry: Table, row: "Metric") -> str:
    """Return the rubric of a judge's metric, which decides how its replies are read; other metrics have none.

    Whether a rubric of this name exists is seen when a judge is asked, and by `harness validate`: rubrics may lie in
    another folder than the tasks that name them.
    """
    if row.line != "judge":
        if "rubric" in entry:
            entry.fault("rubric", f"only stands beside metric 'judge', which here is '{row.name}'")
        return ""
    if "protocol" in entry:
        entry.fault("protocol", "does not stand beside metric 'judge': its rubric says how replies are read")
    if "rubric" not in entry:
        entry.fault("rubric", "required with metric 'judge'; name what the judge is asked, such as 'correctness'")
        return ""
    rubric = entry.text("rubric")
    if rubric and not RUBRIC.fullmatch(rubric):
        entry.fault("rubric", f"expected the name of a rubric: letters, digits, '_' and '-', got '{rubric}'")
    return rubric


def _check_suits(table: Table, entry: Table, row: "Metric") -> None:
    from harness.metrics import METRICS

    gives = table.items["gives"].value if "gives" in table else None
    if gives not in GIVES or gives in row.suits:
        return
    others = list(dict.fromkeys(other.name for other in METRICS if gives in other.suits))
    remedy = f"; for '{gives}' there is {', '.join(others)}" if others else ""
    suits = ", ".join(f"'{name}'" for name in sorted(row.suits))
    entry.fault(
        "metric", f"'{row.name}' does not suit gives: {gives}; it {READS[row.line]}, so it scores {suits}{remedy}"
    )


def read_headline(table: Table, metrics: Sequence[MetricUse], strata: Sequence[str]) -> Headline:
    """Return the task's headline; a headline that is not among the metrics and strata is a fault.

    Args:
        table: The task file.
        metrics: Those of the task, from `read_metrics`.
        strata: Stratum keys of the task.
    """
    from harness.metrics import METRICS

    if "headline" not in table:
        table.fault("headline", "required key is missing")
        return Headline(metric="")
    headline = table.table("headline", ("metric", "protocol", "mean", "over"))
    name = headline.text("metric")
    if name == "judge":
        # It is another number for every judge, and none before one was asked.
        headline.fault("metric", "'judge' is no headline, since its number depends on who judges; name another metric")
        return Headline(metric=name)
    own = [use for use in metrics if use.plug_in and name in (use.metric, use.plug_in.reference)]
    metric = own[0].metric if own else name
    listed = [use.protocol for use in metrics if use.metric == metric]
    protocol = headline.text("protocol", listed[0] if listed and "standard" not in listed else "standard")
    written = table.items["metrics"].value if "metrics" in table else ()
    complete = isinstance(written, tuple) and len(written) == len(metrics) > 0
    if name and complete and (metric, protocol) not in [(use.metric, use.protocol) for use in metrics]:
        own_metrics = ", ".join(f"{use.metric} {use.protocol}" for use in metrics)
        headline.fault("metric", f"'{name} {protocol}' is not among the task's metrics: {own_metrics}")
    rows = [row for row in METRICS if (row.name, row.protocol) == (metric, protocol)]
    corpus = not own and any(row.corpus for row in rows)
    mean = headline.choice("mean", MEANS, "pooled" if corpus else "micro")
    if corpus and mean == "micro":
        headline.fault("mean", f"'{metric}' is a number of the whole corpus; expected 'pooled' or 'macro', got 'micro'")
    # Nothing is known of a list that could not be read, so `over` cannot be missing from it.
    misread = "strata" in table and not isinstance(table.items["strata"].value, tuple)
    over = _over(headline, mean, None if misread else strata)
    return Headline(metric=metric, protocol=protocol, mean=mean, over=over)


def _over(headline: Table, mean: Mean, strata: Sequence[str] | None) -> str | None:
    """Return the key of the macro mean: of the headline itself, or of a macro row beside it; None if there is none."""
    over = headline.optional_text("over")
    if over and mean != "macro" and "mean" not in headline:
        headline.fault("over", f"only stands where mean is 'macro', which here is '{mean}'; write the mean you want")
    elif mean == "macro" and over is None:
        headline.fault("over", "required with mean: macro; name one of the task's strata")
    elif over and strata is not None and over not in strata:
        listed = ", ".join(strata) or "none"
        headline.fault("over", f"'{over}' is not among the task's strata: {listed}{nearest(over, strata)}")
    return over
