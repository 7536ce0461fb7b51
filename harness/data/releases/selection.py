"""Selection of a release's samples by `release.where`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.data.integrity import Integrity
from harness.data.releases.reader import ReleaseRequest
from harness.errors import SpecError, nearest
from harness.records import Json


@dataclass(slots=True)
class Selection:
    """Decides which samples `release.where` keeps, and counts them.

    A reader calls `admits` as soon as it knows some of a record's fields, and again when it knows more of them, so that
    no file is opened for a record that is left out by its name.

    Attributes:
        where: The values to keep of each field, casefolded.
        before: Number of samples before the selection; the reader counts.
        after: Number of samples that it kept; the reader counts.
    """

    where: Mapping[str, frozenset[str]]
    before: int = 0
    after: int = 0

    @classmethod
    def of(cls, request: ReleaseRequest, fields: Sequence[str]) -> "Selection":
        """Return the selection of a request over records with these fields.

        Raises:
            SpecError: The request names a field that the records do not have.
        """
        for key in request.where:
            if key not in fields:
                known = ", ".join(sorted(fields))
                hint = nearest(key, tuple(fields))
                raise SpecError(f"release.where.{key}: expected a field of the records ({known}), found {key!r}{hint}")
        return cls({key: frozenset(map(_folded, values)) for key, values in request.where.items()})

    def admits(self, fields: Mapping[str, Json]) -> bool:
        """Return whether the fields known so far agree with the selection; fields not yet known do not count."""
        return all(_folded(fields[key]) in kept for key, kept in self.where.items() if key in fields)

    def report(self, integrity: Integrity) -> None:
        """Write the counts before and after into the report if the request selects at all."""
        if self.where:
            integrity.selected = (self.before, self.after)


def _folded(value: Json) -> str:
    return str(value).strip().casefold()
