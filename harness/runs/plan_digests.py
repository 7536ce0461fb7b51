"""The digests in `plan/cells.json`, by which a damaged plan is noticed before it is used.

The plan holds questions and targets: one flipped bit could silently change a result. So
`cells.json` holds the SHA-256 of every plan file, and one of its own content. A damaged plan is written
again from the manifest, which has a digest of its own and determines the plan.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.errors import DataError, InterruptedRunError
from harness.records import Json
from harness.records.codec import digest, sha256_file
from harness.runs import plan_file

# The format before digests, which older runs have.
WITHOUT_DIGESTS = frozenset({"cells", "unavailable"})


class DamagedPlanError(DataError):
    """Raised when files of a plan are missing or hold other bytes than were written."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__(
            f"{'; '.join(faults)}. Run the same `harness run` command again: the plan is written anew from the data."
        )
        self.faults = tuple(faults)


def with_digests(content: Mapping[str, Json], files: Mapping[str, Path]) -> dict[str, Json]:
    """Return the content of `cells.json` with the digests of the plan's files, given by task, and of itself."""
    whole = {**content, "files": {task: sha256_file(path) for task, path in files.items()}}
    return {**whole, "sha256": digest(whole)}


def read_intact(path: Path) -> dict[str, Any]:
    """Return the content of `cells.json` after checking it and the plan files beside it.

    Raises:
        DamagedPlanError: One of them is missing or damaged.
    """
    try:
        content = json.loads(path.read_bytes())
        sealed = content.keys() != WITHOUT_DIGESTS
        if sealed and content.pop("sha256") != digest(content):
            raise ValueError("its bytes are not those that were written")
    except (ValueError, KeyError, AttributeError) as error:
        raise DamagedPlanError([f"{path}: is damaged ({type(error).__name__}: {error})"]) from error
    faults = []
    if sealed:
        for task, sha256 in content["files"].items():
            fault = file_fault(path.with_name(f"{task}.parquet"), sha256)
            faults += [] if fault is None else [fault]
    else:
        for task, cell in content["cells"].items():
            fault = None if cell["unsupported"] is not None else _unreadable(path.with_name(f"{task}.parquet"))
            faults += [] if fault is None else [fault]
    if faults:
        raise DamagedPlanError(faults)
    return dict(content)


def check_file(cells: Path, task: str) -> None:
    """Check the plan file of one task against `cells.json`, before it is opened in a run that may have begun long ago.

    Raises:
        DamagedPlanError: It or `cells.json` is missing or damaged.
    """
    path = cells.with_name(f"{task}.parquet")
    try:
        status = cells.stat()
        files = _digests_of(cells, (status.st_size, status.st_mtime_ns, status.st_ino))
    except (OSError, ValueError, AttributeError) as error:
        raise DamagedPlanError([f"{cells}: is missing or damaged ({type(error).__name__}: {error})"]) from error
    if task in files and (fault := file_fault(path, files[task])) is not None:
        raise DamagedPlanError([fault])


# A run of ten thousand tasks would read megabytes for each of them.
@lru_cache(maxsize=2)
def _digests_of(cells: Path, _state: tuple[int, int, int]) -> dict[str, str]:
    """Return the digests of the plan's files by task, read again once the size, time or inode of `cells` changes."""
    files: dict[str, str] = json.loads(cells.read_bytes()).get("files", {})
    return files


def file_fault(path: Path, sha256: str) -> str | None:
    """Return what is wrong with a plan file; None if its SHA-256 is `sha256`."""
    try:
        return (
            None if sha256_file(path) == sha256 else f"{path}: is damaged (its bytes are not those that were written)"
        )
    except FileNotFoundError:
        return f"{path}: is missing"


def _unreadable(path: Path) -> str | None:
    """Return what is wrong with a plan file of which there is no digest; None if all of it can be read."""
    try:
        for _ in plan_file.read(path):
            pass
    except (InterruptedRunError, ValueError, KeyError, TypeError) as error:
        return f"{path}: cannot be read ({error})"
    return None
