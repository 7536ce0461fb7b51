"""`leaderboard build`: a folder of static pages and data files from entries and published numbers.

The site is a pure function of the two: it holds no time, host or path.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import SpecError, listed
from harness.exports.bundles.layout import shipped_names
from harness.records.atomic_files import write_atomically
from leaderboard.cells import BoardCell, entry_cells, published_cells
from leaderboard.entry_file import BoardEntry, read_entries
from leaderboard.published.mapping import place_published
from leaderboard.published.means import check_means, impossible_counts
from leaderboard.published.printed import decimals, load_published
from leaderboard.site.export import as_csv, as_json
from leaderboard.site.pages import Site, render
from leaderboard.site.places import TASK_FOLDER
from leaderboard.site.tables import BOUNDS, chapters

ENTRIES = Path(__file__).parent / "entries"
# A folder with this file is an earlier board, which may be replaced.
MARK = "data.json"
LIMITED = "run with --limit: a part of the samples is no result"
ORACLE = "the model is given the targets: an oracle enters no board"
UNUSABLE = "no answer is usable: every one is empty, refused or failed"
OWN_NAMED = 3  # tasks of one's own that a reason names
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


def build(entries: Sequence[Path], out: Path, *, private: bool = False) -> Built:
    """Write the board.

    Args:
        entries: Run directories, results.json files, or folders with several; if empty, the entries of the package.
        out: An empty or new folder, or that of an earlier board, which is replaced.
        private: Whether tasks are shown that the harness does not ship.

    Raises:
        DataError: An entry or the published cells cannot be read.
        SpecError: mapping.yaml does not fit the published cells, or `out` holds something else.
    """
    if out.exists() and not out.is_dir():
        raise SpecError(f"--out {out}: expected a folder, found a file")
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        raise SpecError(f"--out {out}: holds other files; name a new or empty folder, or one with an earlier board")
    # Everything is read and checked, and every page rendered, before anything is written: a fault leaves the old board.
    runs = [entry for folder in (entries or [ENTRIES]) for entry in read_entries(folder)]
    printed = load_published()
    digits = decimals(printed)
    published = place_published(printed)
    means = check_means(published.means, digits)
    counts = impossible_counts(published.cells, digits)
    kept, left_out = _admit(runs, private=private)
    reproduced = [cell for entry in kept for cell in entry_cells(entry)]
    # Phantoms are synthetic patients: their numbers never share a table with those of real ones.
    real = [*published_cells(published, digits, means, counts), *(cell for cell in reproduced if cell.data == "real")]
    phantom = [cell for cell in reproduced if cell.data == "phantom"]
    site = Site(
        real=tuple(chapters(published.families, real)),
        phantom=tuple(chapters(published.families, phantom)),
        published=published,
        means=tuple(means),
        counts=tuple(counts),
        left_out=left_out,
    )
    pages = render(site)
    pages[MARK] = as_json([*real, *phantom], published, means, left_out)
    pages["data.csv"] = as_csv([*real, *phantom])
    _write(out, pages)
    numbers = [cell for cell in real if cell.value is not None]
    return Built(
        index=out / "index.html",
        published=sum(cell.row.source == "published" for cell in numbers),
        reproduced=sum(_is_of_a_model(cell) for cell in numbers if cell.row.source != "published"),
        phantom=sum(_is_of_a_model(cell) for cell in phantom if cell.value is not None),
        left_out=left_out,
    )


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


def _write(out: Path, pages: dict[str, str]) -> None:
    """Write every page, and remove pages of an earlier board whose tasks are gone."""
    (out / TASK_FOLDER).mkdir(parents=True, exist_ok=True)
    for old in (out / TASK_FOLDER).glob("*.html"):
        if f"{TASK_FOLDER}/{old.name}" not in pages:
            old.unlink()
    for name, text in pages.items():
        # Not synced: the same command builds again whatever a power failure destroys.
        write_atomically(out / name, text, durable=False)
