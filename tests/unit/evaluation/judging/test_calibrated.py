"""`harness judge calibrate`: kept in the run, printed beside every judged number, and for files without a run."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.errors import DataError, SpecError
from harness.evaluation.judging.calibrated import calibrate_file, calibrate_run, calibration_text
from harness.evaluation.judging.judge import JudgeSpec, judge
from harness.evaluation.rescore import rescore
from harness.metrics.answers.judge_words import UNCALIBRATED, judge_words
from harness.runs.judgements import read_calibrations
from tests.unit.evaluation.judging.test_judge import ID, SAMPLES, write_run


def labelled(folder: Path, labels: list[str]) -> Path:
    path = folder / "labels.csv"
    path.write_text("sample_id,label\n" + "".join(f"{ID.format(n)},{label}\n" for n, label in enumerate(labels)))
    return path


def about(run: Path) -> dict[str, object]:
    block = rescore(run, task_paths=(), protocols=(), max_failures="100%").results["tasks"]["vqa_rad"]
    found: dict[str, object] = next(row["judge"] for row in block["metrics"] if row["metric"] == "judge")
    return found


def test_a_run_is_uncalibrated_until_its_judge_was_compared_with_people(tmp_path: Path) -> None:
    run = write_run(tmp_path, dict.fromkeys(range(SAMPLES - 1), "yes"))
    with pytest.raises(SpecError, match=r"has not been judged; run `harness judge .* --judge REF` first"):
        calibrate_run(run, labelled(tmp_path, ["correct"]))
    judge(JudgeSpec(run=run, judges=(("judge:rules", {}),)))
    assert about(run)["calibration"] is None
    judge(JudgeSpec(run=run, judges=(("scripted", {"text": "hm"}),)))  # has no judgement, and is left out
    assert UNCALIBRATED in judge_words(about(run))
    labels = labelled(tmp_path, ["correct", "incorrect"] * (SAMPLES // 2))
    called = CliRunner().invoke(main, ["judge", "calibrate", str(run), "--labels", str(labels), "--json"])
    assert called.exit_code == 0, called.output
    (entry,) = json.loads(called.stdout)["calibrations"]
    # The model said nothing to the last question: no judge saw it.
    assert (entry["n"], entry["not_asked"], entry["kind"]) == (SAMPLES - 1, 1, "verdict")
    assert read_calibrations(run) == [entry]
    summary = about(run)["calibration"]
    assert isinstance(summary, dict)
    assert summary["accuracy"] == entry["agreement"]["accuracy"]["value"]
    assert "agrees with people: accuracy" in judge_words(about(run))
    assert "agrees with people: accuracy" in (run / "report.html").read_text(encoding="utf-8")
    assert f"{SAMPLES - 1} answers of" in calibration_text(entry)
    assert "1 not shown to the judge" in calibration_text(entry)
    pairs = labelled(tmp_path, ["win"])
    with pytest.raises(SpecError, match=r"no judge of .* suits these labels: win, tie and loss suit a pairwise rubric"):
        calibrate_run(run, pairs)
    (run / "judgements/calibration.json").write_text("{}")
    with pytest.raises(DataError, match=r"calibration\.json: is damaged or was changed: .*; delete it and run"):
        read_calibrations(run)
    (run / "digests.json").unlink()  # as in a run of an older version
    with pytest.raises(DataError, match=r"calibration\.json: expected calibrations of judges \(KeyError"):
        read_calibrations(run)


def test_judgements_of_a_file_are_compared_without_a_run(tmp_path: Path) -> None:
    judgements = tmp_path / "judge.jsonl"
    lines = [{"sample_id": ID.format(n), "score": 100 * (n % 2), "length": n} for n in range(6)]
    judgements.write_text("".join(json.dumps(line) + "\n" for line in lines))
    labels = labelled(tmp_path, ["incorrect", "correct"] * 3)
    assert calibrate_file(judgements, labels)["agreement"]["kappa"]["value"] == 1.0
    called = CliRunner().invoke(main, ["judge", "calibrate", str(judgements), "--labels", str(labels)])
    assert (called.exit_code, "judgements: 6 answers of 6 patients" in called.stdout) == (0, True)
    named = ["judge", "calibrate", str(judgements), "--labels", str(labels), "--protocol", "x"]
    assert "--protocol x: names a judge of a run" in CliRunner().invoke(main, named).output
    judgements.write_text('{"sample_id": "a", "verdict": "win"}\n')
    with pytest.raises(
        DataError, match=r"expected correct, partly or incorrect, as labels\.csv holds such labels, found"
    ):
        calibrate_file(judgements, labels)
