"""Tables from cells: one per task or group. A column has one protocol, so that two protocols never share one."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from harness.metrics.certificates import certificate_of
from leaderboard.cells import BoardCell, BoardRow, Unit
from leaderboard.published.mapping import PublishedFamily
from leaderboard.site.places import same_name
from leaderboard.site.words import metric_row, metric_words

# Baselines in the header of a table instead of in a line of their own: they bound what a model can reach.
BOUNDS = {"baseline:oracle": "ceiling", "baseline:random": "random", "baseline:empty": "floor"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """The properties that all numbers of one column share.

    Attributes:
        n: The denominator of published numbers, if it is known.
        basis: Version and data of evaluated runs, if the table holds several.
        judge: Whose judgements they are; None if no judge was asked.
    """

    protocol: str
    metric: str
    name: str
    mean: str
    over: str | None
    stratum: tuple[str, str] | None
    unit: Unit
    n: int | None
    basis: tuple[str, ...]
    judge: str | None = None
    # Published cells do not say it, and share the column of those that do.
    higher_is_better: bool = field(default=True, compare=False)

    @property
    def label(self) -> str:
        """The metric's value in words: `Dice`, `Token overlap, recall`."""
        return metric_words(self.metric, self.name)

    @property
    def key(self) -> str:
        """A short name for anchors, the same in every build."""
        parts = (self.protocol, self.metric, self.name, self.mean, self.over, self.stratum, self.n, self.basis)
        return hashlib.sha256(repr((*parts, self.judge)).encode()).hexdigest()[:6]

    @property
    def certificate(self) -> str | None:
        """How this number can be gamed, in words; None if no way is known."""
        row = metric_row(self.metric, self.protocol)
        found = certificate_of(row) if row is not None else None
        return None if found is None else found.text

    @property
    def alike(self) -> tuple[object, ...]:
        """What the columns of the strata of one number have in common."""
        return self.protocol, self.metric, self.name, self.mean, self.over, self.judge

    @property
    def mean_label(self) -> str:
        """How samples became one number."""
        return f"macro over {self.over.replace('_', ' ')}" if self.mean == "macro" and self.over else self.mean


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table: the cells of a row, None for columns without a number.

    `reproduces` says that the table has published numbers of the same model, and that this run meets all of them.
    """

    row: BoardRow
    cells: tuple[BoardCell | None, ...]
    reproduces: bool = False

    @property
    def first(self) -> BoardCell | None:
        """The first cell that is not empty."""
        return next((cell for cell in self.cells if cell is not None), None)

    @property
    def has_number(self) -> bool:
        """Whether some cell has a value."""
        return any(cell is not None and cell.value is not None for cell in self.cells)

    @property
    def notes(self) -> tuple[str, ...]:
        """The footnotes of its cells, each once."""
        return tuple(dict.fromkeys(cell.note for cell in self.cells if cell is not None and cell.note))


@dataclass(frozen=True, slots=True)
class BoardTable:
    """One table of a page.

    Attributes:
        columns: At least one; those of one protocol are neighbours.
        bounds: (name, cells) of ceiling, random and floor, if such runs are among the entries.
        lines: Best first, by the first column that has a value.
    """

    place: str
    columns: tuple[Column, ...]
    bounds: tuple[tuple[str, tuple[BoardCell | None, ...]], ...]
    lines: tuple[Line, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """The footnotes of its lines, each once."""
        return tuple(dict.fromkeys(note for line in self.lines for note in line.notes))

    @property
    def uneven(self) -> str | None:
        """A warning if the means of evaluated models are over different samples; None if they are not.

        A sample without a value, such as Dice where both masks are empty, is left out of that model's mean.
        """
        ranges = []
        for index, column in enumerate(self.columns):
            cells = [line.cells[index] for line in self.lines]
            counts = {
                cell.n
                for cell in cells
                if cell is not None and cell.row.source != "published" and cell.value is not None and cell.n is not None
            }
            if len(counts) > 1:
                ranges.append(f"{column.label} ({column.mean_label}) over {min(counts):,} to {max(counts):,} samples")
        if not ranges:
            return None
        return (
            f"Means over different samples: {', '.join(dict.fromkeys(ranges))}. A sample without a value, such as Dice "
            "where target and prediction are both empty, is left out of the mean of that model only; compare models "
            "within the strata, where the target is present."
        )

    @property
    def has_reproduced(self) -> bool:
        """Whether some line is an evaluated run with a number, and so with coverage and failures."""
        cells = [cell for line in self.lines for cell in line.cells if cell is not None]
        return any(cell.row.source != "published" and cell.unsupported is None for cell in cells)

    def has_no_n(self, column: int) -> bool:
        """Return whether the n of a column's published numbers is unknown while that of another column is known."""
        if self.columns[column].n is not None or all(other.n is None for other in self.columns):
            return False
        return any(line.row.source == "published" and line.cells[column] is not None for line in self.lines)

    def digits(self, column: int) -> int:
        """Return the most decimals of a column; values with fewer are padded to it."""
        cells = [*(cells[column] for _, cells in self.bounds), *(line.cells[column] for line in self.lines)]
        return max((cell.digits for cell in cells if cell is not None and cell.value is not None), default=1)

    def only(self, keep: Callable[[Column], bool]) -> "BoardTable | None":
        """Return the table with some of its columns, and the lines that are not empty there; None without columns."""
        chosen = [index for index, column in enumerate(self.columns) if keep(column)]
        if not chosen:
            return None

        def pick(cells: Sequence[BoardCell | None]) -> tuple[BoardCell | None, ...]:
            return tuple(cells[index] for index in chosen)

        lines = tuple(replace(line, cells=cells) for line in self.lines if any(cells := pick(line.cells)))
        bounds = tuple((name, cells) for name, found in self.bounds if any(cells := pick(found)))
        return replace(
            self, columns=tuple(self.columns[index] for index in chosen), bounds=bounds, lines=_ordered(lines)
        )

    def overall(self) -> "BoardTable":
        """Return the columns of the whole task; if there are none, all columns, which are those of its strata."""
        return self.only(lambda column: column.stratum is None) or self

    def by_stratum(self) -> "list[tuple[str, list[BoardTable]]]":
        """Return (stratum key, tables): one table per metric and mean, with the strata as columns."""
        found: dict[str, dict[tuple[object, ...], list[Column]]] = {}
        for column in self.columns:
            if column.stratum is not None:
                found.setdefault(column.stratum[0], {}).setdefault(column.alike, []).append(column)
        return [
            (key, [table for columns in alike.values() if (table := self.only(set(columns).__contains__)) is not None])
            for key, alike in found.items()
        ]

    @property
    def lead(self) -> int:
        """The column that stands for the task: that of its whole with most values; of several, the first."""

        def weight(index: int) -> tuple[bool, int]:
            filled = sum(1 for line in self.lines if (cell := line.cells[index]) is not None and cell.value is not None)
            return self.columns[index].stratum is None, filled

        return max(range(len(self.columns)), key=weight)


@dataclass(frozen=True, slots=True)
class Section:
    """A task or group with its table; None if no number of it is known."""

    place: str
    title: str
    table: BoardTable | None
    unsupported: tuple[BoardCell, ...]


@dataclass(frozen=True, slots=True)
class Chapter:
    """A family with its sections."""

    name: str
    about: str
    sections: tuple[Section, ...]


def chapters(families: Sequence[PublishedFamily], cells: Sequence[BoardCell]) -> list[Chapter]:
    """Return the families that have cells, each with its tasks in order; the last family takes all other tasks.

    Args:
        families: Headings in order.
        cells: Cells of one kind of data, real or phantom.
    """
    assert len({cell.data for cell in cells}) <= 1, "phantom numbers stand on a page of their own"
    by_place: dict[str, list[BoardCell]] = {}
    for cell in cells:
        by_place.setdefault(cell.place, []).append(cell)
    others = sorted(by_place.keys() - {place for family in families for place in family.titles})
    found = []
    for family in families:
        titles = {**family.titles, **(dict.fromkeys(others, "") if family is families[-1] else {})}
        sections = tuple(
            section
            for place, title in titles.items()
            if place in by_place and (section := _section(place, title, by_place[place])).table
        )
        if sections:
            found.append(Chapter(family.name, family.about, sections))
    return found


def _section(place: str, title: str, cells: Sequence[BoardCell]) -> Section:
    unsupported = tuple(cell for cell in cells if not cell.protocol)
    numbers = sorted((cell for cell in cells if cell.protocol), key=lambda cell: cell.order)
    return Section(place, title, _table(place, numbers, unsupported) if numbers else None, unsupported)


def _table(place: str, cells: Sequence[BoardCell], unsupported: Sequence[BoardCell]) -> BoardTable:
    # Numbers over different counts of questions, versions or data do not compare, so each gets a column. A run on as
    # many samples as the paper shares the paper's column; the basis divides columns only if the table holds several.
    counts = {(_identity(cell), cell.n) for cell in cells if cell.row.source == "published" and cell.n}
    bases = {(cell.protocol, cell.metric, cell.basis) for cell in cells if cell.basis}
    several = Counter((protocol, metric) for protocol, metric, _ in bases)

    def column(cell: BoardCell) -> Column:
        return Column(
            protocol=cell.protocol,
            metric=cell.metric,
            name=cell.name,
            mean=cell.mean,
            over=cell.over,
            stratum=cell.stratum,
            unit=cell.unit,
            n=cell.n if (_identity(cell), cell.n) in counts else None,
            basis=cell.basis if several[cell.protocol, cell.metric] > 1 else (),
            higher_is_better=cell.higher_is_better,
            judge=cell.judge,
        )

    # A dict keeps the order of the cells: published.json first, then headlines. Columns keep it within their protocol.
    found_columns: dict[Column, None] = {}
    # Of two cells of one row and column, the first counts: a paper may print a number in two tables.
    rows: dict[BoardRow, dict[Column, BoardCell]] = {}
    for cell in cells:
        of = column(cell)
        found_columns.setdefault(of)
        rows.setdefault(cell.row, {}).setdefault(of, cell)
    protocols = {name: index for index, name in enumerate(dict.fromkeys(of.protocol for of in found_columns))}
    columns = tuple(sorted(found_columns, key=lambda of: protocols[of.protocol]))
    lines: list[Line] = []
    bounds: dict[str, tuple[BoardCell | None, ...]] = {}
    for row, placed in rows.items():
        found = tuple(placed.get(of) for of in columns)
        # Who submits a bundle may call its model what they like.
        if row.model_id in BOUNDS and row.source != "submitted":
            bounds.setdefault(BOUNDS[row.model_id], found)
        else:
            lines.append(Line(row, found))
    lines = _merged(lines)
    published = [line for line in lines if line.row.source == "published"]
    lines = [replace(line, reproduces=_reproduces(line, published)) for line in lines]
    # Tables of published numbers alone are not filled with runs that say nothing about them.
    if any(row.source != "published" for row in rows):
        lines += [Line(cell.row, (cell,) * len(columns)) for cell in unsupported if cell.row.model_id not in BOUNDS]
    ordered = tuple((name, bounds[name]) for name in BOUNDS.values() if name in bounds)
    return BoardTable(place, columns, ordered, _ordered(lines))


def _merged(lines: Sequence[Line]) -> list[Line]:
    """Join the lines of one model as run by one paper if their numbers do not contradict each other.

    A paper may print a model in several tables, and another paper may repeat its row.
    """
    joined: list[Line] = []
    for line in lines:
        for index, earlier in enumerate(joined if line.row.source == "published" else ()):
            same_run = replace(earlier.row, printed_in=()) == replace(line.row, printed_in=())
            pairs = [(old, new) for old, new in zip(earlier.cells, line.cells, strict=True) if old and new]
            if same_run and all(old.value == new.value for old, new in pairs):
                row = replace(earlier.row, printed_in=(*earlier.row.printed_in, *line.row.printed_in))
                cells = tuple(old or new for old, new in zip(earlier.cells, line.cells, strict=True))
                joined[index] = Line(row, cells)
                break
        else:
            joined.append(line)
    return joined


def _reproduces(line: Line, published: Sequence[Line]) -> bool:
    """Return whether a run meets every published number of its model in its columns, and there is at least one.

    A number is met if it lies within the interval of the run's own, or rounds to a bound of it: a paper prints few
    digits. Models are the same if their names are, in letters and digits.
    """
    if line.row.source == "published":
        return False
    met = [
        _is_met(theirs, ours)
        for other in published
        if same_name(other.row.model) == same_name(line.row.model)
        for theirs, ours in zip(other.cells, line.cells, strict=True)
        if theirs is not None and theirs.value is not None and ours is not None and ours.value is not None
    ]
    return bool(met) and all(met)


def _is_met(published: BoardCell, own: BoardCell) -> bool:
    assert published.value is not None, "only numbers are compared"
    if own.interval is None:
        return False
    rounding = 0.5 * 10.0**-published.digits / (100 if published.unit == "share" else 1)
    low, high = own.interval
    return low - rounding <= published.value <= high + rounding


def _identity(cell: BoardCell) -> tuple[object, ...]:
    return cell.protocol, cell.metric, cell.name, cell.mean, cell.over, cell.stratum, cell.judge


def _ordered(lines: Iterable[Line]) -> tuple[Line, ...]:
    """Return lines best first by their first value; lines without one come last, in the given order."""

    def key(line: Line) -> tuple[int, float]:
        # By column before value: numbers of two columns, such as two metrics, do not compare.
        for index, cell in enumerate(line.cells):
            if cell is not None and cell.value is not None:
                return index, -cell.value if cell.higher_is_better else cell.value
        return len(line.cells), 0.0

    return tuple(sorted(lines, key=key))
