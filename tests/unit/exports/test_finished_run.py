"""What every export reads of a run, and how each says that it could not be written."""

import json
from pathlib import Path
from unittest.mock import Mock

import pytest

from harness.errors import SpecError
from harness.exports.finished_run import NO_TIME, finished_run
from harness.exports.logs import inspect_log, lm_eval_samples
from harness.exports.predictions import coco, folder
from harness.exports.predictions.masks import PngMasks
from harness.exports.reports import every_eval_ever
from harness.runs.directory import RunDirectory
from tests.support.exported_runs import ExportedCase


def test_a_disk_that_is_full_is_one_clear_message(
    image_case: ExportedCase, word_case: ExportedCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Mock(side_effect=OSError(28, "No space left on device"))
    for module in (folder, coco, lm_eval_samples, every_eval_ever):
        monkeypatch.setattr(module, "write_lines", full)
    monkeypatch.setattr(inspect_log, "_write", full)
    exports = (
        (image_case, lambda out, paths: folder.write_predictions(image_case.run, out, PngMasks(), task_paths=paths)),
        (image_case, lambda out, paths: coco.write_coco(image_case.run, out, task_paths=paths)),
        (word_case, lambda out, paths: lm_eval_samples.write_samples(word_case.run, out, task_paths=paths)),
        (word_case, lambda out, paths: inspect_log.write_logs(word_case.run, out, task_paths=paths)),
        (word_case, lambda out, paths: every_eval_ever.write_records(word_case.run, out, task_paths=paths)),
    )
    for number, (case, export) in enumerate(exports):
        out = tmp_path / str(number)
        with pytest.raises(SpecError, match=f"--out {out}: cannot be written: No space left on device; name another"):
            export(out, case.task_paths)


def test_a_run_without_numbers_is_refused(image_case: ExportedCase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunDirectory, "read_results", lambda _: {"tasks": {}})
    message = r"has no scored task, so there is nothing to export; its results\.json says why"
    with pytest.raises(SpecError, match=message), finished_run(image_case.run):
        pass


def test_the_time_is_that_of_the_first_session_that_can_be_read(
    image_case: ExportedCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(text: str) -> str:
        (tmp_path / "sessions.jsonl").write_text(text)
        with finished_run(image_case.run, task_paths=image_case.task_paths) as run:
            return run.started

    monkeypatch.setattr(RunDirectory, "sessions_path", tmp_path / "sessions.jsonl")
    line = json.dumps({"started": "2026-01-02T03:04:05Z"})
    assert started(f"torn\n[]\n{line}\n") == "2026-01-02T03:04:05Z"
    assert started("torn") == NO_TIME
