"""`leaderboard verify`: score a bundle again, against targets from one's own data, and compare its numbers.

Nothing in a bundle is believed but the predictions. The archive is unpacked into a folder that is removed afterwards;
tasks, data, targets and requests come from here; the numbers that count are those computed here.
"""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import DataError, HarnessError, SpecError, message_of
from harness.evaluation.rescore_bundle import Rescored, rescore_bundle
from harness.exports.bundles.layout import UnverifiedBundleError
from harness.records.codec import sha256_file
from leaderboard.verification.agreement import Agreement, compare
from leaderboard.verification.archive import unpack
from leaderboard.verification.contents import BundleContents, read_contents

DIFFERENCES_NAMED = 5
NO_DATA = "the form of the bundle is right; without --data-root its numbers are not verified"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A bundle that was not refused.

    Attributes:
        sha256: Of the file.
        results: The content of results.json as it was computed here; as the bundle says it if `unverified` is not
            empty.
        unverified: Why the numbers are not verified; empty if they are.
        compared: Count of numbers that agree.
        predictions: Count of predictions.
        private: Names of tasks and groups that the harness does not ship.
        parameters: Settings of metrics, by which the run was scored in place of the protocols' own.
        notes: What else a reader should know, one line each.
    """

    sha256: str
    results: Mapping[str, Any]
    unverified: tuple[str, ...] = ()
    compared: int = 0
    predictions: int = 0
    private: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def verify(
    path: Path,
    *,
    given_roots: Sequence[str] = (),
    task_paths: Sequence[Path] = (),
    work: Path | None = None,
    notice: Callable[[str], None] = lambda _: None,
    keep: Callable[[Verified, Path], None] | None = None,
) -> Verified:
    """Verify a bundle.

    Args:
        path: The file.
        given_roots: As `--data-root` gives them; empty: only the form is checked.
        task_paths: Folders with further task files.
        work: Folder below which the bundle is unpacked; None: the system's folder for temporary files.
        notice: Called with news, one line each.
        keep: Called with the outcome and the folder of the scores by sample, if the numbers are verified; the folder is
            removed afterwards.
    Raises:
        DataError: The bundle is refused; the message says why.
        SpecError: `work`, a data root or a task path is wrong, or a task is unknown.
    """
    if path.is_dir():
        raise DataError("is a folder; expected a file, which `harness bundle RUN_DIR -o FILE.zip` writes of a run")
    if not path.is_file():
        raise DataError("no such file; expected what `harness bundle` writes")
    if work is not None and not work.is_dir():
        raise SpecError(f"--work {work}: expected a folder")
    try:
        with tempfile.TemporaryDirectory(dir=work, prefix="medground-verify-") as name:
            folder = Path(name)
            names = unpack(path, folder)
            contents = read_contents(folder, names)
            verified = Verified(sha256=sha256_file(path), results=contents.results, unverified=(NO_DATA,))
            if not given_roots:
                return verified
            try:
                rescored = _rescore(contents, given_roots, task_paths, notice)
            except UnverifiedBundleError as error:
                return Verified(sha256=verified.sha256, results=contents.results, unverified=(str(error),))
            verified = _compared(verified.sha256, contents, rescored)
            if keep is not None and not verified.unverified:
                keep(verified, rescored.scores)
            return verified
    except OSError as error:
        # The disk is full or closed to us: no fault of the bundle.
        raise SpecError(
            f"--work {work or tempfile.gettempdir()}: cannot be used: {error.strerror or error}; name another folder"
        ) from error


def _rescore(
    contents: BundleContents, given_roots: Sequence[str], task_paths: Sequence[Path], notice: Callable[[str], None]
) -> Rescored:
    """Score the predictions.

    Raises:
        HarnessError: They cannot be scored, or do not belong to the run.
    """
    try:
        return rescore_bundle(
            contents.folder, contents.capabilities, given_roots=given_roots, task_paths=task_paths, notice=notice
        )
    except HarnessError as error:
        # The folder is removed in a moment; its files are named as they are in the bundle.
        words = str(error).replace(f"{contents.folder}/", "")
        raise type(error)(words) if type(error).__init__ is Exception.__init__ else DataError(words) from error
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, ArithmeticError, RecursionError) as error:
        # Its form is checked, but no check can know what every metric and every future field would need. Whoever wrote
        # the bundle may have meant it to fail here.
        raise DataError(f"its predictions cannot be scored: {type(error).__name__}: {message_of(error)}") from error


def _compared(sha256: str, contents: BundleContents, rescored: Rescored) -> Verified:
    """Return the outcome of the comparison.

    Raises:
        DataError: Numbers do not follow from the predictions.
    """
    # Through JSON, so that a tuple equals the list that it is stored as.
    found = json.loads(json.dumps(rescored.results))
    agreement: Agreement = compare(contents.results, found)
    if agreement.differences:
        count = len(agreement.differences)
        more = [f"and {count - DIFFERENCES_NAMED:,} more"] if count > DIFFERENCES_NAMED else []
        raise DataError(
            "\n  ".join(
                [
                    f"its numbers do not follow from its predictions, {count:,} difference{'s' if count > 1 else ''}:",
                    *agreement.differences[:DIFFERENCES_NAMED],
                    *more,
                ]
            )
        )
    return Verified(
        sha256=sha256,
        results=found,
        unverified=agreement.unverified,
        compared=agreement.compared,
        predictions=rescored.predictions,
        private=rescored.private,
        parameters=contents.run["parameters"],
        notes=agreement.notes,
    )
