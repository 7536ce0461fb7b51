"""`harness run` and `harness score` as an evaluator uses them, on drawn patients."""

import json
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.data.phantoms.writers.samed2d import write_samed2d


def _run(command: Any, out: Path, *words: object, tasks: str = "samed2d_seg", model: str = "baseline:otsu") -> Any:
    return command(
        "run", "--tasks", tasks, "--model", model, "--data-root", "phantom", "--ray", "off", "--out", out, *words
    )


def _results(out: Path) -> Any:
    return json.loads((out / "results.json").read_text())


def test_a_run_leaves_everything_that_the_design_names(command: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = _run(command, out)
    assert result.exit_code == 0, result.stderr
    names = {path.name for path in out.iterdir()}
    assert names >= {
        "run.json",
        "sessions.jsonl",
        "plan",
        "predictions",
        "events.jsonl",
        "status.json",
        "scores",
        "results.json",
        "performance.json",
        "report.html",
        "lock",
    }
    assert json.loads((out / "status.json").read_text())["state"] == "done"
    assert "samed2d_seg" in result.stdout
    assert str(out / "results.json") in result.stderr


def test_results_have_the_documented_shape(command: Any, tmp_path: Path) -> None:
    _run(command, tmp_path / "run")
    results = _results(tmp_path / "run")
    assert results["schema"] == 1
    assert results["data"] == "phantom"
    assert results["limited"] is False
    block = results["tasks"]["samed2d_seg"]
    assert block["coverage"] == 1.0
    assert sum(block["counts"].values()) == block["wanted"]
    row = block["metrics"][0]
    assert {"metric", "name", "protocol", "protocol_version", "higher_is_better", "stratum", "mean", "value"} <= set(
        row
    )
    assert {"ci", "ci_method", "n", "clusters", "undefined", "failed", "unparsed"} <= set(row)
    assert row["stratum"] is None
    assert row["mean"] == "micro"
    by_modality = [item for item in block["metrics"] if item["stratum"] and "modality" in item["stratum"]]
    assert sum(item["n"] for item in by_modality if _same(item, row)) == row["n"]
    assert any(item["mean"] == "macro" for item in block["metrics"])


def _same(row: Any, other: Any) -> bool:
    return bool((row["metric"], row["protocol"], row["name"]) == (other["metric"], other["protocol"], other["name"]))


def test_the_same_command_again_asks_nothing_and_changes_nothing(command: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    _run(command, out)
    before = (out / "results.json").read_bytes()
    predictions = (out / "predictions" / "predictions.jsonl").read_bytes()
    assert _run(command, out).exit_code == 0
    assert (out / "results.json").read_bytes() == before
    assert (out / "predictions" / "predictions.jsonl").read_bytes() == predictions
    assert len((out / "sessions.jsonl").read_text().splitlines()) == 2


def test_lost_predictions_are_asked_again_to_the_same_bytes(command: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    _run(command, out)
    before = (out / "results.json").read_bytes()
    path = out / "predictions" / "predictions.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:7]) + lines[7][:40])
    assert _run(command, out).exit_code == 0
    assert (out / "results.json").read_bytes() == before


def test_json_writes_the_results_and_nothing_else_to_stdout(command: Any, tmp_path: Path) -> None:
    result = _run(command, tmp_path / "run", "--json")
    assert json.loads(result.stdout) == _results(tmp_path / "run")


def test_another_run_on_the_same_out_is_refused_with_the_difference(command: Any, tmp_path: Path) -> None:
    _run(command, tmp_path / "run")
    result = _run(command, tmp_path / "run", "--seed", "5")
    assert result.exit_code == 2
    assert "holds another run" in result.stderr
    assert "seed: stored 0, requested 5" in result.stderr


def test_limits_nest_and_are_marked(command: Any, tmp_path: Path) -> None:
    sizes = {}
    for limit in (4, 9):
        out = tmp_path / str(limit)
        assert _run(command, out, "--limit", limit).exit_code == 0
        assert _results(out)["limited"] is True
        lines = (out / "predictions" / "predictions.jsonl").read_text().splitlines()
        sizes[limit] = {json.loads(line)["key"] for line in lines}
    assert len(sizes[4]) == 4
    assert sizes[4] < sizes[9]


def test_a_group_brings_its_members(command: Any, tmp_path: Path) -> None:
    assert _run(command, tmp_path / "run", tasks="demo", model="baseline:center-box").exit_code == 0
    results = _results(tmp_path / "run")
    members = results["groups"]["demo"]["members"]
    assert {"samed2d_seg", "samed2d_seg_box", "vqa_rad"} < set(members)
    assert set(results["tasks"]) == {"samed2d_seg", "samed2d_seg_box", "mecovqa_g", "m3d_semantic_segmentation"}
    assert set(results["tasks"]) | set(results["unsupported"]) == set(members)


def test_a_pair_that_cannot_work_is_an_unsupported_cell_with_its_reason(command: Any, tmp_path: Path) -> None:
    result = _run(command, tmp_path / "run", "--model-args", "text=yes", model="scripted")
    assert result.exit_code == 0
    results = _results(tmp_path / "run")
    assert results["tasks"] == {}
    assert "a model that gives masks (" in results["unsupported"]["samed2d_seg"]


def test_a_model_without_train_split_has_no_prior(command: Any, tmp_path: Path) -> None:
    assert _run(command, tmp_path / "run", model="baseline:majority").exit_code == 0
    assert "the release has none" in _results(tmp_path / "run")["unsupported"]["samed2d_seg"]


def test_absent_files_of_a_named_task_end_with_2(command: Any, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    words = ("run", "--tasks", "vqa_rad", "--model", "baseline:majority", "--data-root", tmp_path / "data")
    result = command(*words, "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "expected vqa_rad/ below a data root" in result.stderr


def test_absent_files_of_a_group_member_are_unavailable_and_the_run_goes_on(command: Any, tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    group = "both: {title: Both, tasks: [samed2d_seg, vqa_rad], combine: none}\n"
    (tmp_path / "tasks" / "groups.yaml").write_text(group)
    write_samed2d(tmp_path / "data", seed=1, patients=3)
    words = ("run", "--tasks", "both", "--model", "baseline:otsu", "--data-root", tmp_path / "data", "--ray", "off")
    result = command(*words, "--out", tmp_path / "run", "--task-path", tmp_path / "tasks")
    assert result.exit_code == 0, result.stderr
    results = _results(tmp_path / "run")
    assert set(results["tasks"]) == {"samed2d_seg"}
    (item,) = results["unavailable"]
    assert item["task"] == "vqa_rad"
    assert item["metric"] is None
    assert "--data-root" in item["remedy"]
    assert "looked in: DATA." in item["reason"]
    assert str(tmp_path) not in (tmp_path / "run" / "results.json").read_text()


def test_oracle_reaches_the_ceiling_and_empty_the_floor(command: Any, tmp_path: Path) -> None:
    for model, expected in (("oracle", 1.0), ("empty", 0.0)):
        assert _run(command, tmp_path / model, model=f"baseline:{model}").exit_code == 0
        rows = [row for row in _results(tmp_path / model)["tasks"]["samed2d_seg"]["metrics"] if row["stratum"] is None]
        assert {row["value"] for row in rows} == {expected}


def test_an_empty_answer_counts_as_failed_and_not_as_a_fault(command: Any, tmp_path: Path) -> None:
    result = _run(command, tmp_path / "run", "--max-failures", "0", model="baseline:empty")
    assert result.exit_code == 0
    row = _results(tmp_path / "run")["tasks"]["samed2d_seg"]["metrics"][0]
    assert row["failed"] == row["n"]


def test_dry_run_says_what_would_be_asked_and_writes_no_run(command: Any, tmp_path: Path) -> None:
    words = _run(command, tmp_path / "run", "--dry-run", "--limit", "5").stdout
    assert "5 requests, 16 in a batch" in words
    assert "samed2d_seg: 5 samples" in words
    plan = json.loads(_run(command, tmp_path / "run", "--dry-run", "--json", "--limit", "5").stdout)
    assert plan["requests"] == 5
    assert plan["cells"]["samed2d_seg"]["samples"] == 5
    assert not (tmp_path / "run").exists()


def test_fallbacks_are_recorded_with_the_number(command: Any, tmp_path: Path) -> None:
    model = tmp_path / "words.py"
    model.write_text(
        "from harness import Answer, Capabilities\n"
        "class Words:\n"
        "    def capabilities(self):\n"
        "        return Capabilities(takes=frozenset({'text', 'image'}), gives=frozenset({'masks'}), max_batch=8)\n"
        "    def load(self, device):\n"
        "        pass\n"
        "    def predict(self, requests):\n"
        "        assert all('[' in request.prompt and not request.visual_prompts for request in requests)\n"
        "        return [Answer(masks=[request.images[0].image()[..., 0] > 128]) for request in requests]\n"
    )
    result = _run(command, tmp_path / "run", tasks="samed2d_seg_box", model=f"{model}:Words")
    assert result.exit_code == 0, result.stderr
    block = _results(tmp_path / "run")["tasks"]["samed2d_seg_box"]
    assert block["fallbacks"] == ["box_as_text: per_mille"]
    assert block["counts"] == {"ok": block["wanted"]}


def test_what_a_model_prints_stays_off_stdout(command: Any, tmp_path: Path) -> None:
    model = tmp_path / "loud.py"
    model.write_text(
        "from harness import Answer, Capabilities\n"
        "class Loud:\n"
        "    def capabilities(self):\n"
        "        return Capabilities(gives=frozenset({'masks'}))\n"
        "    def load(self, device):\n"
        "        print('loading')\n"
        "    def predict(self, requests):\n"
        "        print('predicting')\n"
        "        return [Answer() for _ in requests]\n"
    )
    result = _run(command, tmp_path / "run", "--json", model=f"{model}:Loud")
    assert json.loads(result.stdout)["model"]["id"] == "loud:Loud"
    assert "predicting" in result.stderr


def test_more_faults_than_allowed_end_with_3_and_are_named(command: Any, tmp_path: Path) -> None:
    model = tmp_path / "broken.py"
    model.write_text(
        "from harness import Answer, Capabilities\n"
        "class Broken:\n"
        "    def capabilities(self):\n"
        "        return Capabilities(gives=frozenset({'masks'}))\n"
        "    def load(self, device):\n"
        "        pass\n"
        "    def predict(self, requests):\n"
        "        raise ValueError('no luck')\n"
    )
    result = _run(command, tmp_path / "run", "--limit", "20", model=f"{model}:Broken")
    assert result.exit_code == 3
    assert "model_error: ValueError: no luck" in result.stderr
    assert "--max-failures 1% allows 0" in result.stderr
    block = _results(tmp_path / "run")["tasks"]["samed2d_seg"]
    assert block["counts"] == {"model_error": block["wanted"]}
    assert block["metrics"][0]["value"] == 0.0
    words = ("--limit", "20", "--max-failures", "100%")
    assert _run(command, tmp_path / "run", *words, model=f"{model}:Broken").exit_code == 0


def test_scoring_again_gives_the_same_bytes(command: Any, tmp_path: Path) -> None:
    _run(command, tmp_path / "run")
    before = (tmp_path / "run" / "results.json").read_bytes()
    (tmp_path / "run" / "results.json").unlink()
    assert command("score", tmp_path / "run").exit_code == 0
    assert (tmp_path / "run" / "results.json").read_bytes() == before


def test_scoring_by_another_protocol_leaves_the_run_as_it_is(command: Any, tmp_path: Path) -> None:
    _run(command, tmp_path / "run")
    before = (tmp_path / "run" / "results.json").read_bytes()
    result = command("score", tmp_path / "run", "--protocol", "sam-med2d", "--json")
    rows = json.loads(result.stdout)["tasks"]["samed2d_seg"]["metrics"]
    assert {row["protocol"] for row in rows} == {"sam-med2d"}
    assert (tmp_path / "run" / "results.json").read_bytes() == before


def test_scoring_what_is_no_run_is_refused(command: Any, tmp_path: Path) -> None:
    result = command("score", tmp_path)
    assert result.exit_code == 2
    assert "is no run directory" in result.stderr


def test_an_incomplete_run_scores_with_what_is_missing_in_its_coverage(command: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    _run(command, out)
    path = out / "predictions" / "predictions.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: len(lines) // 2]))
    command("score", out)
    block = _results(out)["tasks"]["samed2d_seg"]
    assert block["counts"]["not_run"] == len(lines) - len(lines) // 2
    assert block["coverage"] == pytest.approx((len(lines) // 2) / len(lines))


def test_the_report_can_be_written_again(command: Any, tmp_path: Path) -> None:
    _run(command, tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    (tmp_path / "run" / "report.html").unlink()
    result = command("report", tmp_path / "run", "--data-root", "phantom", "--samples", "0")
    assert result.exit_code == 0
    assert Path(result.stdout.strip()).read_text() == page


def test_a_changed_image_is_a_data_error(command: Any, tmp_path: Path) -> None:
    write_samed2d(tmp_path / "data", seed=3, patients=3)
    out = tmp_path / "run"
    words = (
        "run",
        "--tasks",
        "samed2d_seg",
        "--model",
        "baseline:otsu",
        "--data-root",
        tmp_path / "data",
        "--out",
        out,
    )
    victim = sorted((tmp_path / "data" / "SAMed2Dv1" / "images").iterdir())[0]
    victim.write_bytes(victim.read_bytes()[:100])
    result = command(*words, "--ray", "off")
    assert result.exit_code == 3
    block = _results(out)["tasks"]["samed2d_seg"]
    assert block["counts"]["data_error"] >= 1
    assert block["coverage"] == pytest.approx(1 - block["counts"]["data_error"] / block["wanted"])
    assert victim.name in result.stderr


def test_the_python_api_gives_the_numbers_as_a_table(tmp_path: Path) -> None:
    evaluation = harness.evaluate(["samed2d_seg"], "baseline:center-box", data_roots=["phantom"], out=tmp_path / "run")
    table = harness.load_run(evaluation.out)
    micro = table[(table["metric"] == "dice") & (table["mean"] == "micro") & table["stratum"].isna()]
    assert set(micro["protocol"]) == {"standard", "medplib"}
    assert (micro["ci_low"] <= micro["value"]).all()
    again = harness.score(tmp_path / "run", protocols=["sam-med2d"])
    assert again.results["tasks"]["samed2d_seg"]["headline"]["protocol"] == "sam-med2d"


def test_a_quiet_run_prints_its_numbers_and_paths_and_nothing_else(command: Any, tmp_path: Path) -> None:
    result = _run(command, tmp_path / "run", "--quiet", "--limit", "5")
    out = tmp_path / "run"
    assert result.stderr == f"results  {out / 'results.json'}\nreport   {out / 'report.html'}\n"
    assert result.stdout.splitlines()[0].startswith("model baseline:otsu")
    again = command("score", out, "--all", "--quiet")
    assert "*  samed2d_seg" in again.stdout
    assert len(again.stdout.splitlines()) > len(result.stdout.splitlines())


def test_a_run_of_a_file_is_scored_shown_and_explained_without_it(command: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine" / "my task.yaml"
    file.parent.mkdir()
    file.write_text(
        "task: mine\nversion: 1\ntitle: Mine\nrelease: {reader: samed2d, split: all}\ngives: masks\n"
        'oracle: "<SEG>"\nprompt: "Where is the {class}?"\nmetrics:\n  - {metric: dice}\nheadline: {metric: dice}\n'
    )
    out = tmp_path / "run"
    words = ("--model", "baseline:otsu", "--data-root", "phantom", "--limit", "4", "--out", out, "--json")
    first = command("run", "--tasks", f"{file},samed2d_seg", "--tasks", "mine", "--task-path", file.parent, *words)
    assert first.exit_code == 0, first.stderr
    assert list(json.loads(first.stdout)["tasks"]) == ["mine", "samed2d_seg"]
    assert json.loads((out / "run.json").read_text())["requested"] == ["mine", "samed2d_seg"]
    again = command("score", out, "--json")  # while the file is there and not named
    file.unlink()
    assert again.stdout == command("score", out, "--json").stdout == first.stdout
    assert command("report", out).exit_code == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert '<h2 id="mine">Mine</h2>' in page
    assert "answered 4 of 4" in page
    found = json.loads(command("explain", out, _first_id(out, "mine"), "--json").stdout)
    assert {item["task"] for item in found} == {"mine"}
    file.write_text("task: mine\n")
    changed = command("score", out, "--task-path", file.parent)
    assert changed.exit_code == 2
    assert "version: required key is missing" in changed.stderr


def _first_id(out: Path, task: str) -> str:
    import pyarrow.parquet as pq

    found: str = pq.read_table(out / "plan" / f"{task}.parquet", columns=["sample_id"])[0][0].as_py()
    return found
