"""A task as a reader of results should know it: what is asked, of which data, under which terms, with which defects."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.tasks.catalog import index
from harness.tasks.spec import TaskSpec

README = "README.md"  # of the folder of a task, with the headings `Licence` and `Known defects`


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCard:
    """What is known of a task or a group without its data.

    Attributes:
        name: As in results.json.
        title: One line.
        members: Tasks of a group; empty for a task.
        gives: Kind of answer: `text`, `choice`, `masks`, ...
        prompt: What the model is asked, with `{name}` where words of the sample go; of a paper's wording if real data
            are asked in it.
        paper: Name and venue of the paper; empty if none is named.
        url: Its address, http or https; empty if none is named.
        headline: (metric, protocol, mean) of the number that stands for the task; None for a group.
        metrics: (metric, protocol), in order.
        strata: Properties by which results are broken down.
        cluster: What is resampled as one in intervals: `patient`, `study`, `image`.
        samples: Number of samples of the release, if the task file says it.
        repeats: Times each sample is asked.
        redistribute, external_api: Whether the terms allow to pass images on, and to send them to a hosted model.
        licence: Paragraphs about the licence of the data.
        defects: (defect, what is done about it).
        remarks: Paragraphs about the defects.
    """

    name: str
    title: str
    members: tuple[str, ...] = ()
    gives: str = ""
    prompt: str = ""
    paper: str = ""
    url: str = ""
    headline: tuple[str, str, str] | None = None
    metrics: tuple[tuple[str, str], ...] = ()
    strata: tuple[str, ...] = ()
    cluster: str = ""
    samples: int | None = None
    repeats: int = 1
    redistribute: bool = False
    external_api: bool = False
    licence: tuple[str, ...] = ()
    defects: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()


@cache  # from files of the package, which do not change
def task_cards() -> Mapping[str, TaskCard]:
    """Return a card of every task and group that the harness ships, by name.

    Raises:
        SpecError: A task file has faults.
    """
    catalog = index()
    tasks, _ = catalog.resolve(list(catalog.entries))
    cards = {task.task: _card(task) for task in tasks}
    for name, group in catalog.groups.items():
        cards[name] = TaskCard(name=name, title=group.title, members=tuple(group.members))
    return cards


def _card(task: TaskSpec) -> TaskCard:
    asked = task.asked_of("real")
    sections = _sections(task.folder / README)
    paper = task.paper
    return TaskCard(
        name=task.task,
        title=task.title,
        gives=task.gives,
        prompt=asked.prompt,
        paper=", ".join(filter(None, (paper.name, paper.venue))),
        url=paper.url if paper.url and paper.url.startswith(("https://", "http://")) else "",
        headline=(task.headline.metric, task.headline.protocol, task.headline.mean),
        metrics=tuple((use.metric, use.protocol) for use in task.metrics),
        strata=task.strata,
        cluster=task.cluster,
        samples=task.release.samples,
        repeats=task.repeats,
        redistribute=task.terms.redistribute,
        external_api=task.terms.external_api,
        licence=_paragraphs(sections.get("licence", "")),
        defects=_rows(sections.get("known defects", "")),
        remarks=_paragraphs(sections.get("known defects", "")),
    )


def _sections(readme: Path) -> Mapping[str, str]:
    """Return the text below each heading of the second level, by the heading in lower case."""
    if not readme.is_file():
        return {}
    parts = re.split(r"^## +(.+)$", readme.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {heading.strip().lower(): text for heading, text in zip(parts[1::2], parts[2::2], strict=True)}


def _paragraphs(text: str) -> tuple[str, ...]:
    """Return the paragraphs of a text in Markdown without its tables."""
    parts = [part.strip() for part in text.split("\n\n")]
    return tuple(_plain(" ".join(part.split())) for part in parts if part and not part.startswith("|"))


def _rows(text: str) -> tuple[tuple[str, str], ...]:
    """Return the first two cells of each line of a table in Markdown, without its head."""
    lines = [line.strip().strip("|") for line in text.splitlines() if line.strip().startswith("|")]
    # `\|` is a bar inside a cell.
    rows = [[_plain(cell.strip()) for cell in re.split(r"(?<!\\)\|", line)] for line in lines[2:]]
    return tuple((row[0], row[1]) for row in rows if len(row) >= 2)


def _plain(text: str) -> str:
    """Return a line of Markdown without its marks."""
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)
    text = re.sub(r"<(https?://[^>]+)>", r"\1", text)
    return re.sub(r"[`*]", "", text).replace("\\|", "|")
