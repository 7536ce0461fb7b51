"""A summary of the findings in the data for the terminal; integrity.json and its page hold all of them."""

import json
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path

from harness.data.integrity import FINDINGS, Finding, Integrity
from harness.data.manifest import Prepared, read_report
from harness.errors import DataError

# Lines per task, so that the findings can be read at a glance among the lines of the run.
MOST_LINES = 15
# Findings shown per kind; fewer if there are many kinds.
EXAMPLES = 3
# Larger reports are not read whole: that of a release of millions of files could fill the memory.
LARGEST = 16 * 2**20
# Characters of one finding's line.
LONGEST = 200


def lines_of(prepared: Iterable[tuple[str, Prepared]]) -> list[str]:
    """Return what was found in the data of some tasks, (name, data) each; those that share data are named together."""
    by_report: dict[Path, list[str]] = {}
    for task, data in prepared:
        by_report.setdefault(data.integrity, []).append(task)
    lines = []
    for path, tasks in by_report.items():
        try:
            if path.is_file() and path.stat().st_size > LARGEST:
                lines += _counts_alone(tasks, path)
                continue
            report = read_report(path)
        except (DataError, OSError, ValueError) as error:
            # Findings are remarks: an unreadable report must not end the run.
            lines.append(f"{', '.join(tasks)}: {error}")
            continue
        lines += findings_text(tasks, report, path)
    return lines


def _counts_alone(tasks: Sequence[str], path: Path) -> list[str]:
    """Return the kinds and counts of a report whose findings are too many to be read for a few lines.

    Raises:
        ValueError: The file is no report.
    """
    with path.open(encoding="utf-8") as file:
        # The counts come before the findings, and every key of the report has a line of its own.
        head = "".join(takewhile(lambda line: not line.startswith(' "findings"'), file))
    counts: dict[str, int] = json.loads(f"{head.rstrip().rstrip(',')}}}")["counts"]
    most = sorted(counts.items(), key=lambda item: -item[1])[: MOST_LINES - 2]
    return [
        f"{', '.join(tasks)}: found in the data:",
        *(f"  {kind} {count:,}: {FINDINGS.get(kind, '')}" for kind, count in most),
        f"  all of it: {path}, or `harness prepare {tasks[0]}`",
    ]


def findings_text(tasks: Sequence[str], report: Integrity, path: Path) -> list[str]:
    """Return a report in at most MOST_LINES lines: counts by kind, the first of each, repairs, and where the rest is.

    Args:
        tasks: The tasks that use the data.
        report: The report; without findings and repairs there is no line.
        path: Where the whole report is.
    """
    repairs = ", ".join(f"{name} {count:,}" for name, count in report.repairs.items())
    names = ", ".join(tasks)
    if not report.findings:
        return [f"{names}: repaired {repairs}"] if repairs else []
    by_kind = {kind: sorted(found for found in report.findings if found.kind == kind) for kind in report.counts}
    lost = f", {report.defective:,} of them cannot be asked" if report.defective else ""
    head = f"{names}: {report.samples:,} samples{lost}; found in the data:"
    tail = [f"  repaired: {repairs}"] if repairs else []
    tail.append(f"  all of it: {path}, or `harness prepare {tasks[0]}`")
    room = MOST_LINES - 1 - len(tail)
    shown = next(
        (
            count
            for count in range(EXAMPLES, 0, -1)
            if sum(1 + min(count, len(found)) for found in by_kind.values()) <= room
        ),
        0,
    )
    kinds = list(by_kind)
    if len(kinds) > room:
        kinds = kinds[: room - 1]
    lines = [head]
    for kind in kinds:
        found = by_kind[kind]
        of = f" of {report.checked[kind]:,}" if kind in report.checked else ""
        lines.append(f"  {kind} {len(found):,}{of}: {FINDINGS[kind]}")
        lines += [f"    {_one(finding)}" for finding in found[:shown]]
    if len(kinds) < len(by_kind):
        lines.append(f"  and {len(by_kind) - len(kinds)} more kinds")
    return [*lines, *tail]


def _one(finding: Finding) -> str:
    text = f"{finding.where}: {finding.detail}" if finding.detail else finding.where
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def reason_of(defect: str, report: Integrity) -> str:
    """Return a sample's defect with what the report says of its file, such as what was expected and found in it."""
    for finding in report.findings:
        if finding.detail and finding.where in defect and finding.detail not in defect:
            return f"{defect}: {finding.detail}"
    return defect
