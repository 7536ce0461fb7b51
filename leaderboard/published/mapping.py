"""mapping.yaml: the place of every published cell, by exactly one selector, and which printed numbers are means.

It is read strictly: a number in a wrong column would look like any other. All faults of the file, and all that does not
fit the cells, are reported at once with file and line.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import SpecError
from harness.tasks.yaml.mapping import Table
from harness.tasks.yaml.nodes import Faults, read_mapping
from leaderboard.published.printed import FIELDS, PUBLISHED_FOLDER, PublishedCell, row_of
from leaderboard.published.selectors import Conditions, Words, read_conditions, read_counts, read_words

MAPPING = PUBLISHED_FOLDER / "mapping.yaml"
MEANS = ("micro", "macro", "pooled")
Scale = Literal["percent", "fraction", "points"]
SCALES: tuple[Scale, ...] = ("percent", "fraction", "points")
# Metrics whose micro mean is a count of samples over n.
SHARES_OF_RIGHT_ANSWERS = frozenset({"choice_accuracy", "vqa_accuracy", "retrieval"})
REQUIRED_KEYS = ("place", "metric", "protocol", "mean", "scale")
TEXT_KEYS = (*REQUIRED_KEYS, "name", "over", "run_by", "setting", "note")
SELECTOR_KEYS = ("where", "except", "unmapped", *TEXT_KEYS, "stratum", "n")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPlace:
    """The place of a published cell, in the terms of results.json.

    Attributes:
        place: Task or group.
        name: The metric's named value.
        stratum: One key and its value; None for the whole.
        over: The stratum key that a macro mean runs over.
        scale: Scale of the paper: `percent`, `fraction` (MIMO's), or `points` for metrics from 0 to 100 by definition.
        n: The denominator, if it is known.
        run_by: The paper that ran the model.
        setting: A further difference, such as fine-tuning.
        note: A footnote.
    """

    place: str
    metric: str
    name: str
    protocol: str
    stratum: tuple[str, str] | None
    mean: str
    over: str | None
    scale: Scale
    n: int | None
    run_by: str
    setting: str | None
    note: str | None

    @property
    def counts_answers(self) -> bool:
        """Whether the number is a count of right answers over a known n."""
        return self.n is not None and self.mean == "micro" and self.metric in SHARES_OF_RIGHT_ANSWERS


@dataclass(frozen=True, slots=True)
class Placed:
    """A published cell with its place, or with the reason why it has none."""

    cell: PublishedCell
    place: PublishedPlace | None
    unmapped: str | None


@dataclass(frozen=True, slots=True)
class PrintedMean:
    """A printed cell that is a mean of other cells of its row.

    Attributes:
        cell: The mean.
        members: The cells it is the mean of, at least two, all with a value.
        weights: One per member; all 1 for an unweighted mean.
    """

    cell: PublishedCell
    members: tuple[PublishedCell, ...]
    weights: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PublishedFamily:
    """A heading of the board with its places in order, each with its title."""

    name: str
    about: str
    titles: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Published:
    """All published cells, placed.

    Attributes:
        families: The headings of the board, in order.
        cells: Every published cell with its place, in the order of published.json.
        means: The printed means with their members.
    """

    families: tuple[PublishedFamily, ...]
    cells: tuple[Placed, ...]
    means: tuple[PrintedMean, ...]


@dataclass(frozen=True, slots=True)
class _Selector:
    """One entry of `cells`."""

    table: Table
    where: Conditions
    excluded: Conditions
    unmapped: str | None
    words: Mapping[str, Words[str]]
    stratum_key: str | None
    n: Words[int]

    def hits(self, cell: PublishedCell) -> bool:
        return self.where.all_hold(cell) and not self.excluded.any_holds(cell)

    def check(self, cells: Sequence[PublishedCell]) -> None:
        """Note what does not fit the published cells."""
        chosen = [cell for cell in cells if self.hits(cell)]
        if not chosen:
            self.table.fault("where", "hits no published cell")
            return
        self.where.check(chosen)
        # Checked against all cells that the conditions choose: an exception that excludes none of them is a mistake.
        self.excluded.check([cell for cell in cells if self.where.all_hold(cell)])
        for words in self.words.values():
            words.check(chosen)
        self.n.check(chosen)

    def placed(self, cell: PublishedCell) -> Placed:
        """Return the cell with its place, once `check` found nothing."""
        if self.unmapped is not None:
            return Placed(cell, None, self.unmapped)
        said = {key: words.of(cell) for key, words in self.words.items()}
        # Reading refused a selector that lacks a required word; the empty text is for the type checker.
        word = {key: said[key] or "" for key in REQUIRED_KEYS}
        # A note of the transcription that already became the setting is not repeated as a footnote.
        remark = None if self.words["setting"].field == "note" else cell.note
        place = PublishedPlace(
            place=word["place"],
            metric=word["metric"],
            name=said["name"] or word["metric"],
            protocol=word["protocol"],
            stratum=None if self.stratum_key is None else (self.stratum_key, said["stratum"] or ""),
            mean=word["mean"],
            over=said["over"],
            # The text itself, but typed as a Scale.
            scale=next(scale for scale in SCALES if scale == word["scale"]),
            n=self.n.of(cell),
            run_by=said["run_by"] or cell.paper,
            setting=said["setting"],
            # Footnotes of the mapping and of the paper become sentences, so that they can be joined.
            note=" ".join(
                note[:1].upper() + note[1:] + ("" if note.endswith(".") else ".")
                for note in (said["note"], remark)
                if note
            )
            or None,
        )
        return Placed(cell, place, None)


@dataclass(frozen=True, slots=True)
class _MeanRule:
    """One entry of `means`."""

    table: Table
    where: Conditions
    of: Conditions
    same: tuple[str, ...]
    weighted: bool


def place_published(cells: Sequence[PublishedCell], path: Path = MAPPING) -> Published:
    """Return every published cell with its place, and the printed means with their members.

    Raises:
        SpecError: The mapping is malformed, hits a cell twice or never, or has an idle selector; one line each.
    """
    faults = Faults()
    document = read_mapping(path, faults)
    if document is None:
        raise faults.error()
    table = Table(document, "", ("places", "cells", "means"), faults)
    families = _read_families(table)
    titles = [name for family in families for name in family.titles]
    selectors = [_read_selector(item, titles) for item in table.tables("cells", SELECTOR_KEYS)]
    rules = [_read_rule(item) for item in table.tables("means", ("where", "of", "same", "weighted"))]
    # Faults of the text first: a selector that was read in part would hit the wrong cells and hide the cause.
    if faults.found:
        raise faults.error()
    for selector in selectors:
        selector.check(cells)
    strays = list(_strays(selectors, cells, path))
    if faults.found or strays:
        raise SpecError("\n".join([*faults.lines(), *strays]))
    placed = tuple(next(s for s in selectors if s.hits(cell)).placed(cell) for cell in cells)
    means = tuple(mean for rule in rules for mean in _means(rule, placed))
    if faults.found:
        raise faults.error()
    return Published(families, placed, means)


def _read_families(table: Table) -> tuple[PublishedFamily, ...]:
    families: list[PublishedFamily] = []
    seen: set[str] = set()
    for item in table.tables("places", ("family", "about", "of")):
        titles = item.table("of", None)
        for name in titles.items:
            if name in seen:
                titles.fault(name, "stands in two families; keep one of them")
        seen |= set(titles.items)
        named = {name: titles.text(name) for name in titles.items}
        families.append(PublishedFamily(item.text("family"), item.text("about"), named))
    return tuple(families)


def _read_selector(item: Table, places: Sequence[str]) -> _Selector:
    unmapped = item.optional_text("unmapped")
    if unmapped is not None:
        for key in (*TEXT_KEYS, "stratum", "n"):
            if key in item:
                item.fault(key, "a selector gives a place or says unmapped, not both")
    where = read_conditions(item, "where")
    if not where.table.items:
        item.fault("where", "expected at least one condition")
    options = {"place": places, "mean": MEANS, "scale": SCALES}
    words = {
        key: read_words(item, key, options.get(key), required=key in REQUIRED_KEYS and unmapped is None)
        for key in TEXT_KEYS
    }
    # One key, as in results.json: crossed strata do not exist there.
    strata = item.table("stratum", None)
    if len(strata.items) > 1:
        item.fault("stratum", "expected one key with its value")
    stratum_key = next(iter(strata.items), None)
    words["stratum"] = Words(item, "stratum") if stratum_key is None else read_words(strata, stratum_key)
    return _Selector(
        table=item,
        where=where,
        excluded=read_conditions(item, "except"),
        unmapped=unmapped,
        words=words,
        stratum_key=stratum_key,
        n=read_counts(item, "n"),
    )


def _strays(selectors: Sequence[_Selector], cells: Sequence[PublishedCell], path: Path) -> Iterator[str]:
    """Yield a line for every cell that is not hit by exactly one selector."""
    for cell in cells:
        lines = [selector.table.node.line for selector in selectors if selector.hits(cell)]
        if not lines:
            yield f"{path}: published {cell}: no selector hits it; add one, or say why it is unmapped"
        elif len(lines) > 1:
            also = " and ".join(str(line) for line in lines[1:])
            yield f"{path}:{lines[0]}: published {cell}: hit again in line {also}; expected exactly one selector"


def _read_rule(item: Table) -> _MeanRule:
    same = item.texts("same", ())
    for name in same:
        if name not in FIELDS:
            item.fault("same", f"'{name}' is no field of a published cell; expected some of {', '.join(FIELDS)}")
    return _MeanRule(
        table=item,
        where=read_conditions(item, "where"),
        of=read_conditions(item, "of"),
        same=tuple(name for name in same if name in FIELDS),
        weighted=item.flag("weighted", False),
    )


def _means(rule: _MeanRule, placed: Sequence[Placed]) -> Iterator[PrintedMean]:
    """Yield the printed means of one rule, and note rules that do not fit."""
    cells = [item.cell for item in placed]
    counts = {item.cell: item.place.n if item.place else None for item in placed}
    means = [cell for cell in cells if rule.where.all_hold(cell) and cell.value is not None]
    members = [cell for cell in cells if rule.of.all_hold(cell) and cell.value is not None]
    if not means:
        rule.table.fault("where", "hits no published cell")
        return
    rule.where.check(means)
    rule.of.check([cell for cell in members if any(row_of(cell) == row_of(mean) for mean in means)])
    for mean in means:
        found = tuple(cell for cell in members if row_of(cell, rule.same) == row_of(mean, rule.same) and cell != mean)
        if len(found) < 2:
            rule.table.fault("of", f"expected at least two members for published {mean}, found {len(found)}")
            continue
        # Means over MMMU's subjects are weighted by their questions, as the paper prints; all others are unweighted.
        weights = tuple((counts[cell] or 0) if rule.weighted else 1 for cell in found)
        if not all(weights):
            rule.table.fault("weighted", f"the members of published {mean} have no n to weigh by")
            continue
        yield PrintedMean(mean, found, weights)
