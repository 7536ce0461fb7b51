"""The exceptions that a user of the harness can meet.

HarnessError
├── SpecError             the request is wrong: a task file, an option, a model reference, the folder of another run
├── DataError             the data are wrong: a release, a manifest, a mask, a predictions file
│   ├── ReleaseAbsentError    no data root holds the release; defined in `harness.data.releases.reader`
│   ├── DamagedPlanError      the plan of a run is damaged; defined in `harness.runs.plan_digests`
│   └── UnverifiedBundleError a bundle's numbers cannot be verified here; defined in `harness.exports.bundles.layout`
├── ModelError            an adapter or its weights break the `Adapter` protocol
├── JudgeError            a judge cannot be reached or does not answer in its format
└── InterruptedRunError   a run ended before its plan was done; the same command resumes it
"""

import contextlib
import errno
import os
import re
from collections.abc import Iterator, Sequence


class HarnessError(Exception):
    """Base class of all; the command line shows its message without a traceback unless `--debug` is given."""


class SpecError(HarnessError):
    """Raised when a task file, an option or a run directory asks for something impossible."""


class DataError(HarnessError):
    """Raised when a file of a release, a mask, a manifest or a predictions file does not hold what it must."""


class ModelError(HarnessError):
    """Raised when an adapter cannot be loaded or its answer breaks the `Adapter` protocol."""


class JudgeError(HarnessError):
    """Raised when a judge cannot be reached or its reply cannot be read."""


class InterruptedRunError(HarnessError):
    """Raised when a run ends before its plan is done; finished predictions are kept, and the same command resumes."""


def together(errors: Sequence[str], kind: type[HarnessError] = SpecError) -> HarnessError:
    """Return one exception of `kind` with all messages of `errors`, one per line, in order."""
    return kind("\n".join(errors))


def words_of(error: BaseException) -> str:
    """Return the kind and the message of an exception that foreign code raised, whatever its `__str__` does.

    `sys.exit` in a model or a plug-in arrives as SystemExit, whose message is only its code: it is said in words.
    """
    if isinstance(error, SystemExit):
        return f"SystemExit: it calls sys.exit({'' if error.code is None else repr(error.code)})"
    return f"{type(error).__name__}: {message_of(error)}"


def message_of(error: BaseException) -> str:
    """Return `str(error)`, or a remark where that raises or is no text, as an exception of a model may."""
    try:
        return str(error)
    except BaseException as second:  # noqa: BLE001 - a message that cannot be had must not cost the record of the fault
        return f"<its message cannot be read: __str__ raises {type(second).__name__}>"


def place_problem(error: OSError) -> str | None:
    """Return what to do about a file that may not be written or read, or a full disk; None for any other OSError."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.filename or 'the disk'}: {error.strerror}; make room and run the same command again"
    # ENOENT is none of them: a file that should be there and is not is a fault of the harness.
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG):
        return f"{error.filename or 'a file'}: {error.strerror}; name another place, or change its rights"
    return None


# All control characters but tab and newline, and the marks that turn the direction of text.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|[\ud800-\udfff]")


def visible(text: str) -> str:
    r"""Return a text of a release or a model as a terminal may get it: control characters are written as `\x1b`.

    A terminal takes some of them as orders, such as to clear the screen or to answer as if somebody typed.
    """
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def listed(items: Sequence[object], most: int, noun: str = "") -> str:
    """Return the first `most` items separated by commas, and the number of the others: `a, b and 3 more`.

    Args:
        items: What is listed, as `str` writes it.
        most: Number of items that a message names.
        noun: Follows `more`, such as `tasks`.
    """
    more = f" and {len(items) - most:,} more {noun}".rstrip() if len(items) > most else ""
    return ", ".join(map(str, items[:most])) + more


def nearest(word: str, known: Sequence[str]) -> str:
    """Return ` (did you mean 'x'?)` for the known word closest to `word`; empty if none is close."""
    import difflib  # imported here, so that only a failing command pays for it

    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


@contextlib.contextmanager
def in_own_process() -> Iterator[None]:
    """End the process at once if the block leaves it, by a return or by raising, in another one than it began in.

    A child that a model forks has the run's lock, its open files and its half of the plan; what it would write on, or
    clean up at exit, belongs to its parent.
    """
    own = os.getpid()
    try:
        yield
    finally:
        if os.getpid() != own:
            os._exit(1)
