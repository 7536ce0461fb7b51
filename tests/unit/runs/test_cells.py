"""The cells of a plan: which are asked, and what is written of them."""

import json
from pathlib import Path
from typing import Any, cast

from harness.data.manifest import Prepared
from harness.runs.cells import Cell, Plan, write_cells
from harness.runs.directory import RunDirectory, StoredCell
from harness.tasks.catalog import index


def cell(task: str, folder: Path, *, samples: int = 3, unsupported: str | None = None) -> Cell:
    prepared = Prepared(
        reader=cast(Any, None),  # nothing is read here
        manifest=folder / "manifest.jsonl",
        integrity=folder / "integrity.json",
        root=folder,
        derived=folder,
        digest=f"digest of {task}",
        samples=samples,
    )
    fallbacks = ("prompt: words",)
    return Cell(
        task=index().load(task), prepared=prepared, samples=samples, fallbacks=fallbacks, unsupported=unsupported
    )


def test_only_supported_cells_have_a_plan(tmp_path: Path) -> None:
    cells = [cell("samed2d_seg", tmp_path, unsupported="gives no masks"), cell("vqa_rad", tmp_path)]
    plan = Plan(directory=RunDirectory(tmp_path), cells=cells)
    assert plan.supported == cells[1:]
    assert plan.files == [tmp_path / "plan" / "vqa_rad.parquet"]


def test_every_repetition_of_a_sample_should_bring_a_score(tmp_path: Path) -> None:
    found = cell("vqa_rad", tmp_path, samples=4)
    assert found.wanted == 4 * found.task.repeats


def test_cells_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    lacking = {"task": "x", "metric": None, "reason": "no files", "remedy": "bring them"}
    cells = [cell("vqa_rad", tmp_path), cell("samed2d_seg", tmp_path, unsupported="gives no masks")]
    write_cells(Plan(directory=directory, cells=cells, unavailable=[lacking]))
    stored, unavailable = directory.read_cells()
    expected: dict[str, Any] = {"samples": 3, "of": cells[0].prepared.samples, "fallbacks": ("prompt: words",)}
    assert stored == {
        "vqa_rad": StoredCell(**expected, unsupported=None, data_digest="digest of vqa_rad"),
        "samed2d_seg": StoredCell(**expected, unsupported="gives no masks", data_digest="digest of samed2d_seg"),
    }
    assert unavailable == [lacking]


def test_the_file_ends_with_a_newline_and_its_keys_are_in_order(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    write_cells(Plan(directory=directory, cells=[cell("vqa_rad", tmp_path)]))
    text = directory.cells_path.read_text()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"
