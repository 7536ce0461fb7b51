"""`harness baseline pin`: a run as one small file, to gate against."""

from pathlib import Path

import click

from harness.cli.options import AS_JSON, errors_as_exit_codes, say, write_json


@click.group()
def baseline() -> None:
    """Keep the baseline of a gate as one small file."""


@baseline.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="File to write.")
@AS_JSON
@click.pass_obj
def pin(debug: bool, run_dir: Path, out: Path, as_json: bool) -> None:
    """Write results, scores by sample and a digest of the answers of a run, for `harness gate --baseline FILE`.

    The file holds no images, prompts or answers. It is refused once its content was changed.
    """
    from harness.comparison.pinned import pin as write

    with errors_as_exit_codes(debug):
        head = write(run_dir, out)
    if as_json:
        write_json(head)
    else:
        click.echo(out)
        tasks = f"{head['tasks']} task{'' if head['tasks'] == 1 else 's'}"
        say(f"{tasks}, {head['samples']:,} samples, {head['bytes']:,} bytes, sha256 {head['sha256']}")
