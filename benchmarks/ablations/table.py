"""The tables of the ablations in Markdown, beside what the paper prints for the same settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from benchmarks.ablations.arms import FULL
from benchmarks.ablations.statistics import NUMBERS, ArmNumbers, Bounds
from leaderboard.published.printed import PublishedCell

PAPER = "MedPLIB (AAAI 2025)"
MEAN = "mean of the four"
PREFIX = "MedPLIB ablation "
# Tables of the paper, with our headings.
TABLES = {"3": "Table 3: experts and stages", "4": "Table 4: capacity and choices"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """How the numbers came about.

    Attributes:
        date: Day on which the last session began.
        command: Command that reproduces them.
        machine: Cores and versions.
        minutes: Minutes of all sessions.
        recipe: Name of the recipe whose stages were trained.
        seeds: Seeds of the trainings.
    """

    date: str
    command: str
    machine: str
    minutes: float
    recipe: str
    seeds: Sequence[int]


def printed_means(cells: Sequence[PublishedCell]) -> dict[str, float]:
    """Return setting -> its printed mean of four, in percent, of the paper's Tables 3 and 4."""
    return {
        cell.model.removeprefix(PREFIX): float(cell.value)
        for cell in cells
        if cell.paper == PAPER and cell.table in TABLES and cell.benchmark == MEAN and cell.value is not None
    }


def page(found: Sequence[ArmNumbers], printed: Mapping[str, float], made: Circumstances) -> str:
    """Return the circumstances, all numbers, and a comparison per table of the paper, in Markdown."""
    parts = [circumstances(made), all_numbers(found, len(made.seeds))]
    for table, title in TABLES.items():
        parts += [f"### {title}", comparison(found, printed, table), agreement(found, printed, table)]
    return "\n\n".join(parts)


def circumstances(made: Circumstances) -> str:
    """Return a paragraph that says when, how and from which recipe the numbers were made."""
    seeds = ", ".join(map(str, made.seeds))
    return (
        f"{made.date}, {made.machine}, {made.minutes:.0f} minutes: `{made.command}`, "
        f"recipe `{made.recipe}`, training seeds {seeds}. All numbers in percent, intervals of 95 %."
    )


def all_numbers(found: Sequence[ArmNumbers], seeds: int) -> str:
    """Return the table of every arm's numbers, in percent."""
    titles = " | ".join(number.title for _, number in NUMBERS)
    head = f"| setting | {titles} | mean of the four | minus the full model | seeds below it |"
    return "\n".join([head, "| --- " * (len(NUMBERS) + 4) + "|", *(_row(one, seeds) for one in found)])


def _row(one: ArmNumbers, seeds: int) -> str:
    # One decimal of a percent: the intervals are several points wide.
    columns = " | ".join(f"{100 * column:.1f}" for column in one.columns)
    mean = f"{100 * one.mean:.1f}{_bounds(one.interval, '.1f')}"
    if one.arm == FULL:
        return f"| {one.arm.title} | {columns} | {mean} | | |"
    difference = f"{100 * one.difference:+.1f}{_bounds(one.difference_interval, '+.1f')}"
    return f"| {one.arm.title} | {columns} | {mean} | {difference} | {one.seeds_below} of {seeds} |"


def _bounds(bounds: Bounds, form: str) -> str:
    return "" if bounds is None else f" [{100 * bounds[0]:{form}}, {100 * bounds[1]:{form}}]"


def comparison(found: Sequence[ArmNumbers], printed: Mapping[str, float], table: str) -> str:
    """Return the paper's means beside ours, and each setting's difference to the full model in both, in percent."""
    # Means of a small model on phantoms and of a large one on real images do not compare; their differences may.
    pairs = settings(found, printed, table)
    full = next(value for one, value in pairs if one.arm == FULL)
    lines = ["| setting | paper | ours | paper, minus full | ours, minus full | the two |", "| --- " * 6 + "|"]
    for one, value in pairs:
        row = f"| {one.arm.title} | {value:.2f} | {100 * one.mean:.1f} |"
        if one.arm == FULL:
            lines.append(f"{row} | | |")
        else:
            lines.append(f"{row} {value - full:+.2f} | {100 * one.difference:+.1f} | {verdict(one, value - full)} |")
    return "\n".join(lines)


def verdict(one: ArmNumbers, printed: float) -> str:
    """Return whether an arm is on the same side of the full model as in the paper, if its interval decides that.

    Args:
        one: Numbers of the arm.
        printed: Printed mean of the setting minus that of the full model.
    """
    bounds = one.difference_interval
    if bounds is None or bounds[0] <= 0 <= bounds[1]:
        return "undecided"
    return "agree" if (one.difference > 0) == (printed > 0) else "disagree"


def agreement(found: Sequence[ArmNumbers], printed: Mapping[str, float], table: str) -> str:
    """Return a sentence that says how many pairs of settings have the paper's order."""
    # Two equal means have no order and count as another order than the paper's.
    pairs = list(combinations(settings(found, printed, table), 2))
    alike = sum((one.mean - other.mean) * (value - another) > 0 for (one, value), (other, another) in pairs)
    return f"{alike} of the {len(pairs)} pairs of settings are in the paper's order, intervals aside."


def settings(found: Sequence[ArmNumbers], printed: Mapping[str, float], table: str) -> list[tuple[ArmNumbers, float]]:
    """Return the arms that a table of the paper has, each with its printed mean, in our order."""
    # The full model has a name in both tables, so a name is chosen by the table's number before its bracket.
    return [(one, printed[name]) for one in found for name in one.arm.paper if name.startswith(f"{table}(")]
