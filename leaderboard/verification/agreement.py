"""Whether the numbers of a bundle are those that its predictions give here."""

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

# Sums in another order, on another machine, differ in the last of 16 digits.
TOLERANCE = 1e-9
# Bounds of intervals come from random draws, whose order is fixed, by functions whose last digits are not.
INTERVAL_TOLERANCE = 1e-6
# Facts of a row that do not follow from the predictions: what people said of the judge, and the installed resource.
NOT_COMPARED = frozenset({"resource", "calibration"})
TASK_FACTS: tuple[str, ...] = ("version", "task_digest", "data_digest", "fallbacks", "wanted", "counts", "headline")
GROUP_FACTS = ("combine", "members")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The outcome of a comparison.

    Attributes:
        compared: Count of numbers that were compared.
        differences: What the bundle says and the predictions do not give, one line each.
        unverified: Numbers that cannot be computed here, because a resource is absent.
        notes: What else a reader should know.
    """

    compared: int
    differences: tuple[str, ...]
    unverified: tuple[str, ...]
    notes: tuple[str, ...]


def compare(said: Mapping[str, Any], found: Mapping[str, Any]) -> Agreement:
    """Compare two contents of results.json.

    Args:
        said: Of the bundle, whose form is checked.
        found: What was computed here.
    """
    seen = _Comparison({(one["task"], one["metric"]) for one in found["unavailable"]})
    seen.differences += [
        f"{name}: results.json and run.json do not say the same"
        for name in ("model", "data", "limited")
        if not _same(said.get(name), found[name])
    ]
    for part in ("tasks", "groups"):
        stated, own = said.get(part, {}), found[part]
        seen.differences += [f"{part}.{name}: the run does not have it" for name in sorted(stated.keys() - own.keys())]
        seen.differences += [
            f"{part}.{name}: is missing in results.json" for name in sorted(own.keys() - stated.keys())
        ]
        for name in sorted(stated.keys() & own.keys()):
            seen.block(part, name, stated[name], own[name])
    unsupported, here = (", ".join(sorted(one.get("unsupported", {}))) or "none" for one in (said, found))
    if unsupported != here:
        seen.differences.append(f"unsupported: results.json says {unsupported}, here it is {here}")
    return Agreement(
        compared=seen.compared,
        differences=tuple(seen.differences),
        unverified=tuple(dict.fromkeys(seen.unverified)),
        notes=tuple(dict.fromkeys(seen.notes)),
    )


@dataclass(slots=True)
class _Comparison:
    """What has been compared so far; `absent` holds (task, metric) of what cannot be computed here."""

    absent: Set[tuple[str, str | None]]
    compared: int = 0
    differences: list[str] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def block(self, part: str, name: str, said: Mapping[str, Any], found: Mapping[str, Any]) -> None:
        """Compare one task or group."""
        where = f"{part}.{name}"
        theirs, ours = _rows(said), _rows(found)
        facts = TASK_FACTS if part == "tasks" else GROUP_FACTS
        # Judges of two runs, which a bundle leaves out, may lower the coverage of the run.
        if part == "tasks" and not any(row.get("judge") for row in (*theirs.values(), *ours.values())):
            facts = (*facts, "coverage")
        self.differences += [
            f"{where}.{fact}: results.json says {_brief(said.get(fact))}, here it is {_brief(found.get(fact))}"
            for fact in facts
            if not _same(said.get(fact), found.get(fact))
        ]
        if len(theirs) < len(said["metrics"]):
            self.differences.append(f"{where}.metrics: the same number is there twice")
        for key, row in theirs.items():
            if key in ours:
                self.compared += 1
                self.differences += _row_differences(where, row, ours[key])
            elif row.get("judge") is not None:
                self.notes.append(f"{where}: {_title(row)} cannot be verified without another run; it is left out")
            elif (name, row["metric"]) in self.absent or (part == "groups" and self.absent):
                self.unverified.append(f"{where}: {_title(row)} needs a resource that is not installed here")
            else:
                self.differences.append(f"{where}: {_title(row)}: there is no such number")
        columns = {(row["metric"], row["protocol"]) for row in theirs.values()}
        for key, row in ours.items():
            if key in theirs:
                continue
            if (row["metric"], row["protocol"]) in columns:
                self.differences.append(f"{where}: {_title(row)} is missing in results.json")
            elif row["stratum"] is None:
                self.notes.append(f"{where}: {_title(row)} is not in results.json; it was computed here")


def _rows(block: Mapping[str, Any]) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    """Return the rows of a block by what each is a number of."""

    def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
        stratum = None if row["stratum"] is None else tuple(sorted(row["stratum"].items()))
        return row["metric"], row["name"], row["protocol"], stratum, row["mean"]

    return {key(row): row for row in block["metrics"]}


def _title(row: Mapping[str, Any]) -> str:
    stratum = (
        "" if row["stratum"] is None else " " + " ".join(f"{key} {value}" for key, value in row["stratum"].items())
    )
    return f"{row['metric']} {row['name']} ({row['protocol']}, {row['mean']}{stratum})"


def _row_differences(where: str, said: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*said, *found} - NOT_COMPARED, key=lambda name: (name != "value", name)):
        stated, own = said.get(name), found.get(name)
        if name == "judge" and stated is not None and own is not None:
            # Of a long record, the fields that differ.
            stated, own = (
                {
                    key: one.get(key)
                    for key in sorted({*stated, *own} - NOT_COMPARED)
                    if not _same(stated.get(key), own.get(key))
                }
                for one in (stated, own)
            )
        tolerance = INTERVAL_TOLERANCE if name == "ci" else TOLERANCE
        if not _same(stated, own, tolerance):
            words = "the predictions give" if name in ("value", "ci", "n", "failed") else "here it is"
            yield f"{where}: {_title(said)}: {name}: results.json says {_brief(stated)}, {words} {_brief(own)}"


def _same(one: Any, other: Any, tolerance: float = TOLERANCE) -> bool:
    """Return whether two JSON values are the same, numbers within a tolerance."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key], tolerance) for key in one)
    if isinstance(one, Sequence) and isinstance(other, Sequence) and not isinstance(one, str):
        return len(one) == len(other) and all(_same(*pair, tolerance) for pair in zip(one, other, strict=True))
    return bool(one == other)


def _brief(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
