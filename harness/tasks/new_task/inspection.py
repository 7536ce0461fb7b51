"""Recognise the layout of a folder or file, and propose tasks over it."""

import re
from collections.abc import Sequence
from pathlib import Path

from harness.data.releases.question_tables.rows import is_table
from harness.errors import SpecError
from harness.tasks.new_task.draft import Choices, Draft
from harness.tasks.new_task.listing import Entry, entries_of, is_split_name
from harness.tasks.new_task.masks import image_mask_draft
from harness.tasks.new_task.questions import has_questions, table_draft
from harness.tasks.new_task.volumes import bids_draft, dicom_draft, is_bids, is_nnunet, may_be_dicom, nnunet_draft

LAYOUTS = (
    "a folder of images with masks, nnU-Net's folders with dataset.json, BIDS with derivatives, DICOM series with "
    "DICOM SEG, or a table of questions (CSV, TSV, JSON, JSON lines, parquet)"
)


def look(path: Path, choices: Choices) -> list[Draft]:
    """Return the tasks that a folder or file can become.

    Args:
        path: The folder or file.
        choices: What the user has decided on the command line.
    Raises:
        SpecError: The path does not exist, has none of the layouts, or can be read in several ways.
        DataError: A file in it cannot be read.
    """
    path = path.resolve()
    if path.is_file():
        if path.name == "dataset.json" and is_nnunet(path.parent):
            return look(path.parent, choices)
        if not is_table(path.name):
            hint = "; save the sheet as CSV in UTF-8" if path.suffix.lower() in (".xlsx", ".xls", ".ods") else ""
            raise SpecError(f"{path}: expected {LAYOUTS}; found a file {path.suffix or 'without a suffix'}{hint}")
        return table_draft(path, choices)
    if not path.is_dir():
        raise SpecError(f"{path}: expected a folder or a table, found nothing")
    if is_nnunet(path):
        return [nnunet_draft(path, entries_of(path), choices)]
    inner = sorted(one.name for one in path.iterdir() if one.is_dir() and is_nnunet(one))
    if inner:
        raise SpecError(f"{path}: expected one dataset, found {', '.join(inner)}; name one of them")
    entries = entries_of(path)
    if not entries:
        raise SpecError(f"{path}: expected {LAYOUTS}; found an empty folder")
    if is_bids(entries):
        return [bids_draft(path, entries, choices)]
    dicom = dicom_draft(path, entries, choices) if may_be_dicom(entries) else None
    if dicom is not None:
        return [dicom]
    masks = image_mask_draft(path, entries, choices)
    if masks is not None:
        return [masks]
    tables = [entry for entry in entries if len(entry.folder) < 2 and is_table(entry.path)]
    # The Hugging Face Hub cuts a table into several parquet files; the first has the columns of all.
    parts: dict[str, str] = {}
    for entry in tables:
        parts.setdefault(re.sub(r"-\d+-of-\d+", "-*", entry.path), entry.path)
    asking = {pattern: first for pattern, first in parts.items() if has_questions(path / first)}
    if list(asking) == list(asking.values()) and len(asking) == 1:
        return table_draft(path / next(iter(asking)), choices)
    if asking:
        pattern, splits = _split_pattern(list(asking))
        if not splits:
            raise SpecError(f"{path}: expected one table of questions, found {', '.join(asking)}; name one of them")
        wanted = (one for start in (choices.split or "test", "test", "val", "dev") for one in asking if start in one)
        return table_draft(path / asking[next(wanted, next(iter(asking)))], choices, pattern=pattern, splits=splits)
    raise SpecError(f"{path}: expected {LAYOUTS}; found {_found(entries)}")


def _split_pattern(paths: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the pattern of paths that differ in the name of a split alone, and the splits; empty if none.

    `trainset.json` and `testset.json` give `{split}set.json`.
    """
    for name in (paths[0][start:end] for start in range(len(paths[0])) for end in range(start + 1, len(paths[0]) + 1)):
        before, _, after = paths[0].partition(name)
        inner = [path[len(before) : len(path) - len(after)] for path in paths]
        whole = all(f"{before}{split}{after}" == path for split, path in zip(inner, paths, strict=True))
        if whole and all(map(is_split_name, inner)):
            return f"{before}{{split}}{after}", tuple(sorted(inner))
    return "", ()


def _found(entries: list[Entry]) -> str:
    """Return what a folder holds, by the suffixes of its files."""
    suffixes: dict[str, int] = {}
    for entry in entries:
        suffixes[entry.suffix or "without suffix"] = suffixes.get(entry.suffix or "without suffix", 0) + 1
    counted = sorted(suffixes.items(), key=lambda item: (-item[1], item[0]))
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in counted[:6])
    folders = sorted({entry.folder[0] for entry in entries if entry.folder})
    return f"{kinds} in {', '.join(folders[:8]) or 'no folder'}; give the patterns with --images and --masks"
