"""Shared by the commands: options, progress, words to stderr, results to stdout, and errors as exit codes."""

import errno
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from harness.cli.progress_bar import ProgressBar
    from harness.evaluation.outputs import Evaluation
    from harness.runs.directory import RunDirectory

# Click's code for a wrong option; 1 is Python's code after an exception.
EXIT_BAD_INPUT = 2
# What is finished is kept, and the same command resumes; also for more failures than --max-failures allows.
EXIT_RESUMABLE = 3
# 128 + SIGINT, as a shell reports it.
EXIT_CTRL_C = 130
# Most problems, and most failures, that the terminal shows; their files hold all.
MOST_LINES = 20

TASK_PATH = click.option(
    "--task-path",
    "task_paths",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder with further task files; may be repeated.",
)
DATA_ROOT = click.option(
    "--data-root",
    "data_roots",
    multiple=True,
    help="Folder that holds releases, or phantom[:SEED] for synthetic patients; may be repeated.",
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Write the result as JSON to stdout.")
PROTOCOL = click.option("--protocol", "protocols", multiple=True, help="Score by this protocol only; may be repeated.")
PARAM = click.option(
    "--param", "params", multiple=True, help="METRIC.NAME=VALUE, a setting of the tasks' metrics; may be repeated."
)
MAX_FAILURES = click.option(
    "--max-failures", default="1%", show_default=True, help="N or P%: exit with 3 if more samples failed."
)


def names(text: str) -> tuple[str, ...]:
    """Return the names in a list that is separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def say(text: str) -> None:
    """Write a line for people to stderr: stdout holds results only."""
    click.echo(text, err=True)


@contextmanager
def errors_as_exit_codes(debug: bool, resume: Sequence[str] = ()) -> Iterator[None]:
    """Turn the harness's errors into one message and an exit code.

    Args:
        debug: Let the errors pass, for their tracebacks.
        resume: Words of the command that resumes after Ctrl-C; empty if nothing is kept.
    """
    from harness.errors import HarnessError, InterruptedRunError

    try:
        yield
    except InterruptedRunError as error:
        if debug:
            raise
        say(f"harness: {error}")
        sys.exit(EXIT_RESUMABLE)
    except OSError as error:
        # A full disk is the user's to mend; any other OSError is a fault of the harness and shows its traceback.
        if debug or error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        say(f"harness: {error.filename or 'the disk'}: {error.strerror}. Make room and run the same command again.")
        sys.exit(EXIT_RESUMABLE)
    except HarnessError as error:
        if debug:
            raise
        say("\n".join(f"harness: {line}" if index == 0 else line for index, line in enumerate(str(error).split("\n"))))
        sys.exit(EXIT_BAD_INPUT)
    except KeyboardInterrupt as error:
        hint = f" Go on with the same command:\n  {' '.join(resume)}" if resume else ""
        code = getattr(error, "exit_code", EXIT_CTRL_C)
        say(f"\nharness: stopped by {'Ctrl-C' if code == EXIT_CTRL_C else 'a signal'}; what is finished is kept.{hint}")
        sys.exit(code)


def write_json(value: Any) -> None:
    """Write a value to stdout as one line of JSON."""
    click.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))


@contextmanager
def progress() -> "Iterator[ProgressBar]":
    """Yield a progress bar on stderr; rich is imported only here, so that --help starts fast."""
    from harness.cli.progress_bar import ProgressBar

    with ProgressBar() as bar:
        yield bar


def finish(result: "Evaluation", as_json: bool, max_failures: str) -> None:
    """Print the numbers, the problems and failures, and the paths of the outputs; exit with the evaluation's code."""
    from harness.reports.run_page import table
    from harness.runs.directory import RunDirectory

    directory = RunDirectory(result.out)
    for note in result.notes:
        say(f"note: {note}")
    for line in _what_failed(result, directory):
        say(line)
    if as_json:
        write_json(result.results)
    else:
        click.echo(table(result.results))
    say(f"results  {directory.results_path}\nreport   {directory.report_path}")
    if result.exit_code:
        say(f"harness: {result.faults} samples failed; --max-failures {max_failures} allows {result.allowed}")
    sys.exit(result.exit_code)


def _what_failed(result: "Evaluation", directory: "RunDirectory") -> list[str]:
    """Return a line per problem and per failure, at most MOST_LINES of each."""
    problems = [str(problem) for problem in result.problems]
    broken = [
        failure for failure in result.failures if failure.status in ("model_error", "timeout", "data_error", "not_run")
    ]
    failures = [f"{failure.sample_id}: {failure.status}: {failure.message}" for failure in broken]
    lines = []
    for name, items, path in (
        ("problems", problems, directory.problems_path),
        ("failures", failures, directory.failures_path),
    ):
        lines += [f"{name.removesuffix('s')}: {item}" for item in items[:MOST_LINES]]
        if len(items) > MOST_LINES:
            lines.append(f"... and {len(items) - MOST_LINES} more {name}; see {path}")
    return lines
