"""The numbers that the papers print, one cell each, with the digits as printed."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from harness.errors import DataError, together

PUBLISHED_FOLDER = Path(__file__).parent
REQUIRED = ("paper", "table", "model", "benchmark", "subset", "metric")
OPTIONAL = ("params", "note")
# The fields that a selector of mapping.yaml may name.
FIELDS = (*REQUIRED, *OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCell:
    """One printed table cell.

    Attributes:
        index: Its place in published.json, from 0.
        params: Size of the model as printed.
        note: Remark of the transcription.
        value: As printed, in the paper's own scale; None for a cell in which the paper prints "x".
    """

    index: int
    paper: str
    table: str
    model: str
    benchmark: str
    subset: str
    metric: str
    params: str | None
    note: str | None
    value: Decimal | None

    def field(self, name: str) -> str | None:
        """Return one of FIELDS."""
        value: str | None = getattr(self, name)
        return value

    def __str__(self) -> str:
        return f"cell {self.index} ({', '.join(str(self.field(name)) for name in REQUIRED)})"


def load_published(path: Path = PUBLISHED_FOLDER / "published.json") -> list[PublishedCell]:
    """Return the cells of a file like published.json, in its order.

    Raises:
        DataError: The file cannot be read, or cells lack a field or hold another type: one line each.
    """
    # As decimals: a binary float would lose how many digits were printed.
    try:
        items = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal, parse_int=Decimal)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a JSON list of published cells; {error}") from error
    if not isinstance(items, list):
        raise DataError(f"{path}: expected a JSON list of published cells, got {type(items).__name__}")
    faults = [f"{path}: cell {index}: {fault}" for index, item in enumerate(items) for fault in _faults(item)]
    if faults:
        raise together(faults, DataError)
    return [
        PublishedCell(index=index, value=item["value"], **{name: item[name] for name in FIELDS})
        for index, item in enumerate(items)
    ]


def _faults(item: Any) -> list[str]:
    """Return what is wrong with one cell."""
    if not isinstance(item, Mapping):
        return ["expected an object"]
    found = [f"{name}: expected text" for name in REQUIRED if not isinstance(item.get(name), str)]
    found += [f"{name}: expected text or null" for name in OPTIONAL if not isinstance(item.get(name, ""), str | None)]
    found += [f"{name}: missing" for name in (*OPTIONAL, "value") if name not in item]
    value = item.get("value")
    if not isinstance(value, Decimal | None) or (value is not None and not value.is_finite()):
        found.append("value: expected a number, or null where the paper prints none")
    elif item.get("supported", value is not None) is not (value is not None):
        found.append("supported: expected true with a value and false without one")
    return found


def decimals(cells: Iterable[PublishedCell]) -> dict[tuple[str, str], int]:
    """Return how many decimals each (paper, table) prints: the most that any of its values has."""
    # JSON writers drop the last digit of a value like 53.30, so a single cell does not show it.
    most: dict[tuple[str, str], int] = defaultdict(int)
    for cell in cells:
        if cell.value is not None:
            exponent = cell.value.as_tuple().exponent
            assert isinstance(exponent, int), "load_published keeps finite values only"
            most[cell.paper, cell.table] = max(most[cell.paper, cell.table], -exponent)
    return dict(most)


def row_of(cell: PublishedCell, also: Sequence[str] = ()) -> tuple[str | None, ...]:
    """Return what the cells of one printed row share: paper, table, model, and the fields `also`."""
    return tuple(cell.field(name) for name in ("paper", "table", "model", *also))
