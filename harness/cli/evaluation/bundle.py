"""`harness bundle`: a finished run as one file for `leaderboard verify`."""

from dataclasses import asdict
from pathlib import Path

import click

from harness.cli.options import AS_JSON, errors_as_exit_codes, say, write_json


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--out", "-o", required=True, type=click.Path(path_type=Path), help="Zip file to write.")
@click.option("--allow-limited", is_flag=True, help="Also of a run with --limit, which no board takes.")
@AS_JSON
@click.pass_obj
def bundle(debug: bool, run_dir: Path, out: Path, allow_limited: bool, as_json: bool) -> None:
    """Write a finished run as a bundle, which holds predictions and numbers, but no target and no image."""
    from harness.exports.bundles.writing import write_bundle

    with errors_as_exit_codes(debug):
        written = write_bundle(run_dir, out, limited=allow_limited)
    for name in written.left_out:
        say(f"left out  {name}: it compares the run with another one, which is not in the bundle")
    words = f"{written.predictions:,} predictions, {written.blobs:,} files of masks, {written.judges:,} judges"
    say(f"{words}\nsha256 {written.sha256}\ncheck it: leaderboard verify {out} --data-root DATA")
    if as_json:
        write_json({**asdict(written), "path": str(written.path)})
    else:
        click.echo(out)
