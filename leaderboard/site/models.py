"""The models of a board: lines of all tables that have one name and one kind of origin."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from leaderboard.site.places import same_name
from leaderboard.site.tables import Chapter, Line


@dataclass(slots=True)
class ModelGroup:
    """A model under one kind of origin: as published, evaluated here, or submitted.

    Attributes:
        name: As the first line has it.
        source: Kind of origin.
        places: (task or group, line of its table), in the order of the board.
        families: Names of its families, each once.
        numbers: Count of its numbers, strata included.
    """

    name: str
    source: str
    places: list[tuple[str, Line]] = field(default_factory=list)
    families: list[str] = field(default_factory=list)
    numbers: int = 0

    @property
    def lines(self) -> list[Line]:
        """Its lines of all tables."""
        return [line for _, line in self.places]

    @property
    def tasks(self) -> int:
        """Number of tasks and groups with a number."""
        return len({place for place, line in self.places if line.has_number})

    @property
    def reproduces(self) -> bool:
        """Whether one of its lines meets all published numbers of the model."""
        return any(line.reproduces for line in self.lines)


def group_models(chapters: Sequence[Chapter]) -> list[ModelGroup]:
    """Return the models of the chapters, those with numbers in most families and then of most tasks first."""
    found: dict[tuple[str, str], ModelGroup] = {}
    for chapter in chapters:
        for section in chapter.sections:
            for line in section.table.lines if section.table is not None else ():
                key = (same_name(line.row.model), line.row.source)
                group = found.setdefault(key, ModelGroup(line.row.model, line.row.source))
                group.places.append((section.place, line))
                if chapter.name not in group.families:
                    group.families.append(chapter.name)
                group.numbers += sum(cell is not None and cell.value is not None for cell in line.cells)
    order = {id(group): (-len(group.families), -group.tasks) for group in found.values()}
    # Sorting is stable, so that equals keep the order of the tables, which is best first.
    return sorted(found.values(), key=lambda group: order[id(group)])
