"""The digests of a run's files in `digests.json`: a file that was damaged since it was written is not read as if whole.

    {"files": {"run.json": SHA-256, "scores/<file>": ..., ...}, "sha256": that of the canonical JSON of `files`}

The plan has digests of its own, lines of predictions and events have checksums, and masks are named by their digest. A
file that is not listed is not checked: an older version wrote it, or the run was stopped before it was listed.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import DataError
from harness.records.atomic_files import write_atomically
from harness.records.codec import digest, sha256_file

DIGESTS = "digests.json"
AGAIN = "run the same command again, which writes it anew"


class DamagedFileError(DataError):
    """Raised when a file of a run holds other bytes than were written."""


@dataclass(frozen=True, slots=True)
class FileChecks:
    """The digests of the files in one run directory.

    Attributes:
        folder: The run directory.
    """

    folder: Path

    @property
    def path(self) -> Path:
        """The file of the digests."""
        return self.folder / DIGESTS

    def read(self) -> dict[str, str]:
        """Return the digests by path, relative and with slashes; none if nothing has been listed yet.

        Raises:
            DamagedFileError: The file of the digests is damaged itself.
        """
        try:
            content = json.loads(self.path.read_bytes())
            files: dict[str, str] = content["files"]
            if content["sha256"] != digest(files):
                raise ValueError("its bytes are not those that were written")
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise DamagedFileError(f"{self.path}: is damaged ({type(error).__name__}: {error}); {AGAIN}") from error
        return files

    def check(self, path: Path, remedy: str = AGAIN) -> None:
        """Check one file before it is read.

        Args:
            path: A file in the run directory.
            remedy: What to do if it is damaged.
        Raises:
            DamagedFileError: It is listed, and changed. One that is missing is left to its reader.
        """
        expected = self.read().get(path.relative_to(self.folder).as_posix())
        if expected is None:
            return
        try:
            found = sha256_file(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise DamagedFileError(f"{path}: cannot be read ({error.strerror or error}); {remedy}") from error
        if found != expected:
            raise DamagedFileError(
                f"{path}: is damaged or was changed: its bytes are not those that were written last; {remedy}"
            )

    def write(self, files: dict[str, str]) -> None:
        """Replace all digests.

        Raises:
            InterruptedRunError: The disk refuses it.
        """
        files = dict(sorted(files.items()))
        write_atomically(self.path, json.dumps({"files": files, "sha256": digest(files)}, indent=1) + "\n")

    def seal(self, paths: Iterable[Path]) -> None:
        """List the files, as they are now; those that do not exist are no longer listed. Other entries stay.

        A damaged list is begun anew.

        Raises:
            InterruptedRunError: The disk refuses it.
        """
        before = self._readable()
        files = dict(before)
        for path in paths:
            name = path.relative_to(self.folder).as_posix()
            files.pop(name, None)
            if path.is_file():
                files[name] = sha256_file(path)
        if files != before or not self.path.exists():
            self.write(files)

    def forget(self, path: Path) -> None:
        """List a file no longer, before it is replaced by another: the list must not say that the new one is damaged.

        Raises:
            InterruptedRunError: The disk refuses it.
        """
        files = self._readable()
        if files.pop(path.relative_to(self.folder).as_posix(), None) is not None:
            self.write(files)

    def replace(self, path: Path, text: str) -> None:
        """Replace a file and list it; stopped at any moment, the file is the old one or the new one, and not refused.

        Raises:
            InterruptedRunError: The disk refuses it.
        """
        self.forget(path)
        write_atomically(path, text)
        self.seal([path])

    def _readable(self) -> dict[str, str]:
        try:
            return self.read()
        except DamagedFileError:
            return {}
