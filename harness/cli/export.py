"""`harness export`: results in the file formats of other tools and servers."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from harness.cli.options import (
    DATA_ROOT,
    TASK_PATH,
    TASKS,
    errors_as_exit_codes,
    say,
)

OUT = click.option("--out", "-o", type=click.Path(path_type=Path), help="File to write [default: stdout].")
TASK = click.option("--task", help="Only this task of the run.")


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


def _write(text: str, out: Path | None) -> None:
    """Write to a file, or to stdout if `out` is None.

    Raises:
        SpecError: The file cannot be written.
    """
    from harness.errors import SpecError

    if out is None:
        click.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SpecError(f"--out {out}: cannot be written: {error.strerror}; name another file") from error
    say(f"wrote {out}")


@export.command("csv")
@click.argument("run_dir", type=click.Path(path_type=Path))
@OUT
@TASK
@click.option("--long", is_flag=True, help="One line per sample and value, instead of one line per sample.")
@click.pass_obj
def export_csv(debug: bool, run_dir: Path, out: Path | None, task: str | None, long: bool) -> None:
    """Write the scores of a run by sample, with the strata as columns.

    An empty cell is no value; a failed answer has the worst value. From Python: harness.load_scores(RUN_DIR).
    """
    from harness.exports.sample_scores import as_csv, load_scores

    with errors_as_exit_codes(debug):
        _write(as_csv(load_scores(run_dir, task=task, long=long)), out)


@export.command("summary-json")
@click.argument("run_dir", type=click.Path(path_type=Path))
@OUT
@TASK
@TASK_PATH
@click.pass_obj
def export_summary_json(
    debug: bool, run_dir: Path, out: Path | None, task: str | None, task_paths: tuple[Path, ...]
) -> None:
    """Write a task that gives masks as nnU-Net's summary.json: voxel counts, Dice and IoU by case and label."""
    from harness.exports.summary_json import summary

    with errors_as_exit_codes(debug):
        # With NaN, as nnU-Net writes it: its readers average with nanmean.
        _write(json.dumps(summary(run_dir, task=task, task_paths=task_paths), indent=4) + "\n", out)


FOLDER = click.option("--out", "-o", required=True, type=click.Path(path_type=Path), help="New or empty folder.")


def _folders(folders: Sequence[Path], notes: Sequence[str]) -> None:
    for folder in folders:
        click.echo(folder)
    for note in notes:
        say(note)


def _text_and_notes(text: str, notes: Sequence[str], out: Path | None) -> None:
    _write(text, out)
    for note in notes:
        say(note)


@export.command("png")
@click.argument("run_dir", type=click.Path(path_type=Path))
@FOLDER
@TASK
@TASK_PATH
@click.pass_obj
def export_png(debug: bool, run_dir: Path, out: Path, task: str | None, task_paths: tuple[Path, ...]) -> None:
    """Write predicted masks of images as PNG, for `harness score --predictions`."""
    from harness.exports.predictions.folder import write_predictions
    from harness.exports.predictions.masks import PngMasks

    with errors_as_exit_codes(debug):
        _folders(*write_predictions(run_dir, out, PngMasks(), task=task, task_paths=task_paths))


@export.command("nifti")
@click.argument("run_dir", type=click.Path(path_type=Path))
@FOLDER
@TASK
@TASK_PATH
@click.pass_obj
def export_nifti(debug: bool, run_dir: Path, out: Path, task: str | None, task_paths: tuple[Path, ...]) -> None:
    """Write predicted masks of volumes as NIfTI, for `harness score --predictions`."""
    from harness.exports.predictions.folder import write_predictions
    from harness.exports.predictions.masks import NiftiMasks

    with errors_as_exit_codes(debug):
        _folders(*write_predictions(run_dir, out, NiftiMasks(), task=task, task_paths=task_paths))


@export.command("dicom-seg")
@click.argument("run_dir", type=click.Path(path_type=Path))
@FOLDER
@TASK
@TASK_PATH
@click.option(
    "--data-root",
    "roots",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with the DICOM series that the masks lie on, whose slices the files then refer to.",
)
@click.pass_obj
def export_dicom_seg(
    debug: bool, run_dir: Path, out: Path, task: str | None, task_paths: tuple[Path, ...], roots: tuple[Path, ...]
) -> None:
    """Write predicted masks of volumes as DICOM SEG, for `harness score --predictions`."""
    from harness.exports.predictions.dicom_seg import DicomSegMasks
    from harness.exports.predictions.folder import write_predictions

    with errors_as_exit_codes(debug):
        form = DicomSegMasks(roots=roots)
        _folders(*write_predictions(run_dir, out, form, task=task, task_paths=task_paths))
    if form.without_source:
        say(
            f"{form.without_source:,} files refer to slices that exist nowhere; --data-root names the DICOM series of "
            "the release, if it has any"
        )


@export.command("coco")
@click.argument("run_dir", type=click.Path(path_type=Path))
@FOLDER
@TASK
@TASK_PATH
@click.pass_obj
def export_coco(debug: bool, run_dir: Path, out: Path, task: str | None, task_paths: tuple[Path, ...]) -> None:
    """Write predicted masks or boxes of images as COCO results, with the targets that pycocotools scores them by."""
    from harness.exports.predictions.coco import write_coco

    with errors_as_exit_codes(debug):
        _folders(*write_coco(run_dir, out, task=task, task_paths=task_paths))


@export.command("lm-eval")
@click.argument("run_dir", type=click.Path(path_type=Path))
@FOLDER
@TASK
@TASK_PATH
@click.pass_obj
def export_lm_eval(debug: bool, run_dir: Path, out: Path, task: str | None, task_paths: tuple[Path, ...]) -> None:
    """Write answers in words as lm-eval logs them, for `harness score --from-lm-eval`."""
    from harness.exports.logs.lm_eval_samples import write_samples

    with errors_as_exit_codes(debug):
        _folders(*write_samples(run_dir, out, task=task, task_paths=task_paths))


@export.command("inspect")
@click.argument("run_dir", type=click.Path(path_type=Path))
@FOLDER
@TASK
@TASK_PATH
@click.pass_obj
def export_inspect(debug: bool, run_dir: Path, out: Path, task: str | None, task_paths: tuple[Path, ...]) -> None:
    """Write each task as a log of inspect_ai, for `inspect view` and `harness score --from-inspect`."""
    from harness.exports.logs.inspect_log import write_logs

    with errors_as_exit_codes(debug):
        _folders(*write_logs(run_dir, out, task=task, task_paths=task_paths))


@export.command("every-eval-ever")
@click.argument("run_dir", type=click.Path(path_type=Path))
@FOLDER
@TASK
@TASK_PATH
@click.option("--organization", default="unknown", show_default=True, help="Who evaluated.")
@click.option(
    "--relationship",
    type=click.Choice(("first_party", "third_party", "collaborative", "other")),
    default="other",
    show_default=True,
    help="Of the evaluator to the model.",
)
@click.pass_obj
def export_every_eval_ever(
    debug: bool,
    run_dir: Path,
    out: Path,
    task: str | None,
    task_paths: tuple[Path, ...],
    organization: str,
    relationship: str,
) -> None:
    """Write numbers and scores by sample as records of Every Eval Ever."""
    from harness.exports.reports.every_eval_ever import write_records

    with errors_as_exit_codes(debug):
        _folders(
            *write_records(
                run_dir, out, organization=organization, relationship=relationship, task=task, task_paths=task_paths
            )
        )


@export.command("hf-results")
@click.argument("run_dir", type=click.Path(path_type=Path))
@OUT
@TASK
@TASK_PATH
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    metavar="TASK=ORG/NAME",
    help="The dataset of a task on the Hugging Face hub; may be repeated.",
)
@click.pass_obj
def export_hf_results(
    debug: bool,
    run_dir: Path,
    out: Path | None,
    task: str | None,
    task_paths: tuple[Path, ...],
    datasets: tuple[str, ...],
) -> None:
    """Write the numbers as YAML for the folder .eval_results of a model's repository on the Hugging Face hub."""
    from harness.errors import SpecError
    from harness.exports.reports.hugging_face import eval_results

    with errors_as_exit_codes(debug):
        pairs = [words.partition("=") for words in datasets]
        for words, (name, _, dataset) in zip(datasets, pairs, strict=True):
            if not name or not dataset:
                raise SpecError(f"--dataset {words}: expected TASK=ORG/NAME")
        named = {name: dataset for name, _, dataset in pairs}
        _text_and_notes(*eval_results(run_dir, datasets=named, task=task, task_paths=task_paths), out)


@export.command("model-card")
@click.argument("run_dir", type=click.Path(path_type=Path))
@OUT
@TASK
@TASK_PATH
@click.pass_obj
def export_model_card(
    debug: bool, run_dir: Path, out: Path | None, task: str | None, task_paths: tuple[Path, ...]
) -> None:
    """Write a model card with the numbers as model-index and as a table."""
    from harness.exports.reports.hugging_face import model_card

    with errors_as_exit_codes(debug):
        _text_and_notes(*model_card(run_dir, task=task, task_paths=task_paths), out)


@export.command("grand-challenge")
@click.argument("run_dir", type=click.Path(path_type=Path))
@OUT
@TASK
@TASK_PATH
@click.pass_obj
def export_grand_challenge(
    debug: bool, run_dir: Path, out: Path | None, task: str | None, task_paths: tuple[Path, ...]
) -> None:
    """Write the metrics.json of grand-challenge.org: aggregates and the scores of each case."""
    from harness.exports.reports.grand_challenge import metrics_json

    with errors_as_exit_codes(debug):
        _text_and_notes(*metrics_json(run_dir, task=task, task_paths=task_paths), out)


@export.command("junit")
@click.argument("run_dir", type=click.Path(path_type=Path))
@OUT
@TASK
@TASK_PATH
@click.pass_obj
def export_junit(debug: bool, run_dir: Path, out: Path | None, task: str | None, task_paths: tuple[Path, ...]) -> None:
    """Write JUnit XML: a test for each sample, which passes if it was answered."""
    from harness.exports.reports.ci_reports import junit

    with errors_as_exit_codes(debug):
        _write(junit(run_dir, task=task, task_paths=task_paths), out)


@export.command("ctrf")
@click.argument("run_dir", type=click.Path(path_type=Path))
@OUT
@TASK
@TASK_PATH
@click.pass_obj
def export_ctrf(debug: bool, run_dir: Path, out: Path | None, task: str | None, task_paths: tuple[Path, ...]) -> None:
    """Write a CTRF report: a test for each sample, which passes if it was answered."""
    from harness.exports.reports.ci_reports import ctrf

    with errors_as_exit_codes(debug):
        _write(ctrf(run_dir, task=task, task_paths=task_paths), out)


@export.command("lm-eval-tasks")
@TASKS
@DATA_ROOT
@TASK_PATH
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write.")
@click.option("--text-only", is_flag=True, help="Leave the images out, for models of lm-eval that take words only.")
@click.pass_obj
def export_lm_eval_tasks(
    debug: bool,
    tasks: tuple[str, ...],
    data_roots: tuple[str, ...],
    task_paths: tuple[Path, ...],
    out: Path,
    text_only: bool,
) -> None:
    """Write tasks as a folder for `lm_eval --include_path`, which asks as we do and scores with our protocols."""
    from harness.exports.lm_eval_tasks import write_tasks
    from harness.paths import default_cache

    with errors_as_exit_codes(debug):
        written = write_tasks(
            tasks, data_roots, out, default_cache(), task_paths=task_paths, text_only=text_only, notice=say
        )
    click.echo(out)
    for task in written:
        images = ", with images: a multimodal model class of lm-eval is needed" if task.images else ""
        left_out = f", {task.left_out:,} that cannot be asked left out" if task.left_out else ""
        say(f"{task.name}: {task.samples:,} samples{left_out}{images}")
    say(f"lm_eval --include_path {out} --tasks {','.join(task.name for task in written)} --model ...")
