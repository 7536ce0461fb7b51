"""`harness export`: results in the file formats of other tools and servers."""

from pathlib import Path

import click

from harness.cli.options import (
    TASK_PATH,
    errors_as_exit_codes,
    say,
)


@click.group()
def export() -> None:
    """Export results in other tools' formats."""


@export.command("mmmu")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File to write: {id: answer} as JSON.")
@TASK_PATH
@click.pass_obj
def export_mmmu(debug: bool, run_dir: Path, out: Path, task_paths: tuple[Path, ...]) -> None:
    """Write the answers of a run on MMMU in the format of its server."""
    from harness.exports.mmmu import submission, write_submission

    with errors_as_exit_codes(debug):
        found = submission(run_dir, task_paths)
        write_submission(out, found)
    click.echo(out)
    say(f"{len(found.answers):,} answers, {found.unanswered:,} empty, {found.unread:,} without a letter that is read")
