"""The numbers of a run as a table."""

import inspect
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from harness.api import evaluate, load_run, load_scores
from harness.errors import SpecError
from harness.evaluation.outputs import Evaluation
from harness.evaluation.setup import RunSpec
from tests.support.tiny_vqa_rad import write_release
from tests.unit.models.test_given import Echo


def row(**changed: Any) -> dict[str, Any]:
    fixed = {"metric": "dice", "name": "dice", "protocol": "standard", "mean": "micro"}
    return fixed | {"stratum": None, "value": 0.5, "ci": [0.25, 0.75]} | changed


def written(folder: Path, model: str, tasks: dict[str, list[dict[str, Any]]]) -> Path:
    """Write the results of a run; the headline of its tasks is the macro mean of Dice over modality."""
    headline = {"metric": "dice", "protocol": "standard", "mean": "macro", "over": "modality"}
    blocks = {name: {"coverage": 0.5, "headline": headline, "metrics": rows} for name, rows in tasks.items()}
    folder.mkdir(exist_ok=True)
    results = {"model": {"id": model}, "data": "real", "tasks": blocks}
    (folder / "results.json").write_text(json.dumps(results))
    return folder


def test_every_number_is_a_row_with_its_task_stratum_and_interval(tmp_path: Path) -> None:
    tasks = {"a": [row(), row(stratum={"modality": "ct"}, ci=None)], "b": [row(value=1.0)]}
    table = load_run(written(tmp_path, "m", tasks))
    assert table["task"].tolist() == ["a", "a", "b"]
    assert table["value"].tolist() == [0.5, 0.5, 1.0]
    assert table["stratum"].dropna().to_dict() == {1: "modality=ct"}
    assert table["ci_low"].tolist()[::2] == [0.25, 0.25]
    assert table["ci_high"].isna().tolist() == [False, True, False]


def test_the_numbers_of_several_runs_name_their_run_model_headline_and_coverage(tmp_path: Path) -> None:
    tasks = {"a": [row(), row(mean="macro")]}
    first, second = (written(tmp_path / name, name, tasks) for name in ("x", "y"))
    table = load_run([first, second])
    assert table["model"].tolist() == ["x", "x", "y", "y"]
    assert table["run"].tolist() == [str(first)] * 2 + [str(second)] * 2
    assert table["headline"].tolist() == [False, True, False, True]
    assert table["over"].dropna().to_dict() == {1: "modality", 3: "modality"}
    assert table["coverage"].tolist() == [0.5] * 4
    assert table["data"].unique().tolist() == ["real"]


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"has no results\.json; expected a finished run directory"):
        load_run(tmp_path)


@pytest.mark.parametrize(("name", "count"), [("limit", 0), ("limit", -1), ("workers", 0), ("limit", "3")])
def test_a_count_below_one_is_refused_as_by_the_command(name: str, count: Any) -> None:
    with pytest.raises(SpecError, match=f"^{name}: expected a whole number of at least 1, or None, found {count!r}$"):
        evaluate("vqa_rad", "baseline:random", data_roots="phantom", **{name: count})


def test_an_evaluation_stands_for_its_run_directory(tmp_path: Path) -> None:
    found = Evaluation(out=written(tmp_path / "x", "m", {"a": [row()]}), results={})
    assert load_run(found)["run"].tolist() == [str(tmp_path / "x")]
    assert load_run([found, found])["run"].tolist() == [str(tmp_path / "x")] * 2
    with pytest.raises(SpecError, match=f"^{tmp_path / 'x'}: has no scored task 'b', only a$"):
        load_scores(found, task="b")


def test_python_has_every_option_of_the_command() -> None:
    # The cache is the environment's, as it is for the command; disturbances are those of `harness chaos`.
    assert {field.name for field in fields(RunSpec)} - {"cache", "disturbance"} == inspect.signature(
        evaluate
    ).parameters.keys()


def test_one_task_one_root_and_an_object_need_no_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDGROUND_CACHE", str(tmp_path / "cache"))
    root = write_release(tmp_path / "data", 3)
    found = evaluate(
        "vqa_rad, vqa_rad_closed",
        Echo(),
        data_roots=root,
        out=tmp_path / "run",
        max_failures=5,
        description={"name": "Echo 1"},
    )
    assert list(found.results["tasks"]) == ["vqa_rad", "vqa_rad_closed"]
    assert found.results["model"]["id"] == "test_given:Echo"
    assert found.results["model"]["name"] == "Echo 1"
    again = evaluate(Path("vqa_rad"), "baseline:empty", data_roots=[root], out=tmp_path / "other", protocols="standard")
    assert {row["protocol"] for row in again.results["tasks"]["vqa_rad"]["metrics"]} == {"standard"}


def test_what_was_found_in_the_data_goes_to_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MEDGROUND_CACHE", str(tmp_path / "cache"))
    root = write_release(tmp_path / "data", 3)
    (root / "vqa_rad" / "images" / "0.png").write_bytes(b"no image")
    evaluate("vqa_rad", "baseline:empty", data_roots=root, out=tmp_path / "run")
    assert "unreadable_file 1: cannot be read" in caplog.text


def test_an_unknown_word_on_a_model_is_refused() -> None:
    with pytest.raises(
        SpecError, match="description: expected some of name, url, paper, params, licence, found 'size'"
    ):
        evaluate("vqa_rad", "baseline:empty", data_roots="phantom", description={"size": "7B"})
