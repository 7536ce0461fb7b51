"""`harness export`: every format as a command, its files on stdout and what it loses on stderr."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from harness.cli import main
from tests.support.tiny_vqa_rad import write_release

# Formats that write to stdout or a file, with how the content begins.
TEXTS = {
    "grand-challenge": '{\n "aggregates"',
    "junit": '<?xml version="1.0"',
    "ctrf": '{\n "reportFormat": "CTRF"',
    "hf-results": "- dataset:\n",
    "model-card": "---\nmodel-index:\n",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a part of a tiny VQA-RAD."""
    from harness.evaluation.evaluate import evaluate
    from harness.evaluation.setup import RunSpec

    folder = tmp_path_factory.mktemp("export")
    spec = RunSpec(
        tasks=("vqa_rad",),
        model="scripted",
        model_args={"text": "yes"},
        data_roots=(str(write_release(folder / "data", 8)),),
        out=folder / "run",
        cache=folder / "cache",
        ray="off",
        limit=6,
    )
    return evaluate(spec).out


def test_texts_go_to_stdout_or_a_file(run: Path, tmp_path: Path) -> None:
    for form, begin in TEXTS.items():
        shown = CliRunner().invoke(main, ["export", form, str(run)])
        assert shown.exit_code == 0, shown.stderr
        assert shown.stdout.startswith(begin)
        written = CliRunner().invoke(main, ["export", form, str(run), "--out", str(tmp_path / form)])
        assert (written.exit_code, written.stdout) == (0, "")
        assert (tmp_path / form).read_text() == shown.stdout
    assert len(ElementTree.parse(tmp_path / "junit").getroot().findall(".//testcase")) == 6


def test_folders_are_named_on_stdout_and_losses_on_stderr(run: Path, tmp_path: Path) -> None:
    for form, file in (
        ("lm-eval", "samples_vqa_rad_"),
        ("inspect", "vqa_rad.eval"),
        ("every-eval-ever", "data/vqa_rad"),
    ):
        shown = CliRunner().invoke(main, ["export", form, str(run), "--out", str(tmp_path / form)])
        assert shown.exit_code == 0, shown.stderr
        assert shown.stdout.startswith(f"{tmp_path / form}/{file}")
        assert (
            "the run is of a part of the samples; scored again, all others of the task count as failed" in shown.stderr
        )


def test_what_cannot_be_written_ends_with_2(run: Path, tmp_path: Path) -> None:
    for form in ("png", "nifti", "coco", "dicom-seg"):
        shown = CliRunner().invoke(main, ["export", form, str(run), "--out", str(tmp_path / form)])
        assert shown.exit_code == 2
        assert f"no task can be written as {form}\n  vqa_rad: expected a task that gives masks" in shown.stderr
    shown = CliRunner().invoke(main, ["export", "hf-results", str(run), "--dataset", "vqa_rad"])
    assert (shown.exit_code, shown.stderr.strip()) == (2, "harness: --dataset vqa_rad: expected TASK=ORG/NAME")
    shown = CliRunner().invoke(main, ["export", "ctrf", str(tmp_path)])
    assert shown.exit_code == 2
    assert "has no results.json; expected a finished run directory" in shown.stderr


def test_records_name_the_evaluator(run: Path, tmp_path: Path) -> None:
    options = ["--organization", "Clinic of ours", "--relationship", "third_party"]
    shown = CliRunner().invoke(main, ["export", "every-eval-ever", str(run), "--out", str(tmp_path / "eee"), *options])
    content = json.loads(Path(shown.stdout.strip()).read_text())
    assert content["source_metadata"]["source_organization_name"] == "Clinic of ours"
    assert content["source_metadata"]["evaluator_relationship"] == "third_party"
