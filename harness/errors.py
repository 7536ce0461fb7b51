"""The exceptions a user of the harness can meet.

HarnessError
├── SpecError             what was asked for is wrong: a task file, an option, a model reference, another run's folder
├── DataError             what was read is wrong: a release, a manifest, a mask, a predictions file
│   └── ReleaseAbsentError    no data root holds the release; stands in `harness.data.releases.reader`
├── ModelError            an adapter or its weights do not do what the Protocol asks
├── JudgeError            a judge cannot be reached or does not answer in its format
└── InterruptedRunError   a run ends before its plan does; the same command goes on
"""

from collections.abc import Sequence


class HarnessError(Exception):
    """Base of all: shown to users as one message without a traceback."""


class SpecError(HarnessError):
    """Raised when a task file, an option or a run directory asks for something that cannot be."""


class DataError(HarnessError):
    """Raised when a file of a release, a mask, a manifest or a predictions file does not hold what it should."""


class ModelError(HarnessError):
    """Raised when an adapter cannot be loaded or its answer breaks the Protocol."""


class JudgeError(HarnessError):
    """Raised when a judge cannot be reached or its reply cannot be read."""


class InterruptedRunError(HarnessError):
    """Raised when a run ends before its plan does; what is finished is kept and the same command goes on."""


def together(errors: Sequence[str], kind: type[HarnessError] = SpecError) -> HarnessError:
    """Return one error of `kind` whose message holds every line of `errors`, in order."""
    return kind("\n".join(errors))


def nearest(word: str, known: Sequence[str]) -> str:
    """Return ` (did you mean 'x'?)` for the known word closest to `word`, or the empty string."""
    import difflib  # only a failing command pays for it

    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""
