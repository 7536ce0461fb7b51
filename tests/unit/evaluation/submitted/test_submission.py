"""Submitted predictions within an evaluation: do they belong to it, have they changed, how is their model called."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.errors import DataError, SpecError
from harness.evaluation.evaluate import evaluate
from harness.evaluation.rescore import rescore
from harness.evaluation.setup import Observer, RunSpec, open_session
from harness.models.description import ModelDescription, undescribed
from harness.runs.directory import RunDirectory
from tests.support.own_data import disc, write_images_and_masks
from tests.support.tiny_vqa_rad import write_release


def write(path: Path, ids: Sequence[str], **fields: Any) -> Path:
    path.write_text("".join(json.dumps({"sample_id": name, "text": "yes", **fields}) + "\n" for name in ids))
    return path


def ids(*numbers: int) -> list[str]:
    return [f"vqa_rad/test/{number}" for number in numbers]


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    """Six questions, answered by `answers.jsonl`."""
    file = write(tmp_path / "answers.jsonl", ids(*range(6)))
    return RunSpec(
        tasks=("vqa_rad",),
        model=f"predictions:{file}",
        data_roots=(str(write_release(tmp_path / "data", 6)),),
        out=tmp_path / "run",
        cache=tmp_path / "cache",
        ray="off",
        batch_size="auto",
    )


# --- ids


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            [f"samed2d/all/{number}" for number in range(3)],
            "0 of 3 ids belong to vqa_rad; they begin with samed2d/, those of the run with vqa_rad/, such as vqa",
        ),
        (
            ["vqa_rad/train/1", "vqa_rad/train/2"],
            "0 of 2 ids belong to vqa_rad; they begin with vqa_rad/train/, those of the run with vqa_rad/test/, such",
        ),
        (["vqa_rad/test/q1"], "0 of 1 ids belong to vqa_rad; they begin with vqa_rad/test/q1, those of the run with"),
        (
            ["1", "2", "3", "4"],
            "0 of 4 ids belong to vqa_rad; they begin with 1, 2, 3 and 1 more, those of the run with",
        ),
        (["a\x1b/1"], r"0 of 1 ids belong to vqa_rad; they begin with a\x1b/, those of the run with vqa_rad/"),
    ],
)
def test_a_file_of_which_no_id_belongs_is_refused_and_leaves_no_run(
    spec: RunSpec, tmp_path: Path, names: list[str], words: str
) -> None:
    file = write(tmp_path / "other.jsonl", names)
    with pytest.raises(DataError) as caught:
        evaluate(replace(spec, model=f"predictions:{file}"))
    assert str(caught.value).startswith(f"--predictions {file}: {words}")
    assert "Nothing is scored" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_file_of_broken_lines_is_refused_with_the_first_of_them(spec: RunSpec, tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").write_text('{"text": "yes"}\n' * 5)
    with pytest.raises(DataError) as caught:
        evaluate(spec)
    first, *lines = str(caught.value).splitlines()
    assert first.endswith("answers.jsonl: no line can be read as a prediction; nothing is scored")
    assert lines == [
        *(f"  line {number}: has no sample_id; its sample counts as missing" for number in (1, 2, 3)),
        "  and 2 more",
    ]


def test_ids_that_do_not_belong_and_samples_without_an_answer_are_counted(spec: RunSpec, tmp_path: Path) -> None:
    write(tmp_path / "answers.jsonl", [*ids(1, 2), *(f"slake/test/{number}" for number in range(4))])
    write_images_and_masks(tmp_path / "data" / "segmentation")
    found = evaluate(replace(spec, tasks=("vqa_rad", "segmentation")))
    assert found.notes == [
        "answers.jsonl: 2 of 6 ids belong to vqa_rad, segmentation; none to segmentation; 4 ignored; 7 of 9 samples "
        "have no answer"
    ]
    assert len(found.problems) == 4


# --- a changed file


def test_a_changed_mask_file_is_named_as_such(tmp_path: Path) -> None:
    write_images_and_masks(tmp_path / "data" / "segmentation")
    mask = {"path": "p01_a.png"}
    line = {"sample_id": "segmentation/all/images/p01_a.png:target", "masks": [mask]}
    (tmp_path / "answers.jsonl").write_text(json.dumps(line))
    Image.fromarray(disc(0)).save(tmp_path / "p01_a.png")
    spec = RunSpec(
        tasks=("segmentation",),
        model=f"predictions:{tmp_path / 'answers.jsonl'}",
        data_roots=(str(tmp_path / "data"),),
        out=tmp_path / "run",
        cache=tmp_path / "cache",
        ray="off",
    )
    evaluate(spec)
    Image.fromarray(disc(3)).save(tmp_path / "p01_a.png")
    with pytest.raises(SpecError, match="the predictions file is the same, but the mask files that it names changed"):
        evaluate(spec)


# --- names


def test_three_files_are_three_models_by_their_names(spec: RunSpec, tmp_path: Path) -> None:
    for name in ("first", "second", "v1.2"):
        file = write(tmp_path / f"{name}.jsonl", ids(*range(6)))
        model = open_session(replace(spec, model=f"predictions:{file}"), Observer()).run_record()["model"]
        assert (model["id"], model["name"]) == ("predictions", name)


def test_a_name_is_no_part_of_where_a_run_lies(spec: RunSpec) -> None:
    spec = replace(spec, out=None)
    named = replace(spec, description=ModelDescription(name="Ours"))
    assert open_session(named, Observer()).out == open_session(spec, Observer()).out


def test_a_model_can_be_described_at_any_time_and_a_changed_file_is_another(spec: RunSpec, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    given = ModelDescription(name="Ours", url="https://example.org", paper="P", params=7, licence="MIT")
    first = evaluate(replace(spec, description=given))
    assert first.notes == []
    assert {name: first.results["model"][name] for name in given.to_json()} == given.to_json()
    stored = (tmp_path / "run" / "predictions" / "predictions.jsonl").read_bytes()
    # Resumed without a name it keeps the one that it has.
    assert evaluate(spec).results == first.results
    common: dict[str, Any] = {"task_paths": (), "max_failures": "1%", "description": ModelDescription(name="New")}
    elsewhere = rescore(run.path, protocols=("standard",), **common)
    assert elsewhere.results["model"]["name"] == "New"
    assert run.read_run()["model"]["name"] == "Ours"
    renamed = rescore(run.path, protocols=(), **common)
    assert renamed.results == {**first.results, "model": {**first.results["model"], "name": "New"}}
    assert run.read_run()["model"]["name"] == run.read_results()["model"]["name"] == "New"
    assert (tmp_path / "run" / "predictions" / "predictions.jsonl").read_bytes() == stored
    page = run.report_path.read_text()
    assert "<h1>New</h1>" in page
    assert '<a href="https://example.org" rel="noopener noreferrer nofollow">' in page
    write(tmp_path / "answers.jsonl", ids(*range(6)), choice="A")
    with pytest.raises(SpecError) as caught:
        evaluate(spec)
    words = str(caught.value)
    assert words.startswith(f"--out {run.path}: holds the run of another predictions file, or of this one before it ")
    assert words.endswith("name another --out, or repeat the command with the file as it was")
    assert "weights" not in words


# --- folders


@pytest.fixture
def folder(tmp_path: Path) -> RunSpec:
    """Three images of which a folder answers two."""
    write_images_and_masks(tmp_path / "data" / "segmentation")
    (tmp_path / "unet.v2").mkdir()
    for name, number in (("p01_a", 0), ("p01_b", 1), ("p09_z", 2)):
        Image.fromarray(disc(number).astype(np.uint8) * 255).save(tmp_path / "unet.v2" / f"{name}.png")
    return RunSpec(
        tasks=("segmentation",),
        model=f"predictions:{tmp_path / 'unet.v2'}",
        data_roots=(str(tmp_path / "data"),),
        out=tmp_path / "run",
        cache=tmp_path / "cache",
        ray="off",
    )


def dice(results: Any) -> float:
    rows = results["tasks"]["segmentation"]["metrics"]
    return float(next(row["value"] for row in rows if row["metric"] == "dice" and row["stratum"] is None))


def test_a_folder_is_scored_and_what_does_not_belong_is_counted(folder: RunSpec, tmp_path: Path) -> None:
    found = evaluate(folder)
    assert dice(found.results) == pytest.approx(2 / 3)
    assert found.results["model"]["name"] == "unet.v2"
    assert found.notes == [
        "unet.v2: 2 of 3 files answer 2 of 3 samples; none is named after segmentation/all/images/p02_a.png:target"
    ]
    assert [problem.message.partition(":")[0] for problem in found.problems] == ["p09_z.png"]
    moved = (tmp_path / "unet.v2").rename(tmp_path / "moved")
    again = open_session(replace(folder, model="predictions", model_args={"file": str(moved)}), Observer())
    assert undescribed(again.run_record()) == undescribed(RunDirectory(tmp_path / "run").read_run())
    Image.fromarray(disc(2)).save(moved / "p02_a.png")
    with pytest.raises(SpecError, match="holds the run of another predictions file"):
        evaluate(replace(folder, model=f"predictions:{moved}"))


def test_a_folder_answers_tasks_with_masks_only(spec: RunSpec, folder: RunSpec) -> None:
    with pytest.raises(DataError, match="a folder of masks answers tasks that ask for masks, and vqa_rad does not;"):
        evaluate(replace(spec, model=folder.model))


def test_a_cache_that_cannot_be_written_is_said(folder: RunSpec, tmp_path: Path) -> None:
    open_session(replace(folder, model="baseline:empty"), Observer())
    (tmp_path / "cache" / "predictions").write_text("no folder")
    with pytest.raises(DataError, match="predictions: cannot be written: File exists; MEDGROUND_CACHE names another"):
        open_session(folder, Observer())


def test_of_a_folder_without_a_match_nothing_is_left(folder: RunSpec, tmp_path: Path) -> None:
    for file in (tmp_path / "unet.v2").iterdir():
        file.rename(file.with_name(f"x{file.name}"))
    with pytest.raises(DataError, match="0 of 3 files are named after a sample"):
        evaluate(folder)
    assert not (tmp_path / "run").exists()
    assert list((tmp_path / "cache" / "predictions").iterdir()) == []
