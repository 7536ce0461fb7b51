"""Logs of inspect_ai: its reader takes them, and they come back."""

import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from harness.exports.logs.inspect_log import write_logs
from harness.imaging import mask_files
from tests.conftest import python_with
from tests.support.exported_runs import NAMES, ExportedCase, numbers

# Reads a log by inspect_ai and prints what it found.
READ = """
import json, sys
from inspect_ai.log import read_eval_log, read_eval_log_sample, read_eval_log_sample_summaries

path = sys.argv[1]
log = read_eval_log(path)
one = read_eval_log_sample(path, log.samples[1].id, 1)
print(json.dumps({
    "status": log.status, "task": log.eval.task, "version": log.eval.task_version, "model": log.eval.model,
    "weights": log.eval.metadata["medground"]["model"]["weights"],
    "header": read_eval_log(path, header_only=True).eval.task,
    "summaries": len(read_eval_log_sample_summaries(path)),
    "one": one.id,
    "samples": [
        {"id": sample.id, "reply": sample.output.completion, "error": sample.error and sample.error.message,
         "stop": sample.output.choices[0].stop_reason if sample.output.choices else None,
         "scores": {name: score.value for name, score in (sample.scores or {}).items()},
         "geometry": sample.metadata["geometry"]}
        for sample in log.samples
    ],
    "scores": {score.name: {name: [it.value, it.metadata["ci"], it.metadata["n"]] for name, it in score.metrics.items()}
               for score in log.results.scores},
}))
"""


def member(log: Path, name: str) -> dict[str, object]:
    with zipfile.ZipFile(log) as archive:
        found: dict[str, object] = json.loads(archive.read(name))
        return found


def test_answers_come_back_with_the_same_numbers(word_case: ExportedCase, tmp_path: Path) -> None:
    (log,), notes = write_logs(word_case.run, tmp_path / "logs", task_paths=word_case.task_paths)
    assert notes == []
    again = word_case.score(log, tmp_path / "again", log="inspect")
    assert numbers(again) == word_case.numbers


def test_no_member_of_the_archive_leads_out_of_a_folder(word_case: ExportedCase, tmp_path: Path) -> None:
    (log,), _ = write_logs(word_case.run, tmp_path / "logs", task_paths=word_case.task_paths)
    with zipfile.ZipFile(log) as archive:
        names = archive.namelist()
    assert "samples/lobes/all/%2E%2E/%2E%2E/etc/x_epoch_1.json" in names
    assert not [name for name in names if ".." in name.split("/")]
    assert member(log, "samples/lobes/all/%2E%2E/%2E%2E/etc/x_epoch_1.json")["id"] == "lobes/all/../../etc/x"
    assert (
        log.read_bytes()
        == write_logs(word_case.run, tmp_path / "b", task_paths=word_case.task_paths)[0][0].read_bytes()
    )


def test_masks_are_in_the_metadata_and_said_to_be_lost(image_case: ExportedCase, tmp_path: Path) -> None:
    (log,), notes = write_logs(image_case.run, tmp_path / "logs", task_paths=image_case.task_paths)
    assert any("masks, boxes and points as answers" in note for note in notes)
    found = member(log, "samples/organs2d/all/Case_epoch_1.json")["metadata"]
    geometry = found["geometry"]  # type: ignore[index]
    assert mask_files.from_json(geometry["masks"][0], where="").size == (12, 16)
    assert len(geometry["mask_scores"]) == 2


@pytest.mark.slow
def test_inspect_ai_reads_the_log(word_case: ExportedCase, image_case: ExportedCase, tmp_path: Path) -> None:
    python = python_with("MEDGROUND_INSPECT_PYTHON", ".venv-inspect/bin/python", "inspect_ai")
    for case in (word_case, image_case):
        (log,), _ = write_logs(case.run, tmp_path / case.task, task_paths=case.task_paths)
        done = subprocess.run(
            [python, "-c", READ, log],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "HOME": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        results = json.loads((case.run / "results.json").read_text())
        assert (found["status"], found["task"], found["header"], found["version"]) == ("success", *[case.task] * 2, 3)
        assert (found["model"], found["weights"]) == (results["model"]["name"], results["model"]["weights"])
        assert found["one"] == f"{case.task}/all/Case"
        assert [sample["id"] for sample in found["samples"]] == sorted(f"{case.task}/all/{name}" for name in NAMES)
        assert found["summaries"] == len(NAMES)
        assert {sample["stop"] for sample in found["samples"]} == {None, "stop", "content_filter"}
        for row in case.rows:
            if row["value"] is not None and row["stratum"] is None:
                name = ".".join(dict.fromkeys((row["metric"], row["protocol"], row["name"])))
                assert found["scores"][name][row["mean"]] == [row["value"], row["ci"], row["n"]]
    masks = {sample["id"].rpartition("/")[2]: sample["geometry"] for sample in found["samples"]}
    assert len(masks["Case"]["masks"]) == 2
