"""`harness judge calibrate`: how far judges agree with people who labelled the same answers."""

from pathlib import Path

import click

from harness.cli.options import AS_JSON, QUIET, TASK_PATH, errors_as_exit_codes, say, write_json


@click.command()
@click.argument("run_or_file", type=click.Path(path_type=Path), metavar="RUN_OR_FILE")
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    required=True,
    help="CSV or JSON lines with sample_id and label: correct, partly or incorrect; of pairs win, tie or loss; or a "
    "score from 0 to 100. May hold rater, task, repeat and, for a file of judgements, cluster and length.",
)
@click.option("--protocol", help="Only this judge's column of the run, as `harness score RUN_DIR --all` names it.")
@TASK_PATH
@QUIET
@AS_JSON
@click.pass_obj
def calibrate(
    debug: bool,
    run_or_file: Path,
    labels: Path,
    protocol: str | None,
    task_paths: tuple[Path, ...],
    quiet: bool,
    as_json: bool,
) -> None:
    """Compare the judgements of a run, or of a file, with labels of people.

    Of a run, the result is kept as judgements/calibration.json and stands beside every judged number from then on. A
    file holds sample_id with verdict or score, one line per answer; nothing is written then.
    """
    from harness.errors import SpecError
    from harness.evaluation.judging.calibrated import calibrate_file, calibrate_run, calibration_text
    from harness.evaluation.rescore import rescore

    with errors_as_exit_codes(debug):
        if run_or_file.is_file():
            if protocol is not None:
                raise SpecError(f"--protocol {protocol}: names a judge of a run; {run_or_file} is a file")
            found = [calibrate_file(run_or_file, labels)]
        else:
            found = calibrate_run(run_or_file, labels, protocol=protocol)
            # The numbers stay as they are; what stands beside them in results and report is new.
            rescore(run_or_file, task_paths=task_paths, protocols=(), max_failures="100%")
    if as_json:
        write_json({"schema": 1, "calibrations": found})
    else:
        click.echo("\n".join(calibration_text(entry) for entry in found))
    if not quiet and not run_or_file.is_file():
        from harness.runs.judgements import CALIBRATION, FOLDER

        say(f"calibration  {run_or_file / FOLDER / CALIBRATION}")
