"""`leaderboard add`: file a verified bundle among the entries of the board.

An entry is a folder with `results.json` as it was computed here, `scores/` with the score of every sample, and
`entry.json`, which says that it was submitted and from which file. Nothing else of the bundle is kept.
"""

import contextlib
import errno
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import DataError, SpecError
from harness.exports.bundles import layout
from harness.records.codec import sha256_file
from harness.runs.directory import RunDirectory
from leaderboard.entry_file import MARK
from leaderboard.verify import Verified, verify

SCHEMA = 1
MOST_NAME = 48
# Before the name of a folder that is still written; `leaderboard build` does not look into such.
UNFINISHED = ".adding-"


@dataclass(frozen=True, slots=True)
class Filed:
    """What `add` did: the entry's folder, whether it is new, and the outcome of the verification."""

    folder: Path
    new: bool
    record: Mapping[str, Any]


def keep_receipt(verified: Verified, scores: Path) -> None:
    """Keep the outcome of a verification, so that the bundle can be filed later without its data.

    Args:
        verified: The outcome.
        scores: The folder of the scores by sample.
    """
    folder = layout.receipt_folder(verified.sha256)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.is_dir():
        return
    with _written_at_once(folder) as unfinished:
        directory = RunDirectory(unfinished)
        directory.scores_folder.mkdir()
        for path in sorted(scores.glob("*.parquet")):
            _copy_scores(path, directory.scores_folder / path.name)
        text = json.dumps(verified.results, indent=1, ensure_ascii=False, allow_nan=False)
        directory.results_path.write_text(text + "\n", encoding="utf-8")
        record = {
            "schema": SCHEMA,
            "source": "submitted",
            "bundle_sha256": verified.sha256,
            "predictions": verified.predictions,
            "numbers": verified.compared,
            "private": list(verified.private),
            "parameters": dict(verified.parameters),
            "notes": list(verified.notes),
        }
        (unfinished / MARK).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def add(
    path: Path,
    entries: Path,
    *,
    given_roots: Sequence[str] = (),
    task_paths: Sequence[Path] = (),
    private: bool = False,
    work: Path | None = None,
    notice: Callable[[str], None] = lambda _: None,
) -> Filed | Verified:
    """File a bundle as an entry; a bundle that is filed already is left as it is.

    Args:
        path: The bundle.
        entries: The folder of the entries.
        given_roots: As `--data-root` gives them; empty: the bundle must have been verified on this machine before.
        task_paths: Folders with further task files.
        private: Whether tasks of one's own may enter.
        work: Folder below which the bundle is unpacked.
        notice: Called with news, one line each.
    Returns:
        What was filed; or the outcome of a verification that says nothing of the numbers, and nothing is filed.
    Raises:
        DataError: The bundle is refused, or is on phantoms, limited, scored by other parameters, or on tasks of one's
            own without `private`.
        SpecError: `entries` is no folder.
    """
    if not entries.is_dir():
        raise SpecError(f"--entries {entries}: expected a folder; make it, or name another")
    receipt = layout.receipt_folder(sha256_file(path)) if path.is_file() else None
    if receipt is None or given_roots or not receipt.is_dir():
        done = verify(path, given_roots=given_roots, task_paths=task_paths, work=work, notice=notice, keep=keep_receipt)
        if done.unverified:
            return done
        receipt = layout.receipt_folder(done.sha256)
    record = json.loads((receipt / MARK).read_text(encoding="utf-8"))
    results = RunDirectory(receipt).read_results()
    _check_may_enter(record, results, private=private)
    for mark in sorted(entries.glob(f"*/{MARK}")):
        with contextlib.suppress(ValueError, OSError, AttributeError):
            if json.loads(mark.read_text(encoding="utf-8")).get("bundle_sha256") == record["bundle_sha256"]:
                return Filed(mark.parent, new=False, record=record)
    model = results["model"]
    plain = re.sub(r"[^a-z0-9]+", "-", str(model.get("name") or model["id"]).lower()).strip("-")[:MOST_NAME]
    folder = entries / f"{plain or 'model'}-{record['bundle_sha256'][:8]}"
    if folder.exists():
        raise SpecError(f"{folder}: is there already; remove it or name another --entries")
    with _written_at_once(folder) as unfinished:
        shutil.copytree(receipt, unfinished, dirs_exist_ok=True)
    return Filed(folder, new=True, record=record)


def _check_may_enter(record: Mapping[str, Any], results: Mapping[str, Any], *, private: bool) -> None:
    """Raise DataError if a verified bundle enters no board."""
    if results["data"] == "phantom":
        raise DataError("the run is on synthetic patients, whose numbers enter no board")
    if results["limited"]:
        raise DataError("the run has --limit: a part of the samples is no result")
    if record["parameters"]:
        raise DataError(
            f"the run was scored with --param {', '.join(record['parameters'])}; a board takes the protocols as they "
            "are"
        )
    if record["private"] and not private:
        raise DataError(
            f"{', '.join(record['private'])}: no task that MedGround ships; --private-tasks files it for a board of "
            "your own"
        )


def _copy_scores(source: Path, target: Path) -> None:
    """Copy a file of scores without the details, which may quote answers and targets."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as file:
        columns = [name for name in file.schema_arrow.names if name != "detail"]
        with pq.ParquetWriter(target, file.read_row_group(0, columns=columns).schema, compression="zstd") as writer:
            for batch in file.iter_batches(columns=columns):
                writer.write_batch(batch)


@contextlib.contextmanager
def _written_at_once(folder: Path) -> Iterator[Path]:
    """Yield a folder to fill, which gets its name when it is full."""
    unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder.parent))
    try:
        unfinished.chmod(0o755)
        yield unfinished
        try:
            unfinished.rename(folder)
        except OSError as error:
            # Of two processes that file the same bundle, the second finds the folder of the first, which is equal.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
