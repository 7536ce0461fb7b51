"""The numbers of the board: one record each, with the same fields for published numbers and evaluated runs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.metrics import METRICS
from harness.scoring.intervals import wilson_interval
from leaderboard.entry_file import BoardEntry, Data, EntryBlock, EntryNumber
from leaderboard.published.mapping import Placed, Published
from leaderboard.published.means import CountCheck, MeanCheck, digits_of

# In the data files a run that was evaluated here has the source `reproduced`; the badge of this name, which says that
# it meets published numbers, is that of a line of a table.
Source = Literal["published", "reproduced", "submitted"]
Unit = Literal["share", "points"]
# Metrics of a submitter's own task are not in METRICS; their values are shown as they are.
_UNITS: Mapping[str, str] = {metric.name: metric.unit for metric in METRICS}


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardRow:
    """The model and run that a number belongs to; cells of one table with equal rows share a line.

    Attributes:
        run_by: The paper that ran the model; None for an evaluated run.
        printed_in: Paper and table of each place that prints it; empty for an evaluated run.
        entry: The run's name among the entries; None for a published row.
        model_id: Id of an evaluated model, which the name `model` may hide; None for a published row.
        url: Page of the model, http or https.
        details: Size, setting, arguments, fallbacks.
        cost: What the run took, in words.
    """

    source: Source
    model: str
    run_by: str | None = None
    printed_in: tuple[tuple[str, str], ...] = ()
    entry: str | None = None
    model_id: str | None = None
    url: str | None = None
    details: tuple[str, ...] = ()
    cost: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardCell:
    """One number with its model, metric, data and interval.

    Attributes:
        place: Task or group.
        name: The metric's named value.
        unit: `share` (natural, 0 to 1) or `points` (in the metric's own unit).
        value: Natural, as in results.json; None if there is no number.
        printed: The digits of the paper, in its own scale.
        digits: Number of decimals on the board, of percent if the unit is a share.
        interval: 95 % interval, natural.
        method: Method of the interval; `wilson` for a published accuracy.
        basis: Version and data, which numbers of evaluated runs must share to be comparable; empty for published ones.
        unsupported: Why the model cannot do this task; empty for a published "x"; None if it can.
        judge: Whose judgement it is; None if no judge was asked. Two judges never share a column.
        remark: How the printed digits contradict themselves, and the anchor on the page that explains it.
        rank: 1 + the number of models that are better on the same samples; None if the model cannot be ranked.
        order: Sort key; cells with a smaller one are in earlier columns.
    """

    row: BoardRow
    data: Data
    place: str
    metric: str
    name: str
    protocol: str
    stratum: tuple[str, str] | None
    mean: str
    over: str | None
    unit: Unit
    value: float | None
    digits: int
    order: tuple[int, ...]
    higher_is_better: bool = True
    printed: str | None = None
    interval: tuple[float, float] | None = None
    method: str | None = None
    n: int | None = None
    clusters: int | None = None
    undefined: int | None = None
    failed: int | None = None
    unparsed: int | None = None
    coverage: float | None = None
    basis: tuple[str, ...] = ()
    unsupported: str | None = None
    note: str | None = None
    judge: str | None = None
    remark: tuple[str, str] | None = None
    rank: int | None = None


def published_cells(
    published: Published,
    decimals: Mapping[tuple[str, str], int],
    means: Sequence[MeanCheck],
    counts: Sequence[CountCheck],
) -> list[BoardCell]:
    """Return every published cell that has a place, with the remarks of the checks."""
    # A cell has room for one remark; a mean that does not follow says more than a count that does not fit.
    wrong_means = {check.printed.cell: check for check in means if not check.follows}
    no_counts = {check.placed.cell: check for check in counts}
    cells: list[BoardCell] = []
    for item in published.cells:
        if item.place is None:
            continue
        remark = None
        if item.cell in wrong_means:
            check = wrong_means[item.cell]
            remark = (f"row gives {check.recomputed:.{check.decimals}f}", f"mean-{item.cell.index}")
        elif item.cell in no_counts:
            remark = (f"no count of {item.place.n}", f"count-{item.cell.index}")
        cells.append(_published(item, digits_of(item.cell, decimals), remark, item.cell not in no_counts))
    return cells


def _published(item: Placed, digits: int, remark: tuple[str, str] | None, countable: bool) -> BoardCell:
    cell, place = item.cell, item.place
    assert place is not None, "only cells with a place stand on the board"
    divisor = 100 if place.scale == "percent" else 1
    value = None if cell.value is None else float(cell.value) / divisor
    # Wilson's interval needs no per-sample scores, only a count of right answers. If no count gives the printed digits,
    # n is in doubt, and with it the interval.
    interval = None
    if value is not None and place.n is not None and place.counts_answers and countable:
        interval = wilson_interval(value * place.n, place.n)
    details = [text for text in (cell.params, place.setting) if text]
    return BoardCell(
        row=BoardRow(
            source="published",
            model=cell.model,
            run_by=place.run_by,
            printed_in=((cell.paper, table_name(cell.table)),),
            details=tuple(details),
        ),
        data="real",
        place=place.place,
        metric=place.metric,
        name=place.name,
        protocol=place.protocol,
        stratum=place.stratum,
        mean=place.mean,
        over=place.over,
        unit="points" if place.scale == "points" else "share",
        value=value,
        printed=None if cell.value is None else f"{cell.value:.{digits}f}",
        # A printed fraction is shown in percent, which moves its point by two places.
        digits=max(0, digits - 2) if place.scale == "fraction" else digits,
        # Published columns first, in the papers' order; then evaluated runs, then tasks that a model does not support.
        order=(0, cell.index),
        interval=interval,
        method=None if interval is None else "wilson",
        n=place.n,
        unsupported="" if cell.value is None else None,
        note=place.note,
        judge=_printed_judge(cell.metric) if place.metric == "judge" else None,
        remark=remark,
    )


def _printed_judge(metric: str) -> str:
    """Return the judge that a paper names with its metric: `Qwen-72B` of `LLM-Based (Qwen-72B)`."""
    found = re.search(r"\((.+)\)", metric)
    return f"{found[1] if found else metric}, uncalibrated"


def table_name(table: str) -> str:
    """Return a paper's table as words: `1` -> `Table 1`; empty if the number is in no table."""
    # In published.json `-` marks a number that is in no table.
    return f"Table {table}" if table.isdecimal() else table.strip("-")


def entry_cells(entry: BoardEntry) -> list[BoardCell]:
    """Return every number of a run, and an empty cell for each task that it does not support."""
    cells = [
        _evaluated(entry, block, row, number, (1, number_is_not_headline(block, number), index))
        # The numbers of a block share one row, which thousands of copies would cost the most memory of a large board.
        for block, row in ((block, _row(entry, block.fallbacks)) for block in entry.blocks)
        for index, number in enumerate(block.numbers)
    ]
    return cells + [_unsupported(entry, task, reason) for task, reason in entry.unsupported.items()]


def number_is_not_headline(block: EntryBlock, number: EntryNumber) -> int:
    """Return 0 for the numbers of the headline metric and protocol, 1 for others, as a part of the column order."""
    return int(block.headline is not None and block.headline != (number.metric, number.protocol))


def _row(entry: BoardEntry, fallbacks: tuple[str, ...] = ()) -> BoardRow:
    used = tuple(f"fallback {fallback}" for fallback in fallbacks)
    # A predictions file has no id of its own; of any other model it says what was run under the given name.
    named = (entry.model,) if entry.title and entry.model != "predictions" else ()
    return BoardRow(
        source="submitted" if entry.submitted else "reproduced",
        model=entry.title or entry.model,
        entry=entry.name,
        model_id=entry.model,
        url=entry.url,
        details=(*entry.described, *named, *entry.arguments, *used),
        cost=entry.cost,
    )


def _evaluated(
    entry: BoardEntry, block: EntryBlock, row: BoardRow, number: EntryNumber, order: tuple[int, ...]
) -> BoardCell:
    # Beside its shares a metric may give counts (`n_correct`), which are no percentages.
    is_share = _UNITS.get(number.metric) == "share" and not number.name.startswith("n_")
    unit: Unit = "share" if is_share else "points"
    version = () if number.protocol_version is None else (f"protocol version {number.protocol_version}",)
    better = number.higher_is_better
    return BoardCell(
        row=row,
        data=entry.data,
        place=block.name,
        metric=number.metric,
        name=number.name,
        # Judges of one rubric stand side by side: the rubric is what they have in common.
        protocol=number.judge[0] if number.judge else number.protocol,
        stratum=number.stratum,
        mean=number.mean,
        over=block.over if number.mean == "macro" else None,
        unit=unit,
        value=number.value,
        # A tenth of a percent is finer than the intervals beside it.
        digits=1 if unit == "share" else 2,
        order=order,
        higher_is_better=True if better is None else better,
        interval=number.interval,
        method=number.method,
        n=number.n,
        clusters=number.clusters,
        undefined=number.undefined,
        failed=number.failed,
        unparsed=number.unparsed,
        coverage=block.coverage,
        basis=(*block.basis, *version),
        note="; ".join(filter(None, (number.judge[2] if number.judge else None, number.note))) or None,
        judge=number.judge[1] if number.judge else None,
    )


def _unsupported(entry: BoardEntry, task: str, reason: str) -> BoardCell:
    """Return a cell without a metric; the table of the task shows it in every column."""
    return BoardCell(
        row=_row(entry),
        data=entry.data,
        place=task,
        metric="",
        name="",
        protocol="",
        stratum=None,
        mean="",
        over=None,
        unit="share",
        value=None,
        digits=0,
        order=(2,),
        unsupported=reason,
    )
