"""`harness gate`: is this run worse than the last? The exit code says."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import AS_JSON, TASK_PATH, errors_as_exit_codes, say, write_json

if TYPE_CHECKING:
    from harness.comparison.gating.verdict import GateReport


@click.command()
@click.option(
    "--baseline",
    required=True,
    type=click.Path(path_type=Path),
    help="Run directory, or file of `harness baseline pin`.",
)
@click.option("--candidate", required=True, type=click.Path(path_type=Path), help="Run directory of the new model.")
@click.option(
    "--policy",
    type=click.Path(path_type=Path),
    help="YAML file with the rows to gate; without one, the headline of every task of the baseline.",
)
@TASK_PATH
@AS_JSON
@click.option("--junit", type=click.Path(path_type=Path), help="Write the verdicts as JUnit XML into this file.")
@click.option(
    "--markdown",
    type=click.Path(path_type=Path),
    help="Append the verdicts as markdown to this file ($GITHUB_STEP_SUMMARY).",
)
@click.option("--github", is_flag=True, help="Write the verdicts as annotations of GitHub Actions.")
@click.pass_obj
def gate(
    debug: bool,
    baseline: Path,
    candidate: Path,
    policy: Path | None,
    task_paths: tuple[Path, ...],
    as_json: bool,
    junit: Path | None,
    markdown: Path | None,
    github: bool,
) -> None:
    """Say whether a run is worse than a baseline, by tests of the paired scores, patient by patient.

    Exit codes: 0 pass, 1 regression, 2 usage or bad input, 3 cannot judge, with what would let it. A regression that is
    shown anywhere is 1, whatever else cannot be judged.
    """
    from harness.comparison.gate import gate as judge
    from harness.comparison.gating import outputs

    with errors_as_exit_codes(debug):
        report = judge(baseline, candidate, policy, task_paths=task_paths)
        _write_files(report, junit, markdown)
    if as_json:
        write_json(outputs.to_json(report))
        say(outputs.text(report))
    else:
        click.echo(outputs.text(report))
    if github:
        # Annotations are read from either stream; stdout stays one JSON value.
        (say if as_json else click.echo)(outputs.github(report))
    sys.exit(report.exit_code)


def _write_files(report: "GateReport", junit: Path | None, markdown: Path | None) -> None:
    """Write the reports for CI systems.

    Raises:
        SpecError: A file cannot be written.
    """
    from harness.comparison.gating import outputs
    from harness.errors import SpecError

    for option, path in (("--junit", junit), ("--markdown", markdown)):
        if path is None:
            continue
        try:
            if option == "--junit":
                path.write_text(outputs.junit(report), encoding="utf-8")
            else:
                # Appended: other steps of a job write into the same summary.
                with path.open("a", encoding="utf-8") as file:
                    file.write(outputs.markdown(report))
        except OSError as error:
            raise SpecError(f"{option} {path}: cannot be written: {error.strerror}; name another file") from error
