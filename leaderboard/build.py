"""`leaderboard build`: a folder of static pages and data files from entries and published numbers.

The site is a pure function of the two: it holds no time, host or path. It is written whole or not at all: into a folder
beside the old one, which then takes its place.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from harness.errors import DataError, SpecError, listed
from harness.exports.bundles.layout import shipped_names
from harness.exports.task_card import task_cards
from leaderboard.cells import BoardCell, entry_cells, published_cells
from leaderboard.comparison_page.page import extra_pages as comparison_pages
from leaderboard.entry_file import BoardEntry, find_entries, read_entry
from leaderboard.published.mapping import Published, place_published
from leaderboard.published.means import CountCheck, MeanCheck, check_means, impossible_counts
from leaderboard.published.printed import decimals, load_published
from leaderboard.ranks import column_of, rank_columns
from leaderboard.samples.pages import extra_pages as sample_pages
from leaderboard.site.board import Site
from leaderboard.site.export import chosen, csv_parts, json_parts, task_json_parts
from leaderboard.site.extra import ExtraPages
from leaderboard.site.pages import render
from leaderboard.site.places import OVERVIEW, data_file
from leaderboard.site.tables import BOUNDS, chapters
from leaderboard.table_exports.files import table_files

ENTRIES = Path(__file__).parent / "entries"
# Packages that add pages of their own; see `leaderboard.site.extra`.
EXTRA: tuple[ExtraPages, ...] = (comparison_pages, sample_pages)
# A folder with this file is an earlier board, which may be replaced.
MARK = "data.json"
LIMITED = "run with --limit: a part of the samples is no result"
ORACLE = "the model is given the targets: an oracle enters no board"
UNUSABLE = "no answer is usable: every one is empty, refused or failed"
OWN_NAMED = 3  # tasks of one's own that a reason names
MOST_FAULTS = 3  # of a broken entry that are named
MOST_REASON = 300  # characters of each
PRIVATE = "tasks of one's own, which --private-tasks shows"


@dataclass(frozen=True, slots=True)
class Built:
    """The result of a build.

    Attributes:
        index: The page to open.
        published: Count of published numbers on the board.
        reproduced: Count of numbers of evaluated runs on the board.
        phantom: Count of numbers on the phantom page.
        left_out: (entry, reason) of runs that are excluded.
    """

    index: Path
    published: int
    reproduced: int
    phantom: int
    left_out: tuple[tuple[str, str], ...]


def build(entries: Sequence[Path], out: Path, *, private: bool = False, ranks: Path | None = None) -> Built:
    """Write the board.

    An entry that cannot be read is left out with its reason.

    Args:
        entries: Run directories, results.json files, or folders with several; if empty, the entries of the package.
        out: An empty or new folder, or that of an earlier board, which is replaced.
        private: Whether tasks are shown that the harness does not ship.
        ranks: Folder that keeps ranks by the digest of their scores; None: they are computed each time.

    Raises:
        DataError: An entry does not exist, or the published cells cannot be read.
        SpecError: mapping.yaml does not fit the published cells, or `out` holds something else.
    """
    if out.exists() and not out.is_dir():
        raise SpecError(f"--out {out}: expected a folder, found a file")
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        raise SpecError(f"--out {out}: holds other files; name a new or empty folder, or one with an earlier board")
    digits, published, means, counts = _published()
    runs, broken = _read(entries or [ENTRIES])
    kept, excluded = _admit(runs, private=private)
    left_out = (*broken, *excluded)
    reproduced = _ranked(kept, ranks)
    # Phantoms are synthetic patients: their numbers never share a table with those of real ones.
    real = [*published_cells(published, digits, means, counts), *(cell for cell in reproduced if cell.data == "real")]
    phantom = [cell for cell in reproduced if cell.data == "phantom"]
    numbers = [cell for cell in real if cell.value is not None]
    built = Built(
        index=out / OVERVIEW,
        published=sum(cell.row.source == "published" for cell in numbers),
        reproduced=sum(_is_of_a_model(cell) for cell in numbers if cell.row.source != "published"),
        phantom=sum(_is_of_a_model(cell) for cell in phantom if cell.value is not None),
        left_out=left_out,
    )
    with _written_whole(out) as folder:
        written = set[str]()
        for extra in EXTRA:
            for path, content in extra(kept):
                _write(folder, path, (content,))
                written.add(path)
        in_files, whole = chosen([*real, *phantom])
        files = []
        for cells, of_phantoms in ((real, False), (phantom, True)):
            by_place: dict[str, list[BoardCell]] = {}
            for cell in cells:
                by_place.setdefault(cell.place, []).append(cell)
            for place, found in by_place.items():
                _write(folder, data_file(place, "csv", of_phantoms), csv_parts(found))
                _write(folder, data_file(place, "json", of_phantoms), task_json_parts(place, found))
                files.append((place, of_phantoms, len(found)))
        site = Site(
            real=tuple(chapters(published.families, real)),
            phantom=tuple(chapters(published.families, phantom)),
            published=published,
            means=tuple(means),
            counts=tuple(counts),
            left_out=left_out,
            numbers={"published": built.published, "evaluated": built.reproduced, "phantom": built.phantom},
            files=tuple(files),
            whole=whole,
            entries=tuple(kept),
            cards=task_cards(),
            written=frozenset(written),
        )
        for of_site, of_phantoms in ((site.real, False), (site.phantom, True)):
            for path, text in table_files(of_site, phantom=of_phantoms):
                _write(folder, path, (text,))
        for path, page in render(site):
            _write(folder, path, (page,))
        _write(folder, "data.csv", csv_parts(in_files))
        _write(folder, MARK, json_parts(in_files, published, means, left_out, whole))
    return built


@cache  # from files of the package, which do not change
def _published() -> tuple[Mapping[tuple[str, str], int], Published, Sequence[MeanCheck], Sequence[CountCheck]]:
    printed = load_published()
    digits = decimals(printed)
    published = place_published(printed)
    return digits, published, check_means(published.means, digits), impossible_counts(published.cells, digits)


def _read(folders: Sequence[Path]) -> tuple[list[BoardEntry], list[tuple[str, str]]]:
    """Return the entries at or below some folders, and (name, reason) of those that cannot be read."""
    runs: list[BoardEntry] = []
    broken: list[tuple[str, str]] = []
    for folder in folders:
        for name, path in find_entries(folder):
            try:
                runs.append(read_entry(name, path))
            except DataError as error:
                # The place of the file is of this machine; its name among the entries says which it is.
                reason = str(error).replace(f"{path}: ", "").replace(str(path), path.name)
                broken.append((name, shortened(reason)))
    return runs, broken


def shortened(reason: str) -> str:
    """Return the first lines of a reason as one: a broken entry can have thousands of faults."""
    lines = [line[:MOST_REASON] for line in reason.splitlines()]
    more = f"; and {len(lines) - MOST_FAULTS} more" if len(lines) > MOST_FAULTS else ""
    return f"cannot be read: {'; '.join(lines[:MOST_FAULTS])}{more}"


def _ranked(kept: Sequence[BoardEntry], folder: Path | None) -> list[BoardCell]:
    """Return the cells of the entries, with the rank of each that has one."""
    rankings = rank_columns(kept, bounds=tuple(BOUNDS), cache=folder)
    ranked = {column: found.ranks for column, found in rankings.items() if found.ranks}
    cells = []
    for entry in kept:
        for cell in entry_cells(entry):
            column = column_of(cell) if ranked else None
            rank = None if column is None else ranked.get(column, {}).get(entry.name)
            cells.append(cell if rank is None else replace(cell, rank=rank))
    return cells


def _is_of_a_model(cell: BoardCell) -> bool:
    # Ceiling, random and floor are shown in the headers of tables; they are not results of a model.
    return cell.row.model_id not in BOUNDS


def _admit(entries: Sequence[BoardEntry], *, private: bool) -> tuple[list[BoardEntry], tuple[tuple[str, str], ...]]:
    """Return the entries that the board shows, and (name, reason) of what it does not."""
    shipped = frozenset[str]() if private else shipped_names()
    kept: list[BoardEntry] = []
    left_out: list[tuple[str, str]] = []
    for entry in entries:
        answered = [block.answered for block in entry.blocks if block.answered is not None]
        if entry.limited:
            left_out.append((entry.name, LIMITED))
        # The oracle baseline is given the targets too, but it is shown as what it is, the ceiling; and the floor is the
        # baseline that answers nothing.
        elif entry.oracle and (entry.model not in BOUNDS or entry.submitted):
            left_out.append((entry.name, ORACLE))
        elif answered and not any(answered) and (entry.model not in BOUNDS or entry.submitted):
            left_out.append((entry.name, UNUSABLE))
        else:
            names = [*(block.name for block in entry.blocks), *entry.unsupported]
            own = [] if private else [name for name in names if name not in shipped]
            if own:
                left_out.append((entry.name, f"{listed(own, OWN_NAMED)}: {PRIVATE}"))
            if len(own) < len(names):
                kept.append(
                    replace(
                        entry,
                        blocks=tuple(block for block in entry.blocks if block.name not in own),
                        unsupported={task: why for task, why in entry.unsupported.items() if task not in own},
                    )
                )
    return kept, tuple(left_out)


@contextlib.contextmanager
def _written_whole(out: Path) -> Iterator[Path]:
    """Yield a folder to fill beside `out`, which takes its place when it is full; after an error `out` is as before."""
    out = out.resolve()  # a link stays, and the folder that it leads to is replaced
    if not out.parent.exists():
        out.parent.mkdir(parents=True)
    new = Path(tempfile.mkdtemp(prefix=f".{out.name}.new-", dir=out.parent))
    old = new.with_name(new.name.replace(".new-", ".old-"))
    try:
        new.chmod(0o777 & ~_umask())  # mkdtemp makes folders that only their owner may read
        yield new
        # A folder cannot replace one with files in it, so there are two steps; between them the old board is beside.
        if out.exists():
            out.rename(old)
        try:
            new.rename(out)
        except OSError:
            if old.exists():
                old.rename(out)
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _write(folder: Path, path: str, parts: Iterable[str | bytes]) -> None:
    """Write a file of the site in parts."""
    target = folder / path
    assert target.resolve().is_relative_to(folder.resolve()), "a page is inside the site"
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not synced: the same command builds again whatever a power failure destroys.
    with target.open("wb") as file:
        for part in parts:
            file.write(part.encode() if isinstance(part, str) else part)
