"""`harness validate`, `list`, `show` and `prepare` as a task author uses them."""

import json
from pathlib import Path
from typing import Any

TASK = """\
task: mine
dataset: mine
version: 1
title: Structures, in my own words
release: {reader: samed2d, split: all}
gives: masks
oracle: "<SEG>"
prompt: "Where is the {class}?"
metrics:
  - {metric: dice}
headline: {metric: dice}
strata: [modality]
cluster: patient
"""

FIVE_FAULTS = """\
task: bad
version: 1
title: Bad
colour: red
release: {reader: samed2d, split: all}
gives: masks
oracle: "<SEG>"
prompt: "Where is the {class}?"
repeats: many
metrics:
  - {metric: dyce}
  - {metric: vqa_accuracy}
title: Again
headline: {metric: dice}
"""


def _write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_one_validate_names_five_faults_with_file_and_line(command: Any, tmp_path: Path) -> None:
    file = _write(tmp_path, FIVE_FAULTS)
    result = command("validate", file)
    assert result.exit_code == 2
    assert f"{file}:4: colour: unknown key" in result.stdout
    assert f"{file}:9: repeats: expected a whole number" in result.stdout
    assert f"{file}:11: metrics[0].metric: expected one of" in result.stdout
    assert "did you mean 'dice'?" in result.stdout
    assert f"{file}:12: metrics[1].metric: 'vqa_accuracy' does not suit gives: masks" in result.stdout
    assert f"{file}:13: title: duplicate key, first in line 3" in result.stdout


def test_five_faults_are_named_by_task_name_too(command: Any, tmp_path: Path) -> None:
    _write(tmp_path, FIVE_FAULTS)
    result = command("validate", "bad", "--task-path", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.count("mine.yaml:") == 5


def test_a_file_alone_is_checked_without_data(command: Any, tmp_path: Path) -> None:
    result = command("validate", _write(tmp_path, TASK))
    assert result.exit_code == 0
    assert "ok (file only)" in result.stdout


def test_with_data_the_samples_are_rendered_opened_and_scored(command: Any, tmp_path: Path) -> None:
    result = command("validate", _write(tmp_path, TASK), "--data-root", "phantom", "--json")
    assert result.exit_code == 0, result.stdout
    (report,) = json.loads(result.stdout)
    assert report["samples"] == 32
    assert report["prompt"].startswith("Where is the ")
    means = report["scores"]["dice (standard)"]
    assert means["oracle"] == 1.0
    assert means["empty"] == 0.0
    assert means["shuffled"] < 1.0


def test_an_oracle_below_the_ceiling_is_a_fault(command: Any, tmp_path: Path) -> None:
    data = tmp_path / "data" / "vqa_rad"
    (data / "images").mkdir(parents=True)
    from PIL import Image

    Image.new("L", (8, 8)).save(data / "images" / "one.jpg")
    record = {"qid": 1, "image_name": "one.jpg", "image_organ": "HEAD", "answer": "left lung", "answer_type": "OPEN"}
    record |= {"question_type": "POS", "question": "Where?", "phrase_type": "freeform"}
    (data / "testset.json").write_text(json.dumps([record]))
    (data / "trainset.json").write_text("[]")
    text = TASK.replace("reader: samed2d, split: all", "reader: vqa_rad, split: test").replace(
        "gives: masks", "gives: text"
    )
    text = text.replace("<SEG>", "the {answer}").replace("{class}", "{question}").replace("dice", "vqa_accuracy")
    file = _write(tmp_path, text.replace("[modality]", "[answer_type]"))
    result = command("validate", file, "--data-root", tmp_path / "data")
    assert result.exit_code == 2
    assert "the oracle's answer stays below the ceiling on mine/test/1" in result.stdout


def test_an_absent_release_is_a_fault_of_the_validation(command: Any, tmp_path: Path) -> None:
    result = command("validate", "samed2d_seg", "--data-root", tmp_path)
    assert result.exit_code == 2
    assert "expected SAMed2Dv1/ below a data root" in result.stdout


def test_a_missing_task_file_is_named(command: Any, tmp_path: Path) -> None:
    result = command("validate", tmp_path / "no.yaml")
    assert result.exit_code == 2
    assert "no such task file" in result.stderr


def test_an_unknown_task_gets_the_nearest_name(command: Any) -> None:
    result = command("validate", "samed2d_sge")
    assert result.exit_code == 2
    assert "did you mean 'samed2d_seg'?" in result.stderr


def test_list_names_tasks_models_metrics_protocols_and_recipes(command: Any) -> None:
    assert "samed2d_seg_box" in command("list", "tasks").stdout
    assert "baseline" in command("list", "models").stdout
    assert "token_prf" in command("list", "metrics").stdout
    protocols = json.loads(command("list", "protocols", "--json").stdout)
    assert {"protocol": "vqa-v2", "metrics": "vqa_accuracy"} in protocols
    assert "montage-9             1        9 axial slices as one image of 3 x 3" in command("list", "recipes").stdout


def test_list_finds_tasks_below_a_task_path(command: Any, tmp_path: Path) -> None:
    _write(tmp_path, TASK)
    assert "Structures, in my own words" in command("list", "tasks", "--task-path", tmp_path).stdout


def test_show_tells_what_a_task_asks_and_how_it_is_scored(command: Any) -> None:
    shown = json.loads(command("show", "samed2d_seg_box", "--json").stdout)
    assert shown["visual_prompt"] == "box"
    assert {"metric": "dice", "protocol": "medplib"} in shown["metrics"]
    text = command("show", "samed2d_seg_box").stdout
    assert "fallbacks:\n  box_as_text: per_mille" in text
    group = json.loads(command("show", "mecovqa", "--json").stdout)
    assert [task["task"] for task in group["tasks"]] == ["mecovqa_c", "mecovqa_r", "mecovqa_g"]


def test_prepare_prints_counts_and_the_same_digest_twice(command: Any) -> None:
    first = json.loads(command("prepare", "samed2d_seg", "--data-root", "phantom", "--json").stdout)
    again = json.loads(command("prepare", "samed2d_seg", "--data-root", "phantom", "--json").stdout)
    assert first == again
    assert first[0]["samples"] > 0
    text = command("prepare", "samed2d_seg", "--data-root", "phantom").stdout
    assert f"{first[0]['samples']} samples" in text
    assert "nothing found, nothing repaired" in text


def test_a_command_without_data_root_names_both_ways(command: Any) -> None:
    result = command("prepare", "samed2d_seg")
    assert result.exit_code == 2
    assert "a folder with the releases, or `phantom`" in result.stderr
