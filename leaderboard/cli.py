"""The `leaderboard` command."""

import json
import sys
from pathlib import Path

import click

EXIT_BAD_INPUT = 2  # as click ends after a wrong option


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
@click.option("--json", "as_json", is_flag=True, help="Write what was built as JSON to stdout.")
@click.pass_obj
def build(debug: bool, entries: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Write the board as static pages that open from the file system."""
    # Imported here, so that --help loads neither numpy nor the metrics.
    from harness.errors import HarnessError, place_problem
    from leaderboard.build import build as build_board

    try:
        built = build_board(entries, out)
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


if __name__ == "__main__":
    main()
