"""Tasks, models, metrics, protocols and recipes as rows and as text, for `harness list` and `harness show`."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import SpecError, nearest
from harness.tasks.catalog import index, look_up
from harness.tasks.volume_recipes import RECIPES

Row = dict[str, str]
# Characters that a wrapped column has beside the others; in fewer its words would stand one below the other.
NARROWEST = 30


def rows(what: str, task_paths: Sequence[Path]) -> list[Row]:
    """Return the tasks, models, metrics, protocols or recipes for volumes, one mapping of column to text each."""
    sources: Mapping[str, Callable[[], list[Row]]] = {
        "tasks": lambda: _tasks(task_paths),
        "models": _models,
        "metrics": _metrics,
        "protocols": _protocols,
        "recipes": lambda: [
            {"recipe": recipe.name, "version": str(recipe.version), "what a model gets": recipe.summary}
            for recipe in RECIPES.values()
        ],
    }
    return sources[what]()


def _tasks(task_paths: Sequence[Path]) -> list[Row]:
    catalog = index(task_paths)
    tasks = [
        {"task": entry.name, "family": entry.file.parent.name, "title": entry.title}
        for entry in catalog.entries.values()
    ]
    groups = [
        {"task": group.name, "family": "group", "title": f"{group.title} ({', '.join(group.members)})"}
        for group in catalog.groups.values()
    ]
    return tasks + groups


def _models() -> list[Row]:
    from harness.models.plug_ins import plug_ins
    from harness.models.resolve import BUILT_IN

    built_in = [{"model": name, "what": summary, "from": "harness"} for name, (_, summary) in BUILT_IN.items()]
    plugged = [
        {"model": one.name, "what": f"unusable: {one.fault}" if one.fault else one.target, "from": one.package}
        for one in plug_ins(BUILT_IN)
    ]
    return [*built_in, *plugged, {"model": "path/file.py:Class", "what": "a class of your own", "from": "your file"}]


def _metrics() -> list[Row]:
    from harness.metrics import METRICS

    return [
        {
            "metric": metric.name,
            "protocol": metric.protocol,
            "version": str(metric.version),
            "values": ", ".join(metric.values),
            "suits": ", ".join(sorted(metric.suits)),
            "summary": metric.summary,
        }
        for metric in METRICS
    ]


def _protocols() -> list[Row]:
    from harness.metrics import METRICS

    names = dict.fromkeys(metric.protocol for metric in METRICS)
    return [
        {"protocol": name, "metrics": ", ".join(metric.name for metric in METRICS if metric.protocol == name)}
        for name in names
    ]


def table(found: Sequence[Row], width: int | None = None) -> str:
    """Return the rows as columns of plain text, the last column unpadded.

    Args:
        found: The rows.
        width: Characters in a line. In wider tables the columns that do not fit are wrapped, beside the others or below
            them; None: rows of any width.
    """
    if not found:
        return "nothing"
    names = list(found[0])
    widths = {name: max(len(name), *(len(row[name]) for row in found)) for name in names}
    lines = [dict(zip(names, names, strict=True)), *found]
    if width is None or sum(widths.values()) + 2 * (len(names) - 1) <= width:
        return "\n".join("  ".join(row[name].ljust(widths[name]) for name in names).rstrip() for row in lines)
    # Columns from the left for as long as they fit; long ones do not, nor anything behind them.
    beside: list[str] = []
    while sum(widths[name] + 2 for name in [*beside, names[len(beside)]]) <= width:
        beside.append(names[len(beside)])
    beside = beside or names[:1]
    taken = sum(widths[name] + 2 for name in beside)
    parts = []
    for row in lines:
        first = "".join(row[name].ljust(widths[name] + 2) for name in beside)
        rest = " | ".join(row[name] for name in names[len(beside) :] if row[name])
        if width - taken >= NARROWEST:
            parts += textwrap.wrap(rest, width, initial_indent=first, subsequent_indent=" " * taken) or [first.rstrip()]
        else:
            parts += [first.rstrip(), *textwrap.wrap(rest, width, initial_indent="    ", subsequent_indent="    ")]
    return "\n".join(parts)


def describe(name: str, task_paths: Sequence[Path]) -> dict[str, Any]:
    """Return a task's prompt, data and scoring as JSON values, or a group's members, or a metric's protocols.

    Rows that can be gamed have their certificate in words.

    Raises:
        SpecError: There is no such task, group or metric.
    """
    from harness.metrics import METRICS, names
    from harness.metrics.certificates import certificate_of
    from harness.records.codec import to_json

    certificates = {
        (row.name, row.protocol): found.text for row in METRICS if (found := certificate_of(row)) is not None
    }
    if name in names():
        return {
            "metric": name,
            "protocols": [
                {
                    "protocol": row.protocol,
                    "version": row.version,
                    "summary": row.summary,
                    "formula": row.formula,
                    "source": row.source,
                    **({"caveat": row.caveat} if row.caveat else {}),
                    **({"certificate": certificates[row.name, row.protocol]} if row.certificate else {}),
                }
                for row in METRICS
                if row.name == name
            ],
        }
    catalog, found_tasks = look_up([name], task_paths)
    if len(found_tasks) != 1:
        raise SpecError(f"expected one task or group, got {len(found_tasks)}: {', '.join(found_tasks)}")
    name = found_tasks[0]
    group = catalog.group(name)
    if group is not None:
        members = [describe(member, task_paths) for member in group.members]
        return {"group": group.name, "title": group.title, "combine": group.combine, "tasks": members}
    try:
        task = catalog.load(name)
    except SpecError as error:
        if name not in catalog.entries and (near := nearest(name, names())):
            raise SpecError(f"{error}\nno metric either{near}; `harness list metrics` names them all") from error
        raise
    description: dict[str, Any] = to_json(task)
    description.pop("file", None)  # a path of this machine
    description["metrics"] = [
        {"metric": use.metric, "protocol": use.protocol, **use.parameters} for use in task.metrics
    ]
    # `to_json` leaves defaults out; a reader should see these all the same.
    description["release"].setdefault("split", task.release.split)
    description["headline"].setdefault("mean", task.headline.mean)
    description["digest"] = task.digest
    gamed = {
        f"{use.metric} ({use.protocol})": text
        for use in task.metrics
        if (text := certificates.get((use.metric, use.protocol)))
    }
    if gamed:
        description["certificates"] = gamed
    return description


def sheet(description: Mapping[str, Any], indent: str = "") -> str:
    """Return a description as indented text."""
    lines = []
    for name, value in description.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{name}:", sheet(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            lines.append(f"{indent}{name}:")
            for item in value:
                flat = all(not isinstance(part, Mapping | list) for part in item.values())
                one_line = "  ".join(f"{key} {part}" for key, part in item.items())
                lines.append(f"{indent}  - {one_line}" if flat else f"{sheet(item, indent + '  ')}\n")
        elif isinstance(value, list):
            lines.append(f"{indent}{name}: {', '.join(map(str, value))}")
        else:
            text = str(value).replace("\n", f"\n{indent}  ")
            lines.append(f"{indent}{name}: {text}")
    return "\n".join(lines)
