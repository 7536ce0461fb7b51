"""Answers as lm-eval logs them: its own functions find and print them, and they come back."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.api import load_scores
from harness.errors import SpecError
from harness.exports.finished_run import SampleScore, finished_run
from harness.exports.logs.lm_eval_samples import _line, write_samples
from harness.models.submitted.foreign_logs import lm_eval
from harness.records import ErrorInfo, Prediction
from tests.support.exported_runs import NAMES, ExportedCase, item_of, numbers


def test_answers_come_back_with_the_same_numbers(word_case: ExportedCase, tmp_path: Path) -> None:
    (file,), notes = write_samples(word_case.run, tmp_path / "logs", task_paths=word_case.task_paths)
    assert notes == []
    again = word_case.score(file, tmp_path / "again", log="lm-eval")
    assert numbers(again) == word_case.numbers


def test_functions_of_lm_eval_find_the_files_and_print_the_table(word_case: ExportedCase, tmp_path: Path) -> None:
    utils = pytest.importorskip("lm_eval.utils")
    (file,), _ = write_samples(word_case.run, tmp_path / "logs", task_paths=word_case.task_paths)
    names = [str(path) for path in (tmp_path / "logs").iterdir()]
    assert utils.get_sample_results_filenames(names) == [str(file)]
    assert utils.get_file_task_name(file.name) == "lobes"
    (results,) = utils.get_results_filenames(names)
    assert utils.get_file_datetime(file.name) == utils.get_file_datetime(Path(results).stem)
    content = json.loads(Path(results).read_text())
    table = utils.make_table(content)
    row = next(row for row in word_case.rows if (row["name"], row["stratum"]) == ("f1", None))
    assert content["results"]["lobes"]["token_prf.standard.f1,none"] == row["value"]
    assert content["results"]["lobes"]["token_prf.standard.f1_ci,none"] == row["ci"]
    assert f"{row['value']:.4f}" in table


def test_a_line_has_the_fields_of_lm_eval_and_the_scores_of_the_sample(word_case: ExportedCase, tmp_path: Path) -> None:
    (file,), _ = write_samples(word_case.run, tmp_path / "logs", task_paths=word_case.task_paths)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["doc"]["sample_id"] for line in lines] == [f"lobes/all/{name}" for name in NAMES]
    assert {"doc_id", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash"} <= set(
        lines[0]
    )
    assert lines[0]["arguments"]["gen_args_0"]["arg_0"] == "Find it in image 0"
    assert [line["statuses"][0] for line in lines[-4:]] == ["refused", "empty", "model_error", "timeout"]
    values = load_scores(word_case.run)["token_prf.standard.f1"].tolist()
    assert [line["token_prf.standard.f1"] for line in lines] == pytest.approx(values, abs=1e-12)


def test_statuses_that_are_none_of_ours_do_not_count() -> None:
    for statuses in (["fine"], ["ok", "ok"], "refused", None, [None]):
        assert lm_eval._statuses({"statuses": statuses}, 1) == [("ok", None)]
    assert lm_eval._statuses({"statuses": ["timeout"], "errors": ["slow\x07"]}, 1) == [("timeout", "slow\\x07")]
    assert lm_eval._statuses({"statuses": ["timeout"], "errors": [3]}, 1) == [("timeout", None)]


def test_what_lm_eval_does_not_hold_is_refused(image_case: ExportedCase, tmp_path: Path) -> None:
    message = "no task can be written as lm-eval\n  organs2d: expected a task that asks for words, found one that gives"
    with pytest.raises(SpecError, match=message):
        write_samples(image_case.run, tmp_path / "out", task_paths=image_case.task_paths)


def test_repetitions_share_a_line_that_is_read_as_several_answers(word_case: ExportedCase, tmp_path: Path) -> None:
    said = Prediction(key="k", status="ok", text="left")
    failed = Prediction(key="k", status="model_error", error=ErrorInfo(type="CUDA", message="out of memory"))
    scores = [
        SampleScore(
            metric="f1",
            protocol="p",
            protocol_version=1,
            status="ok",
            failed=False,
            values={"f1": value, "other": None},
        )
        for value in (1.0, 0.5)
    ]
    repeats = [
        replace(item_of(one, status=one.status), repeat=number, scores=(score,))
        for number, (one, score) in enumerate(zip((said, failed), scores, strict=True))
    ]
    with finished_run(word_case.run, task_paths=word_case.task_paths) as run:
        line = _line(run, 0, repeats, {})
    assert (line["resps"], line["f1.p"], line["f1.p.other"]) == ([["left", ""]], 0.75, None)
    (tmp_path / "samples.jsonl").write_text(json.dumps(line) + "\n")
    first, second = lm_eval.rows(tmp_path / "samples.jsonl")
    assert (first.ids, first.text, first.status, first.repeat) == (("d/all/1",), "left", "ok", 0)
    assert (second.repeat, second.status, second.error) == (1, "model_error", "CUDA: out of memory")
