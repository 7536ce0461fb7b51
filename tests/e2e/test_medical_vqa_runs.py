"""The medical VQA sets and MMMU as commands: valid on drawn releases, run by a baseline, shown, handed in."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.data.phantoms.writers.mmmu import write_mmmu

TASKS = (
    *("vqa_rad_closed", "vqa_rad_yes_no", "slake", "slake_open", "slake_zh", "pathvqa", "pathvqa_authors"),
    *("pmc_vqa", "pmc_vqa_v1", "pmc_vqa_v2", "mmmu_hm_validation", "mmmu_hm_test"),
    *("slake_words", "pathvqa_words", "pmc_vqa_words"),
)


@pytest.fixture(scope="module")
def mmmu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with MMMU in its own layout, which the commands take for real."""
    root = tmp_path_factory.mktemp("mmmu")
    write_mmmu(root, 3)
    return root


def test_every_task_is_valid_on_drawn_releases(command: Any) -> None:
    result = command("validate", *TASKS, "--data-root", "phantom", "--json")
    assert result.exit_code == 0, result.stdout
    reports = json.loads(result.stdout)
    assert [report["task"] for report in reports] == list(TASKS)
    for report in reports:
        assert report["samples"] >= 20
        for means in report["scores"].values():
            assert (means["oracle"], means["empty"]) == (1.0, 0.0)
            assert means["shuffled"] < 0.8


def test_the_groups_run_with_their_printed_means(command: Any, tmp_path: Path) -> None:
    words = ("--tasks", "huatuo_vqa,mimo_vqa,mmmu_hm", "--model", "baseline:random", "--limit", "8", "--ray", "off")
    result = command("run", *words, "--data-root", "phantom", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    results = json.loads((tmp_path / "run/results.json").read_text())
    for name in ("huatuo_vqa", "mimo_vqa"):
        (mean,) = results["groups"][name]["metrics"]
        assert (mean["metric"], mean["protocol"], mean["mean"]) == ("choice_accuracy", "huatuo", "macro")
        headlines = [_row(results["tasks"][task], "huatuo")["value"] for task in results["groups"][name]["members"]]
        assert mean["value"] == pytest.approx(sum(headlines) / len(headlines), abs=1e-12)
    assert {block["wording"] for block in results["tasks"].values()} == {"own"}


def _row(block: Any, protocol: str, mean: str = "micro") -> Any:
    return next(
        row for row in block["metrics"] if (row["protocol"], row["mean"], row["stratum"]) == (protocol, mean, None)
    )


def test_show_tells_subset_rule_size_protocols_and_mean(command: Any) -> None:
    shown = json.loads(command("show", "vqa_rad_yes_no", "--json").stdout)
    assert shown["release"]["where"] == {"answer_type": ["closed"], "answer_form": ["yes/no"]}
    assert (shown["release"]["samples"], shown["release"]["split"], shown["headline"]["mean"]) == (251, "test", "micro")
    assert "huatuo" in {row["protocol"] for row in shown["metrics"]}
    shown = json.loads(command("show", "mmmu_hm_test", "--json").stdout)
    assert (shown["release"]["samples"], shown["headline"]["over"]) == (1752, "subject")


def test_mmmu_has_item_weighted_and_macro_means_and_counts_open_questions_by_its_own_rule_only(
    command: Any, mmmu: Path, tmp_path: Path
) -> None:
    words = ("--tasks", "mmmu_hm_test", "--model", "baseline:oracle", "--ray", "off", "--out", tmp_path / "run")
    assert command("run", *words, "--data-root", mmmu).exit_code == 0
    block = json.loads((tmp_path / "run/results.json").read_text())["tasks"]["mmmu_hm_test"]
    assert (block["wording"], block["coverage"]) == ("mmmu", 1.0)
    assert _row(block, "mmmu")["n"] == block["wanted"]
    assert _row(block, "mmmu", "macro")["value"] == 1.0
    lettered = _row(block, "strict-letter")
    assert lettered["n"] + lettered["undefined"] == block["wanted"]
    assert lettered["undefined"] == 10
    subjects = {row["stratum"]["subject"] for row in block["metrics"] if "subject" in (row["stratum"] or {})}
    assert len(subjects) == 5


def test_without_a_key_the_answers_are_collected_and_handed_in(command: Any, tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_mmmu(root, 3)
    key = json.loads((root / "mmmu/answer_dict_test.json").read_text())
    (root / "mmmu/answer_dict_test.json").unlink()
    lines = [
        json.dumps({"sample_id": f"mmmu/test/{name}", "text": f"({entry['ground_truth']})"})
        for name, entry in key.items()
    ]
    (tmp_path / "replies.jsonl").write_text("\n".join(lines[1:]) + "\n")
    words = ("--tasks", "mmmu_hm_test", "--predictions", tmp_path / "replies.jsonl", "--max-failures", "100%")
    assert command("score", *words, "--data-root", root, "--out", tmp_path / "run").exit_code == 0
    block = json.loads((tmp_path / "run/results.json").read_text())["tasks"]["mmmu_hm_test"]
    assert (_row(block, "mmmu")["value"], _row(block, "mmmu")["n"]) == (None, 0)
    result = command("export", "mmmu", tmp_path / "run", "--out", tmp_path / "answers.json")
    assert result.exit_code == 0, result.stderr
    answers = json.loads((tmp_path / "answers.json").read_text())
    first, *others = key
    assert (set(answers), answers[first]) == (set(key), "")
    lettered = [name for name in others if key[name]["question_type"] == "multiple-choice"]
    assert [answers[name] for name in lettered] == [key[name]["ground_truth"] for name in lettered]
    assert f"{len(key)} answers, 1 empty, 0 without a letter that is read" in result.stderr


def test_only_a_run_on_mmmu_can_be_handed_in(command: Any, tmp_path: Path) -> None:
    words = ("--tasks", "slake", "--model", "baseline:empty", "--limit", "1", "--ray", "off", "--out", tmp_path / "run")
    command("run", *words, "--data-root", "phantom")
    result = command("export", "mmmu", tmp_path / "run", "--out", tmp_path / "answers.json")
    assert result.exit_code == 2
    assert "expected a run of mmmu_hm_test or another task that reads MMMU, found slake" in result.stderr


def test_a_file_that_cannot_be_written_is_named(command: Any, mmmu: Path, tmp_path: Path) -> None:
    words = ("--tasks", "mmmu_hm_validation", "--model", "baseline:empty", "--limit", "2", "--ray", "off")
    command("run", *words, "--data-root", mmmu, "--out", tmp_path / "run", "--max-failures", "100%")
    result = command("export", "mmmu", tmp_path / "run", "--out", tmp_path / "none/answers.json")
    assert result.exit_code == 2
    assert "cannot be written: No such file or directory; name another file" in result.stderr


def test_a_release_of_another_size_is_said(command: Any, mmmu: Path) -> None:
    result = command("prepare", "mmmu_hm_test", "--data-root", mmmu)
    assert result.exit_code == 0
    assert "mmmu_hm_test: expected 1,752 samples of the release, found" in result.stderr
