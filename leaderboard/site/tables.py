"""Tables from cells: one per task or group and protocol, so that two protocols never share a column."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from harness.metrics import METRICS
from harness.metrics.certificates import certificate_of
from leaderboard.cells import BoardCell, BoardRow, Unit
from leaderboard.published.mapping import PublishedFamily

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

    metric: str
    name: str
    mean: str
    over: str | None
    stratum: tuple[str, str] | None
    unit: Unit
    n: int | None
    basis: tuple[str, ...]
    judge: str | None = None

    @property
    def label(self) -> str:
        """The metric's value as a reader knows it: `dice`, `token_prf recall`, `bleu4`."""
        return self.name if self.name.startswith(self.metric) else f"{self.metric} {self.name}"

    def certificate(self, protocol: str) -> str | None:
        """Return how this number can be gamed under a protocol, in words; None if no way is known."""
        rows = [row for row in METRICS if (row.name, row.protocol) == (self.metric, protocol)]
        found = certificate_of(rows[0]) if rows else None
        return None if found is None else found.text

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
    def notes(self) -> tuple[str, ...]:
        """The footnotes of its cells, each once."""
        return tuple(dict.fromkeys(cell.note for cell in self.cells if cell is not None and cell.note))


@dataclass(frozen=True, slots=True)
class BoardTable:
    """One table of a page.

    Attributes:
        columns: At least one.
        bounds: (name, cells) of ceiling, random and floor, if such runs are among the entries.
        lines: Best first, by the first column that has a value.
    """

    place: str
    protocol: str
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
        found: dict[str, dict[tuple[str, str, str | None], BoardTable]] = {}
        for column in self.columns:
            if column.stratum is not None:
                tables = found.setdefault(column.stratum[0], {})
                if (column.label, column.mean_label, column.judge) not in tables:
                    tables[column.label, column.mean_label, column.judge] = self._strata_like(column)
        return [(key, list(tables.values())) for key, tables in found.items()]

    def _strata_like(self, first: Column) -> "BoardTable":
        """Return the columns of the same stratum key, metric and mean."""

        def alike(column: Column) -> bool:
            same = (column.label, column.mean_label, column.judge) == (first.label, first.mean_label, first.judge)
            return same and column.stratum is not None and column.stratum[0] == (first.stratum or "")[0]

        table = self.only(alike)
        assert table is not None, "the first is like itself"
        return table


@dataclass(frozen=True, slots=True)
class Section:
    """A task or group with its tables, one per protocol."""

    place: str
    title: str
    tables: tuple[BoardTable, ...]
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
    known = {place for family in families for place in family.titles}
    others = sorted({cell.place for cell in cells} - known)
    found = []
    for family in families:
        titles = {**family.titles, **(dict.fromkeys(others, "") if family is families[-1] else {})}
        sections = tuple(
            section for place, title in titles.items() if (section := _section(place, title, cells)).tables
        )
        if sections:
            found.append(Chapter(family.name, family.about, sections))
    return found


def _section(place: str, title: str, cells: Sequence[BoardCell]) -> Section:
    chosen = [cell for cell in cells if cell.place == place]
    unsupported = tuple(cell for cell in chosen if not cell.protocol)
    numbers = sorted((cell for cell in chosen if cell.protocol), key=lambda cell: cell.order)
    protocols = dict.fromkeys(cell.protocol for cell in numbers)
    tables = tuple(
        _table(place, protocol, [cell for cell in numbers if cell.protocol == protocol], unsupported)
        for protocol in protocols
    )
    return Section(place, title, tables, unsupported)


def _table(place: str, protocol: str, cells: Sequence[BoardCell], unsupported: Sequence[BoardCell]) -> BoardTable:
    # Numbers over different counts of questions, versions or data do not compare, so each gets a column. A run on as
    # many samples as the paper shares the paper's column; the basis divides columns only if the table holds several.
    counts = {(_identity(cell), cell.n) for cell in cells if cell.row.source == "published" and cell.n}
    bases = {(cell.metric, cell.basis) for cell in cells if cell.basis}
    several = Counter(metric for metric, _ in bases)

    def column(cell: BoardCell) -> Column:
        return Column(
            metric=cell.metric,
            name=cell.name,
            mean=cell.mean,
            over=cell.over,
            stratum=cell.stratum,
            unit=cell.unit,
            n=cell.n if (_identity(cell), cell.n) in counts else None,
            basis=cell.basis if several[cell.metric] > 1 else (),
            judge=cell.judge,
        )

    # A dict keeps the order of the cells, which is the order of the columns: published.json first, then headlines.
    columns = tuple(dict.fromkeys(column(cell) for cell in cells))
    rows = dict.fromkeys(cell.row for cell in cells)
    # Of two cells of one row and column, the first counts: a paper may print a number in two tables.
    placed: dict[tuple[BoardRow, Column], BoardCell] = {}
    for cell in cells:
        placed.setdefault((cell.row, column(cell)), cell)
    lines: list[Line] = []
    bounds: dict[str, tuple[BoardCell | None, ...]] = {}
    for row in rows:
        found = tuple(placed.get((row, column)) for column in columns)
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
    return BoardTable(place, protocol, columns, ordered, _ordered(lines))


def _merged(lines: Sequence[Line]) -> list[Line]:
    """Join the lines of one model as run by one paper if their numbers do not contradict each other.

    A paper may print a model in several tables, and another paper may repeat its row.
    """
    joined: list[Line] = []
    for line in lines:
        for index, earlier in enumerate(joined):
            published = earlier.row.source == line.row.source == "published"
            same_run = published and replace(earlier.row, printed_in=()) == replace(line.row, printed_in=())
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
        if _plain(other.row.model) == _plain(line.row.model)
        for theirs, ours in zip(other.cells, line.cells, strict=True)
        if theirs is not None and theirs.value is not None and ours is not None and ours.value is not None
    ]
    return bool(met) and all(met)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _is_met(published: BoardCell, own: BoardCell) -> bool:
    assert published.value is not None, "only numbers are compared"
    if own.interval is None:
        return False
    rounding = 0.5 * 10.0**-published.digits / (100 if published.unit == "share" else 1)
    low, high = own.interval
    return low - rounding <= published.value <= high + rounding


def _identity(cell: BoardCell) -> tuple[object, ...]:
    return cell.metric, cell.name, cell.mean, cell.over, cell.stratum, cell.judge


def _ordered(lines: Iterable[Line]) -> tuple[Line, ...]:
    """Return lines best first by their first value; lines without one come last, in the given order."""

    def key(line: Line) -> tuple[int, float]:
        # By column before value: numbers of two columns, such as two metrics, do not compare.
        for index, cell in enumerate(line.cells):
            if cell is not None and cell.value is not None:
                return index, -cell.value if cell.higher_is_better else cell.value
        return len(line.cells), 0.0

    return tuple(sorted(lines, key=key))
