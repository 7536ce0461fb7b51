"""The numbers of a run as plain text for the terminal: the headline of each task, or every number."""

from collections.abc import Mapping, Sequence
from typing import Any

from harness.models.description import display_name
from harness.scoring.intervals import FEWEST_CLUSTERS
from harness.scoring.results import headline_row

# Marks the headline of a task among all rows.
MARK = "*"
# The table of headlines is wider only if it must be: terminals and logs have at least 80 columns.
WIDTH = 80


def number(value: float | None) -> str:
    """Return a value with four decimals; a dash for None."""
    return "-" if value is None else f"{value:.4f}"


def interval(ci: Sequence[float] | None) -> str:
    """Return an interval with four decimals; a dash for None."""
    return "-" if ci is None else f"[{ci[0]:.4f}, {ci[1]:.4f}]"


def metric_name(row: Mapping[str, Any]) -> str:
    """Return the name of a row's metric, followed by that of its value if the metric has several."""
    return str(row["metric"]) if row["name"] == row["metric"] else f"{row['metric']} {row['name']}"


def mean_name(block: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Return the kind of a row's mean, with the stratum that a macro mean is over."""
    return f"macro over {block['headline']['over']}" if row["mean"] == "macro" else str(row["mean"])


def answered(block: Mapping[str, Any]) -> str:
    """Return `K of N`: the answers that can be scored, out of all samples."""
    if "answered" not in block:  # a run that an older version scored
        return f"{block['counts'].get('ok', 0) + block['counts'].get('truncated', 0)} of {block['wanted']}"
    return f"{block['answered']} of {block['wanted']}"


def why_no_interval(row: Mapping[str, Any]) -> str:
    """Return the reason why a number has no interval; empty if it has one, or has no value either."""
    if row["ci"] is not None or row["value"] is None:
        return ""
    if row["clusters"] < FEWEST_CLUSTERS:
        return f"fewer than {FEWEST_CLUSTERS} patients"
    return str(row.get("note") or f"fewer than {FEWEST_CLUSTERS} patients in a stratum").removeprefix("no interval: ")


def by_presence(block: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the rows that show present and absent targets apart; empty if a task has only one kind.

    Dice and similar metrics have no value if both masks are empty, so over absent targets they count false positives.
    `no_target_accuracy` replaces them there if the task has it.
    """
    row = headline_row(block)
    if row is None:
        return []
    parts = {
        (other["metric"], other["protocol"], *other["stratum"].values()): other
        for other in block["metrics"]
        if other["stratum"]
        and list(other["stratum"]) == ["presence"]
        and other["name"] in (row["name"], other["metric"])
    }
    asked = (row["metric"], row["protocol"])
    present = parts.get((*asked, "present"))
    absent = parts.get(("no_target_accuracy", "standard", "absent")) or parts.get((*asked, "absent"))
    return [present, absent] if present is not None and absent is not None else []


def table(results: Mapping[str, Any], *, every_number: bool = False, width: int = WIDTH) -> str:
    """Return the numbers of a run as plain text.

    Args:
        results: The content of `results.json`.
        every_number: One row per metric, protocol and mean, with that of the headline marked, in place of one row per
            task, its headline; strata are left out in both.
        width: Characters in a line; what does not fit into the rows, such as the titles of the tasks, goes below or
            above them.
    """
    limited = "   limited" if results["limited"] else ""
    head = f"model {display_name(results['model'])}   data {results['data']}{limited}"
    lines = _every_number(results, width) if every_number else _headlines(results, width)
    lines += [f"unsupported  {task}: {reason}" for task, reason in results["unsupported"].items()]
    lines += unavailable_lines(results["unavailable"])
    return "\n".join([head, *lines])


def unavailable_lines(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what could not be run or scored here with its reason, and the remedy below; once, if several share it."""
    lines = []
    for place, item in enumerate(items):
        lines.append(f"unavailable  {item['task']}: {item['reason']}")
        if place + 1 == len(items) or items[place + 1]["remedy"] != item["remedy"]:
            lines.append(f"  to get it: {item['remedy']}")
    return lines


def _headlines(results: Mapping[str, Any], width: int) -> list[str]:
    rows = [("task", "headline", "value", "95 % interval", "n", "failed", "answered")]
    titles: list[str] = []
    notes: list[str] = []
    reasons: dict[str, list[str]] = {}
    more = 0
    for task, block in results["tasks"].items():
        row = headline_row(block)
        titles.append(str(block.get("title", "")))
        more += sum(other["stratum"] is None for other in block["metrics"])
        wanted = block["headline"]
        if row is None:
            rows.append((task, f"{wanted['metric']} {wanted['protocol']}", "-", "-", "-", "-", answered(block)))
            notes.append(f"{task}: its headline could not be computed")
            continue
        more -= 1
        mean = "" if row["mean"] == "micro" else f", {mean_name(block, row)}"
        name = f"{metric_name(row)} {row['protocol']}{mean}"
        counts = (str(row["n"]), str(row["failed"]), answered(block))
        rows.append((task, name, number(row["value"]), interval(row["ci"]), *counts))
        for part in by_presence(block):
            (presence,) = part["stratum"].values()
            name = f"  {presence}: {metric_name(part)} {part['protocol']}"
            rows.append(
                ("", name, number(part["value"]), interval(part["ci"]), str(part["n"]), str(part["failed"]), "")
            )
            titles.append("")
        if reason := why_no_interval(row):
            reasons.setdefault(reason, []).append(task)
        if row.get("unparsed"):
            notes.append(f"{task}: {row['unparsed']} of {row['n']} replies could not be read as an answer")
        if block["coverage"] < 1:
            lack = "the other answers lack a score or a judgement of at least one metric"
            notes.append(f"{task}: coverage {block['coverage']:.1%}, {lack}")
    lines = _beside_or_below(rows, titles, width)
    notes += [f"no interval: {reason} ({', '.join(tasks)})" for reason, tasks in reasons.items()]
    if more > 0:
        notes.append(f"{more} more number{'s' if more > 1 else ''}, of other metrics, protocols and means: --all")
    return [*lines, *notes]


def _beside_or_below(rows: Sequence[tuple[str, ...]], titles: Sequence[str], width: int) -> list[str]:
    """Return the table of headlines; titles and names of headlines go below their rows if they are too long."""
    last = ["title" if any(titles) else "", *titles]
    lines = columns([(*row, title) for row, title in zip(rows, last, strict=True)])
    if max(map(len, lines)) <= width:
        return lines
    below = list(titles)
    lines = columns(rows)
    if max(map(len, lines)) > width:
        below = [
            ", ".join(filter(None, (row[1], title))) if row[0] else ""
            for row, title in zip(rows[1:], titles, strict=True)
        ]
        # Rows of a part of a task do not name the task; their own name, without the protocol, takes its place.
        lines = columns([(row[0] or row[1].rpartition(" ")[0], *row[2:]) for row in rows])
    below = [words if len(words) + 2 <= width else f"{words[: width - 5]}..." for words in below]
    pairs = [[line, *([f"  {words}"] if words else [])] for line, words in zip(lines[1:], below, strict=True)]
    return [lines[0], *(line for pair in pairs for line in pair)]


def _every_number(results: Mapping[str, Any], width: int) -> list[str]:
    rows = [("", "task", "metric", "protocol", "mean", "value", "95 % interval", "n", "failed", "answered", "coverage")]
    for task, block in results["tasks"].items():
        headline = headline_row(block)
        rows += [
            (
                MARK if row is headline else "",
                task,
                metric_name(row),
                row["protocol"],
                mean_name(block, row),
                number(row["value"]),
                interval(row["ci"]),
                str(row["n"]),
                str(row["failed"]),
                answered(block),
                f"{block['coverage']:.1%}",
            )
            for row in block["metrics"]
            if row["stratum"] is None
        ]
    lines = columns(rows)
    if max(map(len, lines)) > width:
        # Counts that all rows of a task share are printed once, above them.
        shared = {row[1]: f"{row[1]}: answered {row[9]}, coverage {row[10]}" for row in rows[1:]}
        short = columns([(row[0], *row[2:9]) for row in rows])
        lines = [short[0]]
        for task, words in shared.items():
            lines += [words, *(line for line, row in zip(short[1:], rows[1:], strict=True) if row[1] == task)]
    return [*lines, f"{MARK} headline of its task"]


def columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return rows of cells as lines, each column as wide as its widest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
