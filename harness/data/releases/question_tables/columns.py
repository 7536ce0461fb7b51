"""The columns of a table by their content: the task's map, completed by the usual names of columns."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from harness.errors import SpecError, nearest
from harness.records import Json

# Field -> the columns that are taken for it if the map does not name it and the table has them. `index` and
# `image_path` are VLMEvalKit's names.
FIELDS: Mapping[str, tuple[str, ...]] = {
    "question": ("question",),
    "answer": ("answer",),
    "options": ("options", "choices"),
    "image": ("image", "image_path", "images"),
    "id": ("id", "index"),
    "split": ("split",),
    "patient": ("patient",),
    "answer_type": ("answer_type",),
}
SEVERAL = ("options", "image")  # fields that may take several columns
DERIVED = ("answer_type", "form")  # strata that every question has
_STRATUM = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of a table by what they hold; None or empty for what the table does not have.

    Attributes:
        options: One column per option in letter order, or one column that lists all.
        image: One column, or several whose images are shown together.
        strata: Name of the stratum -> column.
    """

    question: str
    answer: str
    options: tuple[str, ...] = ()
    image: tuple[str, ...] = ()
    id: str | None = None
    split: str | None = None
    patient: str | None = None
    answer_type: str | None = None
    strata: Mapping[str, str]

    @property
    def all(self) -> tuple[str, ...]:
        """All columns that are read."""
        single = (self.question, self.answer, self.id, self.split, self.patient, self.answer_type)
        named = (*(name for name in single if name is not None), *self.options, *self.image, *self.strata.values())
        return tuple(dict.fromkeys(named))


def columns_fault(value: Json) -> str:
    """Return what is wrong with a column map whatever the table, or an empty string if it is right."""
    if not isinstance(value, dict):
        return f"expected field: column, found {value!r}"
    for field, column in value.items():
        listed = isinstance(column, list) and bool(column) and all(isinstance(one, str) and one for one in column)
        if field in SEVERAL and listed:
            continue
        if not isinstance(column, str):
            expected = "the name of a column or a list of names" if field in SEVERAL else "the name of a column"
            return f"{field}: expected {expected} (in quotes if it looks like a number), found {column!r}"
        if field not in FIELDS and (not _STRATUM.fullmatch(field) or field == "form"):
            fields = ", ".join(FIELDS)
            return (
                f"{field}: expected one of {fields}, or a stratum's name of letters, digits and '_'; 'form' is derived"
            )
        if not column and field in ("question", "answer"):
            return f"{field}: expected the name of a column, found ''; every question needs one"
    return ""


def strata_of(given: Mapping[str, Json]) -> tuple[str, ...]:
    """Return the strata that a reader with this column map tells: derived ones, and those of the map."""
    return (*DERIVED, *(field for field in given if field not in FIELDS))


def resolve(given: Mapping[str, Json], held: Sequence[str], where: str) -> Columns:
    """Return the columns of a table, each by the map or else by its usual name.

    Args:
        given: The map; the empty text says that the table does not have a field.
        held: The columns of the table.
        where: The table, for messages.
    Raises:
        SpecError: The map names columns that the table does not have, or what every question needs is nowhere: all
            faults, one line each.
    """
    lines: list[str] = []
    found: dict[str, tuple[str, ...]] = {}
    known = ", ".join(name for name in held if name) or "none"
    for field, usual in FIELDS.items():
        if field in given:
            named = given[field]
            names = tuple(named) if isinstance(named, list) else (named,) if named else ()
            found[field] = names
        else:
            found[field] = next(((name,) for name in usual if name in held), ())
            if field == "options" and not found[field]:
                found[field] = lettered_columns(held)
    strata = {field: str(column) for field, column in given.items() if field not in FIELDS and column}
    for field, names in (*found.items(), *((field, (column,)) for field, column in strata.items())):
        lines += [
            f"{where}: columns.{field}: expected a column of the table ({known}), got '{name}'{nearest(name, held)}"
            for name in names
            if name not in held
        ]
    for field in ("question", "answer"):
        if not found[field]:
            lines.append(
                f"{where}: expected a column '{field}', found {known}; name yours with "
                f"release.options.columns: {{{field}: ...}}"
            )
    if not found["image"] and "image" not in given:
        # Questions on images would otherwise be asked without them, and nothing would tell.
        lines.append(
            f"{where}: expected a column 'image' or 'image_path', found {known}; name yours with "
            'release.options.columns: {image: ...}, or say {image: ""} if the questions have no images'
        )
    if lines:
        raise SpecError("\n".join(lines))
    one = {field: names[0] if names else None for field, names in found.items()}
    return Columns(
        question=found["question"][0],
        answer=found["answer"][0],
        options=found["options"],
        image=found["image"],
        id=one["id"],
        split=one["split"],
        patient=one["patient"],
        answer_type=one["answer_type"],
        strata=strata,
    )


def lettered_columns(held: Sequence[str]) -> tuple[str, ...]:
    """Return the columns named A, B, C and so on without a gap, as VLMEvalKit has them; none if there is no B."""
    letters = []
    for letter in ascii_uppercase:
        if letter not in held:
            break
        letters.append(letter)
    return tuple(letters) if len(letters) > 1 else ()
