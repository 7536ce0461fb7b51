"""Predictions that are handed in as a file: planted errors come back as planted numbers, faulty lines by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.imaging import mask_files, masks
from harness.records import Sample
from harness.runs import plan_file


def write(path: Path, lines: list[Any]) -> Path:
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path


def hand_in(command: Any, out: Path, tasks: str, predictions: Path, root: object, *words: str) -> Any:
    return command("score", "--tasks", tasks, "--predictions", predictions, "--data-root", root, "--out", out, *words)


def block(out: Path, task: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "results.json").read_text())["tasks"][task]
    return found


def row(found: dict[str, Any], metric: str, *, protocol: str = "standard", stratum: Any = None) -> dict[str, Any]:
    (match,) = [
        item
        for item in found["metrics"]
        if (item["metric"], item["name"], item["protocol"], item["stratum"], item["mean"])
        == (metric, metric, protocol, stratum, "micro")
    ]
    return dict(match)


# --- real questions


def test_45_planted_errors_of_vqa_rad_give_the_fraction_planted(command: Any, test_data: Path, tmp_path: Path) -> None:
    records = json.loads((test_data / "vqa_rad" / "testset.json").read_text(encoding="utf-8"))
    assert len(records) == 451
    closed = [record for record in records if record["answer_type"].strip().casefold() == "closed"]
    opened = [record for record in records if record["answer_type"].strip().casefold() == "open"]
    wrong = {record["qid"] for record in [*closed[:30], *opened[:15]]}

    def reply(record: dict[str, Any]) -> str:
        if record["qid"] not in wrong:
            return str(record["answer"])
        return {"yes": "no", "no": "yes"}.get(str(record["answer"]).strip().casefold(), "none of the things asked for")

    lines = [{"sample_id": f"vqa_rad/test/{record['qid']}", "text": reply(record)} for record in records]
    result = hand_in(command, tmp_path / "run", "vqa_rad", write(tmp_path / "p.jsonl", lines), test_data)
    assert result.exit_code == 0, result.stderr
    found = block(tmp_path / "run", "vqa_rad")
    whole = row(found, "vqa_accuracy")
    assert (whole["value"], whole["n"], whole["failed"]) == (pytest.approx(406 / 451), 451, 0)
    for kind, n, errors in (("closed", 272, 30), ("open", 179, 15)):
        part = row(found, "vqa_accuracy", stratum={"answer_type": kind})
        assert (part["value"], part["n"]) == (pytest.approx((n - errors) / n), n)
    assert found["coverage"] == 1.0
    assert found["counts"] == {"ok": 451}


# --- every fault that a file can have

FAULTS = 5


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """The samples of samed2d_seg on drawn patients, by id."""
    from click.testing import CliRunner

    from harness.cli import main

    out = tmp_path_factory.mktemp("oracle") / "run"
    words = ["run", "--tasks", "samed2d_seg", "--model", "baseline:empty", "--data-root", "phantom", "--ray", "off"]
    CliRunner().invoke(main, [*words, "--max-failures", "100%", "--out", str(out)])
    rows = plan_file.read(out / "plan" / "samed2d_seg.parquet")
    return sorted((row.sample for row in rows), key=lambda sample: sample.id)


def perfect(sample: Sample) -> dict[str, Any]:
    found = [entity.mask for entity in sample.target.entities if entity.mask is not None]
    return {"sample_id": sample.id, "masks": [mask_files.to_json(mask) for mask in found]}


@pytest.fixture
def faulty(samples: list[Sample], tmp_path: Path) -> tuple[Path, list[str]]:
    """A file in which five samples go wrong and three more lines are to be ignored; what must be said of each."""
    lines: list[Any] = [perfect(sample) for sample in samples]
    height, width = samples[1].media[0].size
    lines[0] = json.dumps(lines[0])[:-20]
    lines[1]["masks"] = [mask_files.to_json(masks.full((width, height)))]
    lines[2]["mask_scores"] = [float("nan")]
    lines[3]["mask"] = lines[3].pop("masks")
    lines += [lines[5], {"sample_id": "samed2d/all/nobody", "masks": []}]
    del lines[4]
    last = len(lines)
    return write(tmp_path / "p.jsonl", lines), [
        f"line 1: {samples[0].id}: cannot be read as JSON (",
        f"{samples[0].id}: model_error: DataError: p.jsonl: no line answers this sample",
        f"{samples[1].id}: model_error: DataError: p.jsonl:2: masks[0]: predicted mask is ({width}, {height}), image "
        f"is ({height}, {width}) as (H, W); the adapter may have swapped the axes",
        f"{samples[2].id}: model_error: DataError: p.jsonl:3: mask_scores[0]: expected a finite number, found nan",
        f"line 4: {samples[3].id}: unknown field 'mask' (did you mean 'masks'?); the field is ignored",
        f"{samples[4].id}: model_error: DataError: p.jsonl: no line answers this sample",
        f"line {last - 1}: {samples[5].id}: answered before on line 5, which counts; this line is ignored",
        f"line {last}: samed2d/all/nobody: no task of this run has this sample_id; the line is ignored",
    ]


def test_every_faulty_line_is_named_the_rest_is_scored_and_the_run_ends_with_3(
    command: Any, faulty: tuple[Path, list[str]], samples: list[Sample], tmp_path: Path
) -> None:
    path, expected = faulty
    result = hand_in(command, tmp_path / "run", "samed2d_seg", path, "phantom", "--max-failures", "3")
    assert result.exit_code == 3
    for words in expected:
        assert words in result.stderr
    assert "4 samples failed; --max-failures 3 allows 3" in result.stderr
    found = block(tmp_path / "run", "samed2d_seg")
    whole = row(found, "dice")
    assert (whole["n"], whole["failed"]) == (len(samples), FAULTS)
    assert whole["value"] == pytest.approx(1 - FAULTS / len(samples))
    assert found["counts"] == {"ok": len(samples) - FAULTS, "empty": 1, "model_error": 4}
    assert found["coverage"] == 1.0
    problems = [json.loads(line) for line in (tmp_path / "run" / "problems.jsonl").read_text().splitlines()]
    assert [problem["line"] for problem in problems] == sorted(problem["line"] for problem in problems)
    assert {problem["line"] for problem in problems} == {1, 4, len(samples), len(samples) + 1}


def test_as_many_failures_as_allowed_end_with_0(command: Any, faulty: tuple[Path, list[str]], tmp_path: Path) -> None:
    result = hand_in(command, tmp_path / "run", "samed2d_seg", faulty[0], "phantom", "--max-failures", "4")
    assert result.exit_code == 0


def test_the_same_file_from_another_place_is_the_same_run(command: Any, samples: list[Sample], tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [perfect(sample) for sample in samples])
    first = hand_in(command, tmp_path / "run", "samed2d_seg", path, "phantom")
    stored = (tmp_path / "run" / "predictions" / "predictions.jsonl").read_bytes()
    again = hand_in(command, tmp_path / "run", "samed2d_seg", path.rename(tmp_path / "moved.jsonl"), "phantom")
    assert (first.exit_code, again.exit_code) == (0, 0), again.stderr
    assert (tmp_path / "run" / "predictions" / "predictions.jsonl").read_bytes() == stored


def test_a_missing_file_ends_with_2(command: Any, tmp_path: Path) -> None:
    result = hand_in(command, tmp_path / "run", "samed2d_seg", tmp_path / "none.jsonl", "phantom")
    assert result.exit_code == 2
    assert "none.jsonl: no such file; expected JSON lines; see docs/hand-in-predictions.md" in result.stderr
