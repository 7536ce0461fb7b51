"""Shared by the commands: options, progress, words to stderr, results to stdout, and errors as exit codes."""

import errno
import json
import os
import re
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.errors import visible

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
# Of one kind: those that differ in nothing but the line or the sample.
MOST_ALIKE = 3
# Of a table that is not written to a terminal.
MOST_COLUMNS = 200

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
TASKS = click.option(
    "--tasks", "tasks", multiple=True, help="Tasks, groups and task files, as in A,B or 'A B'; may be repeated."
)
ALL = click.option("--all", "every_number", is_flag=True, help="Show every number, not only the headline of each task.")
QUIET = click.option("-q", "--quiet", is_flag=True, help="Print the numbers, the paths and errors only.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Write the result as JSON to stdout.")
PROTOCOL = click.option("--protocol", "protocols", multiple=True, help="Score by this protocol only; may be repeated.")
PARAM = click.option(
    "--param", "params", multiple=True, help="METRIC.NAME=VALUE, a setting of the tasks' metrics; may be repeated."
)
SEND_DATA_TO = click.option(
    "--send-data-to",
    metavar="HOST",
    multiple=True,
    help="Host that may get the data of tasks whose terms forbid sending them anywhere; may be repeated.",
)
MAX_FAILURES = click.option(
    "--max-failures", default="1%", show_default=True, help="N or P%: exit with 3 if more samples failed."
)


def read_arguments(text: tuple[str, ...]) -> dict[str, Any]:
    """Return the arguments of all `--model-args`, each `k=v,...` or `@file.yaml`.

    Raises:
        SpecError: An argument is given twice, or one cannot be read.
    """
    from harness.errors import SpecError
    from harness.models.arguments import parse_arguments

    arguments: dict[str, Any] = {}
    for part in text:
        for name, value in parse_arguments(part).items():
            if name in arguments:
                raise SpecError(f"--model-args: '{name}' is given twice")
            arguments[name] = value
    return arguments


def describe_model(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that describe a model; the command gets their texts as `description`, None where not given."""
    words = {
        "name": "Name of the model in tables and reports [for submitted predictions: that of the file].",
        "url": "Page of the model: https://...",
        "paper": "Its paper: citation, DOI, arXiv number or address.",
        "params": "Number of its parameters, such as 7B or 350M.",
        "licence": "Licence of its weights, such as Apache-2.0.",
    }

    @wraps(command)
    def described(*args: Any, **options: Any) -> None:
        command(*args, description={name: options.pop(f"model_{name}") for name in words}, **options)

    for name, text in reversed(words.items()):
        described = click.option(f"--{name}", f"model_{name}", help=text)(described)
    return described


def say(text: str) -> None:
    """Write a line for people to stderr: stdout holds results only."""
    click.echo(visible(text), err=True)


def linked(path: Path, stream: Any = None) -> str:
    """Return a path that can be clicked where `stream`, stderr if None, is a terminal (OSC 8); else the plain path.

    A path below the working folder is written relative to it.
    """
    text = str(path)
    with suppress(OSError, ValueError):  # elsewhere, or the working folder is gone
        text = str(path.relative_to(Path.cwd()))
    stream = stream or sys.stderr
    if stream is None or not stream.isatty() or os.environ.get("TERM") == "dumb" or not text.isprintable():
        return text
    return f"\x1b]8;;{path.resolve().as_uri()}\x1b\\{text}\x1b]8;;\x1b\\"


def terminal_width() -> int | None:
    """Return the width of the terminal that stdout is; None for a pipe, where lines that are searched stay whole."""
    closed = sys.stdout is None  # by `>&-` of a shell
    return None if closed or not sys.stdout.isatty() else shutil.get_terminal_size().columns


@contextmanager
def errors_as_exit_codes(debug: bool, resume: Sequence[str] = ()) -> Iterator[None]:
    """Turn the harness's errors into one message and an exit code.

    Args:
        debug: Let the errors pass, for their tracebacks.
        resume: Words of the command that resumes after Ctrl-C; empty if nothing is kept.
    """
    from harness.errors import HarnessError, InterruptedRunError, place_problem, words_of

    try:
        yield
    except InterruptedRunError as error:
        if debug:
            raise
        say(f"harness: {error}")
        sys.exit(EXIT_RESUMABLE)
    except OSError as error:
        # A full disk and a place that may not be written or read are the user's to mend; any other OSError is a fault
        # of the harness and shows its traceback.
        problem = place_problem(error)
        if debug or problem is None:
            raise
        say(f"harness: {problem}")
        sys.exit(EXIT_RESUMABLE if error.errno in (errno.ENOSPC, errno.EDQUOT) else EXIT_BAD_INPUT)
    except HarnessError as error:
        if debug:
            raise
        say("\n".join(f"harness: {line}" if index == 0 else line for index, line in enumerate(str(error).split("\n"))))
        sys.exit(EXIT_BAD_INPUT)
    except SystemExit as error:
        frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
        if frame.f_globals.get("__name__", "").startswith("harness.cli"):
            raise
        # Of a model or a task: passed on, its exit code would be the command's, 0 with nothing evaluated.
        place = f"{Path(frame.f_code.co_filename).name}:{line}"
        say(f"harness: the code of a model or a task ends the command ({place}): {words_of(error)}")
        sys.exit(EXIT_BAD_INPUT)
    except KeyboardInterrupt as error:
        from harness.models.secrets import masked_words

        words = " ".join(masked_words(word, ()) for word in resume)  # what a terminal shows, a log may keep
        hint = f" Go on with the same command:\n  {words}" if resume else ""
        code = getattr(error, "exit_code", EXIT_CTRL_C)
        say(f"\nharness: stopped by {'Ctrl-C' if code == EXIT_CTRL_C else 'a signal'}; what is finished is kept.{hint}")
        sys.exit(code)


def write_json(value: Any) -> None:
    """Write a value to stdout as one line of JSON."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    # JSON may hold them as they are, and a terminal would take them as orders.
    click.echo(re.sub("[\x7f-\x9f\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text))


@contextmanager
def progress(*, quiet: bool = False) -> "Iterator[ProgressBar]":
    """Yield a progress bar on stderr; rich is imported only here, so that --help starts fast."""
    from harness.cli.progress_bar import ProgressBar

    with ProgressBar(quiet=quiet) as bar:
        yield bar


def finish(result: "Evaluation", max_failures: str, *, as_json: bool, every_number: bool, quiet: bool) -> None:
    """Print the numbers, the problems and failures, and the paths of the outputs; exit with the evaluation's code."""
    from harness.reports.run_table import table
    from harness.runs.directory import RunDirectory
    from harness.scoring.failure_kinds import kinds_of

    directory = RunDirectory(result.out)
    if not quiet:
        for line in [*(f"note: {note}" for note in result.notes), *_what_failed(result, directory)]:
            say(line)
        for kind in kinds_of(failure for failure in result.failures if failure.traceback)[:MOST_ALIKE]:
            say(kind.text)
    if as_json:
        write_json(result.results)
    else:
        click.echo(visible(table(result.results, every_number=every_number, width=terminal_width() or MOST_COLUMNS)))
    # As it is: the path may carry a link for the terminal.
    click.echo(f"results  {linked(directory.results_path)}\nreport   {linked(directory.report_path)}", err=True)
    for line in result.broken:
        say(f"harness: {line}")
    if result.faults > result.allowed:
        say(f"harness: {result.faults} samples failed; --max-failures {max_failures} allows {result.allowed}")
    sys.exit(result.exit_code)


def _what_failed(result: "Evaluation", directory: "RunDirectory") -> list[str]:
    """Return a line per problem and per failure, at most MOST_LINES of each."""
    problems = _first_of_each([(problem.message, str(problem)) for problem in result.problems])
    broken = [
        failure for failure in result.failures if failure.status in ("model_error", "timeout", "data_error", "not_run")
    ]
    alike = [(f"{failure.status}: {failure.message}", failure.sample_id) for failure in broken]
    failures = _first_of_each([(what, f"{sample_id}: {what}") for what, sample_id in alike])
    lines = []
    for name, items, path in (
        ("problems", problems, directory.problems_path),
        ("failures", failures, directory.failures_path),
    ):
        lines += [f"{name.removesuffix('s')}: {item}" for item in items[:MOST_LINES]]
        if len(items) > MOST_LINES:
            lines.append(f"... and {len(items) - MOST_LINES} more {name}; see {path}")
        elif len(items) < (len(result.problems) if name == "problems" else len(broken)):
            lines.append(f"... all {name} are in {path}")
    return lines


def _first_of_each(lines: Sequence[tuple[str, str]]) -> list[str]:
    """Return the text of each (kind, text), of one kind at most MOST_ALIKE, and then one that counts the rest."""
    counts, seen = Counter(kind for kind, _ in lines), Counter[str]()
    texts = []
    for kind, text in lines:
        seen[kind] += 1
        if seen[kind] <= MOST_ALIKE:
            texts.append(text)
        elif seen[kind] == MOST_ALIKE + 1:
            texts.append(f"{counts[kind] - MOST_ALIKE:,} more: {kind}")
    return texts
