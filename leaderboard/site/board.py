"""What all pages of a board are made of: its chapters and entries, and the number that stands for each task."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.exports.task_card import TaskCard
from leaderboard.entry_file import BoardEntry
from leaderboard.published.mapping import Published
from leaderboard.published.means import CountCheck, MeanCheck
from leaderboard.site import places, words
from leaderboard.site.tables import BoardTable, Chapter, Column, Section

# Heads of the lines that bound a table.
BOUND_WORDS = {"ceiling": "ceiling (oracle)", "random": "random answers", "floor": "floor (empty answers)"}
GIVES_WORDS = {"choice": "a letter or option", "text": "words", "masks": "masks", "grounded": "words with masks"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Everything that the pages show.

    Attributes:
        real: Chapters with real data.
        phantom: Chapters with phantom data, which share no page with the real ones.
        published: Every published cell, also those without a place.
        means: Every printed mean, recomputed.
        counts: Printed accuracies that no count gives.
        left_out: (entry, reason) of runs that are excluded.
        numbers: Count of numbers: `published`, `evaluated`, `phantom`.
        files: (task or group, phantom, numbers) of the files by task.
        whole: What data.json and data.csv hold, in words.
        entries: Those that the board shows.
        cards: What is known of tasks and groups, by name.
        written: Files of the site that are written already, which pages may link to.
    """

    real: tuple[Chapter, ...]
    phantom: tuple[Chapter, ...]
    published: Published
    means: tuple[MeanCheck, ...]
    counts: tuple[CountCheck, ...]
    left_out: tuple[tuple[str, str], ...]
    numbers: Mapping[str, int] = field(default_factory=dict)
    files: tuple[tuple[str, bool, int], ...] = ()
    whole: str = ""
    entries: tuple[BoardEntry, ...] = ()
    cards: Mapping[str, TaskCard] = field(default_factory=dict)
    written: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A column of an overview: the number of a task that most models have.

    Attributes:
        chapter, section, column: What it is of; `index` is the column in the table of the section.
        modalities: Values of the stratum `modality`, divided by blanks.
        models: Number of models of its family.
    """

    chapter: Chapter
    section: Section
    table: BoardTable
    index: int
    phantom: bool
    modalities: str = ""
    models: int = 0

    @property
    def column(self) -> Column:
        """What its numbers share."""
        return self.table.columns[self.index]

    @property
    def title(self) -> str:
        """Of the task."""
        return self.section.title or self.section.place

    @property
    def lower(self) -> bool:
        """Whether lower is better."""
        return bool(words.direction(self.column.metric, self.column.protocol, self.column.higher_is_better))

    @property
    def page(self) -> str:
        """The page of the family."""
        return places.family_page(self.chapter.name, self.phantom)

    @property
    def task_page(self) -> str:
        """The page of the task."""
        return places.task_page(self.section.place, self.phantom)


def heads_of(chapter: Chapter, phantom: bool) -> list[Head]:
    """Return a head for each task and group of a family that has a number."""
    found = []
    for section in chapter.sections:
        if section.table is None:
            continue
        values = [of.stratum[1] for of in section.table.columns if of.stratum and of.stratum[0] == "modality"]
        found.append(
            Head(
                chapter=chapter,
                section=section,
                table=section.table,
                index=section.table.lead,
                phantom=phantom,
                modalities=" ".join(dict.fromkeys(value.replace(" ", "_") for value in values)),
            )
        )
    return found


def crumbs_of(phantom: bool, *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the pages above one: those of phantoms are below their overview."""
    return ((("Phantoms", places.PHANTOMS),) if phantom else ()) + more


def table_script() -> str:
    """Return the script that sorts and filters tables."""
    return (Path(__file__).parent / "scripts" / "table.js").read_text(encoding="utf-8")
