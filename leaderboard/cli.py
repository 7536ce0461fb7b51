"""The `leaderboard` command."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from leaderboard.verify import Verified

EXIT_BAD_INPUT = 2  # as click ends after a wrong option
EXIT_UNVERIFIED = 3


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="medground", prog_name="leaderboard")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def main(context: click.Context, debug: bool) -> None:
    """The static leaderboard: published numbers and evaluated runs side by side."""
    context.obj = debug


@main.command()
@click.option(
    "--entries",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A run directory, a results.json, or a folder with several; may be repeated. Default: those shipped with it.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder for the pages; an existing board there is replaced.",
)
@click.option("--private-tasks", is_flag=True, help="Show tasks of one's own, too, which MedGround does not ship.")
@click.option("--json", "as_json", is_flag=True, help="Write what was built as JSON to stdout.")
@click.pass_obj
def build(debug: bool, entries: tuple[Path, ...], out: Path, private_tasks: bool, as_json: bool) -> None:
    """Write the board as static pages that open from the file system."""
    # Imported here, so that --help loads neither numpy nor the metrics.
    from harness.errors import HarnessError, place_problem
    from harness.paths import default_cache
    from leaderboard.build import build as build_board

    try:
        built = build_board(entries, out, private=private_tasks, ranks=default_cache() / "ranks")
    except HarnessError as error:
        if debug:
            raise
        click.echo(f"leaderboard: {error}", err=True)
        sys.exit(EXIT_BAD_INPUT)
    except OSError as error:
        problem = place_problem(error)
        if debug or problem is None:
            raise
        click.echo(f"leaderboard: {problem}", err=True)
        sys.exit(EXIT_BAD_INPUT)
    for entry, reason in built.left_out:
        click.echo(f"left out  {entry}: {reason}", err=True)
    counts = {"published": built.published, "reproduced": built.reproduced, "phantom": built.phantom}
    if as_json:
        left_out = [{"entry": entry, "reason": reason} for entry, reason in built.left_out]
        click.echo(json.dumps({"index": str(built.index), **counts, "left_out": left_out}, ensure_ascii=False))
    else:
        words = f"{built.published} published, {built.reproduced} evaluated, {built.phantom} phantom numbers"
        click.echo(words, err=True)
        click.echo(str(built.index))


DATA_ROOT = click.option(
    "--data-root",
    "data_roots",
    multiple=True,
    help="Folder with releases, or phantom[:SEED]; may be repeated. The targets come from here, never from the bundle.",
)
TASK_PATH = click.option(
    "--task-path",
    "task_paths",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder with further task files; may be repeated.",
)
WORK = click.option(
    "--work", type=click.Path(path_type=Path), help="Folder to unpack below [default: that of the system]."
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Write the outcome as JSON to stdout.")


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@DATA_ROOT
@TASK_PATH
@WORK
@AS_JSON
@click.pass_obj
def verify(
    debug: bool,
    bundle: Path,
    data_roots: tuple[str, ...],
    task_paths: tuple[Path, ...],
    work: Path | None,
    as_json: bool,
) -> None:
    """Score the predictions of a bundle again and compare its numbers.

    Exit codes: 0 verified; 2 refused, with the reason; 3 the numbers are not verified, because the data are not here.
    """
    _take_little_memory()
    from leaderboard.add import keep_receipt
    from leaderboard.verify import verify as verify_bundle

    with _refusals(debug, bundle, as_json=as_json):
        done = verify_bundle(
            bundle, given_roots=data_roots, task_paths=task_paths, work=work, notice=_say, keep=keep_receipt
        )
    _report(bundle, done, as_json=as_json)
    sys.exit(EXIT_UNVERIFIED if done.unverified else 0)


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@DATA_ROOT
@TASK_PATH
@click.option(
    "--entries",
    type=click.Path(path_type=Path),
    help="Folder of the entries [default: that of this installation].",
)
@click.option("--private-tasks", is_flag=True, help="Also a bundle on tasks of one's own, for a board of one's own.")
@WORK
@AS_JSON
@click.pass_obj
def add(
    debug: bool,
    bundle: Path,
    data_roots: tuple[str, ...],
    task_paths: tuple[Path, ...],
    entries: Path | None,
    private_tasks: bool,
    work: Path | None,
    as_json: bool,
) -> None:
    """Verify a bundle and file it among the entries, as numbers computed here and the score of every sample.

    Without --data-root, only a bundle that was verified on this machine before. Exit codes: as of verify.
    """
    _take_little_memory()
    from leaderboard.add import Filed
    from leaderboard.add import add as add_bundle
    from leaderboard.build import ENTRIES

    with _refusals(debug, bundle, as_json=as_json):
        done = add_bundle(
            bundle,
            entries or ENTRIES,
            given_roots=data_roots,
            task_paths=task_paths,
            private=private_tasks,
            work=work,
            notice=_say,
        )
    if not isinstance(done, Filed):
        _report(bundle, done, as_json=as_json)
        sys.exit(EXIT_UNVERIFIED)
    if not done.new:
        _say(f"{bundle}: is filed already; nothing is changed")
    if as_json:
        click.echo(json.dumps({"entry": str(done.folder), "new": done.new, **done.record}, ensure_ascii=False))
    else:
        click.echo(str(done.folder))


def _say(line: str) -> None:
    click.echo(line, err=True)


def _take_little_memory() -> None:
    """Let pyarrow, before it is imported, ask the system for memory: its own pool reserves 30 MB at once."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


@contextmanager
def _refusals(debug: bool, bundle: Path, *, as_json: bool) -> Iterator[None]:
    """End with 2 and the reason where a bundle is refused."""
    from harness.errors import HarnessError

    try:
        yield
    except HarnessError as error:
        if debug:
            raise
        # A wrong option says nothing of the bundle.
        is_option = str(error).startswith(("--data-root", "--task-path", "--entries", "--work"))
        click.echo(f"leaderboard: {error}" if is_option else f"leaderboard: {bundle}: refused: {error}", err=True)
        if as_json:
            click.echo(json.dumps({"verified": False, "refused": str(error)}, ensure_ascii=False))
        sys.exit(EXIT_BAD_INPUT)


def _report(bundle: Path, done: "Verified", *, as_json: bool) -> None:
    """Print the outcome: words to stderr, and to stdout one line, or all of it as JSON."""
    for note in done.notes:
        click.echo(f"note: {note}", err=True)
    for reason in done.unverified:
        click.echo(f"leaderboard: {bundle}: numbers not verified: {reason}", err=True)
    if as_json:
        outcome = {
            "verified": not done.unverified,
            "sha256": done.sha256,
            "unverified": list(done.unverified),
            "compared": done.compared,
            "predictions": done.predictions,
            "private": list(done.private),
            "notes": list(done.notes),
            "results": done.results,
        }
        click.echo(json.dumps(outcome, ensure_ascii=False))
    elif not done.unverified:
        click.echo(
            f"verified: {done.compared:,} numbers follow from {done.predictions:,} predictions (sha256 {done.sha256})"
        )


if __name__ == "__main__":
    main()
