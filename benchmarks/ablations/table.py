"""The tables of the ablations in Markdown, beside what the paper prints for the same settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from benchmarks.ablations.arms import Study
from benchmarks.ablations.statistics import ArmNumbers, Bounds


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


def page(
    study: Study,
    found: Sequence[ArmNumbers],
    compared: Sequence[ArmNumbers],
    printed: Mapping[str, float],
    made: Circumstances,
) -> str:
    """Return the circumstances, all numbers, and a comparison per table of the paper, in Markdown.

    Args:
        study: What was compared.
        found: The arms, with all numbers of the study.
        compared: The arms, with those numbers whose mean the paper prints.
        printed: Setting -> printed mean in percent.
        made: How the numbers came about.
    """
    parts = [circumstances(made), all_numbers(study, found, len(made.seeds))]
    for table, title in study.tables.items():
        pairs = settings(study, compared, printed, table)
        parts += [f"### {title}", comparison(study, pairs), agreement(pairs)]
    return "\n\n".join(parts)


def circumstances(made: Circumstances) -> str:
    """Return a paragraph that says when, how and from which recipe the numbers were made."""
    seeds = ", ".join(map(str, made.seeds))
    return (
        f"{made.date}, {made.machine}, {made.minutes:.0f} minutes: `{made.command}`, "
        f"recipe `{made.recipe}`, training seeds {seeds}. All numbers in percent, intervals of 95 %."
    )


def all_numbers(study: Study, found: Sequence[ArmNumbers], seeds: int) -> str:
    """Return the table of every arm's numbers, in percent."""
    titles = " | ".join(number.title for _, number in study.numbers)
    lines = [
        f"| setting | {titles} | mean of the four | minus the full model | seeds below it |",
        "| --- " * (len(study.numbers) + 4) + "|",
    ]
    for one in found:
        # One decimal of a percent: the intervals are several points wide.
        columns = " | ".join(f"{100 * column:.1f}" for column in one.columns)
        row = f"| {one.arm.title} | {columns} | {100 * one.mean:.1f}{_bounds(one.interval, '.1f')} |"
        if one.arm == study.full:
            lines.append(f"{row} | |")
        else:
            difference = f"{100 * one.difference:+.1f}{_bounds(one.difference_interval, '+.1f')}"
            lines.append(f"{row} {difference} | {one.seeds_below} of {seeds} |")
    return "\n".join(lines)


def _bounds(bounds: Bounds, form: str) -> str:
    return "" if bounds is None else f" [{100 * bounds[0]:{form}}, {100 * bounds[1]:{form}}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """An arm beside what the paper prints for the same setting.

    Attributes:
        ours: Numbers of the arm.
        value: The printed mean, in percent.
        difference: The printed mean minus that of the setting with which the paper's is compared.
    """

    ours: ArmNumbers
    value: float
    difference: float


def settings(study: Study, found: Sequence[ArmNumbers], printed: Mapping[str, float], table: str) -> list[Setting]:
    """Return the arms that a table of the paper has, in our order."""
    # The full model may have a name in several tables, so a name is chosen by the table's number before its bracket.
    named = [(one, name) for one in found for name in one.arm.paper if name.startswith(f"{table}(")]
    full = next(name for one, name in named if one.arm == study.full)
    return [
        Setting(ours=one, value=printed[name], difference=printed[name] - printed[study.bases.get(name, full)])
        for one, name in named
    ]


def comparison(study: Study, pairs: Sequence[Setting]) -> str:
    """Return the paper's means beside ours, and each setting's difference in both, in percent."""
    # Means of a small model on phantoms and of a large one on real images do not compare; their differences may.
    paper = "paper, minus its base" if study.bases else "paper, minus full"
    lines = [f"| setting | paper | ours | {paper} | ours, minus full | the two |", "| --- " * 6 + "|"]
    for pair in pairs:
        one = pair.ours
        row = f"| {one.arm.title} | {pair.value:.2f} | {100 * one.mean:.1f} |"
        if one.arm == study.full:
            lines.append(f"{row} | | |")
        else:
            ours = f"{100 * one.difference:+.1f}{_bounds(one.difference_interval, '+.1f') if study.bases else ''}"
            lines.append(f"{row} {pair.difference:+.2f} | {ours} | {verdict(pair)} |")
    return "\n".join(lines)


def verdict(pair: Setting) -> str:
    """Return whether an arm is on the same side of the full model as in the paper, if its interval decides that."""
    bounds = pair.ours.difference_interval
    if bounds is None or bounds[0] <= 0 <= bounds[1]:
        return "undecided"
    return "agree" if (pair.ours.difference > 0) == (pair.difference > 0) else "disagree"


def agreement(pairs: Sequence[Setting]) -> str:
    """Return a sentence that says how many pairs of settings have the paper's order."""
    # By their differences, as not all settings of a paper need have the same base. Two equal ones have no order and
    # count as another order than the paper's.
    both = list(combinations(pairs, 2))
    alike = sum(
        (one.ours.difference - other.ours.difference) * (one.difference - other.difference) > 0 for one, other in both
    )
    return f"{alike} of the {len(both)} pairs of settings are in the paper's order, intervals aside."
