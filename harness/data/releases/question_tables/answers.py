"""Options and right answers of a row, and whether the right options of a table are letters, texts or numbers."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase

from harness.data.integrity import folded
from harness.data.releases.vqa.mmmu import parse_list
from harness.errors import DataError
from harness.records import Json

AUTO, LETTER, TEXT, FROM_0, FROM_1 = "auto", "letter", "text", "index_from_0", "index_from_1"
FORMS = (AUTO, LETTER, TEXT, FROM_0, FROM_1)
MOST_OPTIONS = len(ascii_uppercase)

# "A: spleen", "(A) spleen" and "A. spleen": options often carry a letter of their own.
_PREFIX = re.compile(r"\s*(?:\(([A-Z])\)|([A-Z])\s*[:.)])\s*")
# "B", "b", "(B)", "B.", "B)" and "Option B".
_LETTER = re.compile(r"(?:option\s+)?\(?([A-Za-z])\)?[.):]?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a row.

    Attributes:
        texts: In letter order; empty for a question without options.
        fault: Why they cannot be used; empty if they can.
        letters_removed: Whether they carried letters of their own.
    """

    texts: tuple[str, ...] = ()
    fault: str = ""
    letters_removed: bool = False


def read_options(cells: Sequence[Json], separator: str | None) -> Options:
    """Return the options of a row.

    Args:
        cells: One text per option, or one cell that lists all: a list, letter -> text, either of them as text, or texts
            between separators.
        separator: The separator of one cell; None if the task names none.
    """
    listed = cells if len(cells) > 1 else _listed(cells[0] if cells else None, separator)
    if listed is None:
        return Options(fault=f"{str(cells[0])[:60]!r} is not a list of options")
    texts = ["" if option is None or option != option else str(option).strip() for option in listed]
    while texts and not texts[-1]:
        texts.pop()
    if not texts:
        return Options()
    if not all(texts) or not 2 <= len(texts) <= MOST_OPTIONS:
        shown = f"option {ascii_uppercase[texts.index('')]} is empty" if "" in texts else f"there are {len(texts)}"
        return Options(fault=f"expected 2 to {MOST_OPTIONS} options without a gap, {shown}")
    matches = [_PREFIX.match(text) for text in texts]
    letters = ascii_uppercase[: len(texts)]
    own = [match is not None and (match[1] or match[2]) == name for match, name in zip(matches, letters, strict=True)]
    # Only if all options have one: a single letter may be part of the text, as in "A. fumigatus".
    if all(own) and all(match is not None and text[match.end() :] for match, text in zip(matches, texts, strict=True)):
        stripped = tuple(text[match.end() :] for match, text in zip(matches, texts, strict=True) if match is not None)
        return Options(texts=stripped, letters_removed=True)
    return Options(texts=tuple(texts))


def _listed(cell: Json, separator: str | None) -> Sequence[Json] | None:
    """Return the options that one cell lists, or None if it is not a list."""
    if cell is None or cell != cell or cell == "":
        return ()
    if isinstance(cell, str):
        text = cell.strip()
        if not text:
            return ()
        if separator is not None:
            return text.split(separator)
        cell = listed_text(text)
    if isinstance(cell, dict):
        # Parquet gives every record of a table the keys of all, with None where a record has fewer options.
        held = {str(key).strip().upper(): value for key, value in cell.items() if value is not None}
        return [held[key] for key in sorted(held)] if sorted(held) == list(ascii_uppercase[: len(held)]) else None
    if isinstance(cell, list) and cell and all(isinstance(one, dict) and "value" in one for one in cell):
        return [one["value"] for one in cell]
    return cell if isinstance(cell, list) else None


def listed_text(text: str) -> Json:
    """Return the list or mapping that a text holds as JSON or as Python writes a list; None if it holds neither."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        python = parse_list(text)
        return None if python is None else list(python)
    return found if isinstance(found, list | dict) else None


@dataclass(frozen=True, slots=True)
class Meaning:
    """The options that an answer may name, as indices from 0; None if it names none.

    Attributes:
        letter: By its letter.
        text: By its text.
        number: The whole number that it is.
        conflict: Whether it has the letter of one option and the text of another.
    """

    letter: int | None = None
    text: int | None = None
    number: int | None = None
    conflict: bool = False


def meaning_of(answer: str, options: Sequence[str]) -> Meaning:
    """Return what an answer may mean."""
    texts = [folded(option) for option in options]
    text = texts.index(folded(answer)) if folded(answer) in texts else None
    number = int(answer) if re.fullmatch(r"\d{1,3}", answer) else None
    match = _LETTER.fullmatch(answer)
    letter = _place(match[1].upper(), options) if match is not None else None
    prefix = _PREFIX.match(answer)
    if prefix is not None and letter is None and text is None:
        named, rest = _place(prefix[1] or prefix[2], options), folded(answer[prefix.end() :])
        if named is not None and rest in texts:
            same = texts[named] == rest
            return Meaning(letter=named if same else None, conflict=not same, number=number)
    return Meaning(letter=letter, text=text, number=number)


def _place(letter: str, options: Sequence[str]) -> int | None:
    place = ascii_uppercase.index(letter)
    return place if place < len(options) else None


@dataclass(slots=True)
class AnswerForms:
    """Counts in which form a whole table writes its right options, and decides for the table.

    Attributes:
        counts: Number of rows by what their answer may mean: `letter`, `text`, `both` (the same option), `either`
            (different options) or `neither`.
        numbers: The whole numbers among the answers that mean neither letter nor text.
        options: Largest number of options among those.
        first: Place of the first row of each kind.
    """

    counts: Counter[str] = field(default_factory=Counter)
    numbers: set[int] = field(default_factory=set)
    options: int = 0
    first: dict[str, str] = field(default_factory=dict)

    def add(self, answer: str, options: Sequence[str], place: str) -> None:
        """Count the answer of one row with options."""
        means = meaning_of(answer, options)
        if means.letter is not None and means.text is not None:
            kind = "both" if means.letter == means.text else "either"
        else:
            kind = "letter" if means.letter is not None else "text" if means.text is not None else "neither"
        if kind == "neither" and means.number is not None:
            kind = "number"
            self.numbers.add(means.number)
            self.options = max(self.options, len(options))
        self.counts[kind] += 1
        self.first.setdefault(kind, place)

    def decide(self, asked: str) -> str:
        """Return `letter`, `text`, `index_from_0` or `index_from_1`.

        Args:
            asked: What the task says; with `auto` the majority of the rows that only have one meaning decides.
        Raises:
            DataError: Rows have two meanings and the others do not decide, or the answers are numbers.
        """
        if asked != AUTO:
            return asked
        letters, texts = self.counts["letter"], self.counts["text"]
        ways = "release.options.answers"
        if self.counts["number"] > letters + texts + self.counts["both"] + self.counts["either"]:
            zero = 0 in self.numbers
            ends = self.options in self.numbers
            hint = FROM_0 if zero and not ends else FROM_1 if ends and not zero else f"{FROM_0} or {FROM_1}"
            raise DataError(
                f"{self.first['number']}: expected the right option's letter or text, found whole numbers from "
                f"{min(self.numbers)} to {max(self.numbers)} in {self.counts['number']:,} rows; set {ways}: {hint}"
            )
        if self.counts["either"] and letters == texts:
            raise DataError(
                f"{self.first['either']}: the answer is the letter of one option and the text of another, and no other "
                f"row decides which is meant; set {ways}: {LETTER} or {TEXT}"
            )
        return TEXT if texts > letters else LETTER


@dataclass(frozen=True, slots=True)
class RightOption:
    """The right option of a row.

    Attributes:
        place: From 0; None if the answer names no option.
        fault: Why it names none; empty if it names one.
        remark: What is unusual about an answer that names one; empty if nothing is.
    """

    place: int | None = None
    fault: str = ""
    remark: str = ""


def right_option(answer: str, options: Sequence[str], form: str) -> RightOption:
    """Return the right option of a row.

    Args:
        answer: As the table has it.
        options: Texts.
        form: How the table names right options, by `AnswerForms.decide`.
    """
    means = meaning_of(answer, options)
    listed = ", ".join(map(repr, options))
    if means.conflict:
        return RightOption(fault=f"the answer is {answer!r}, whose letter and text are different options of {listed}")
    if form in (FROM_0, FROM_1):
        place = None if means.number is None else means.number - (form == FROM_1)
        if place is None or not 0 <= place < len(options):
            return RightOption(fault=f"the answer is {answer!r}, expected {form} of {len(options)} options")
        return RightOption(place=place)
    wanted, other = (means.letter, means.text) if form == LETTER else (means.text, means.letter)
    if wanted is not None:
        if other not in (None, wanted):
            return RightOption(place=wanted, remark=f"{answer!r} is a letter and another option's text, read as {form}")
        return RightOption(place=wanted)
    if other is not None:
        said = TEXT if form == LETTER else LETTER
        return RightOption(place=other, remark=f"{answer!r} is a {said}, most answers of the table are a {form}")
    return RightOption(fault=f"the answer is {answer!r}, the options are {listed}")


def answer_texts(cell: Json, separator: str | None) -> list[Json]:
    """Return the accepted answers of a cell: the items of a list, or of a text with declared separators."""
    if isinstance(cell, list):
        return list(cell)
    if isinstance(cell, str) and separator is not None:
        return [part for part in cell.split(separator) if part.strip()]
    return [cell]


def separators_fault(value: Json) -> str:
    """Return what is wrong with the separators of fields, or an empty string if they are right."""
    if not isinstance(value, Mapping):
        return f"expected field: separator, found {value!r}"
    for name, mark in value.items():
        if name not in ("answer", "options", "image") or not isinstance(mark, str) or not mark:
            return f"{name}: expected a separator in quotes for answer, options or image, found {mark!r}"
    return ""
