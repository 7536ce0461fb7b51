"""Subsets of a release by `release.where`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.data.integrity import Integrity
from harness.data.releases.reader import ReleaseRequest
from harness.errors import SpecError, nearest
from harness.records import Json


@dataclass(slots=True)
class Selection:
    """The samples that `release.where` keeps, counted.

    A reader asks `admits` as soon as it knows a record's fields, and again when it knows more of them.
    """

    where: Mapping[str, frozenset[str]]
    before: int = 0
    after: int = 0

    @classmethod
    def of(cls, request: ReleaseRequest, fields: Sequence[str]) -> "Selection":
        """Return the selection of a request over records with these fields.

        Raises:
            SpecError: The request names another field.
        """
        for key in request.where:
            if key not in fields:
                known = ", ".join(sorted(fields))
                hint = nearest(key, tuple(fields))
                raise SpecError(f"release.where.{key}: expected a field of the records ({known}), found {key!r}{hint}")
        return cls({key: frozenset(map(_folded, values)) for key, values in request.where.items()})

    def admits(self, fields: Mapping[str, Json]) -> bool:
        """Say whether the known fields agree with the selection; fields that are not known yet do not count."""
        return all(_folded(fields[key]) in kept for key, kept in self.where.items() if key in fields)

    def report(self, integrity: Integrity) -> None:
        """Write the numbers before and after into the report; nothing where nothing was asked."""
        if self.where:
            integrity.selected = (self.before, self.after)


def _folded(value: Json) -> str:
    return str(value).strip().casefold()
