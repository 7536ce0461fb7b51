"""The cells of a plan: which are asked, and what is written of them."""

import json
from pathlib import Path
from typing import Any, cast

import pytest

from harness.data.manifest import Prepared
from harness.records import Capabilities
from harness.runs.cells import (
    Cell,
    Plan,
    capabilities_from_json,
    capabilities_to_json,
    stored_capabilities,
    write_cells,
)
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


def test_the_plan_keeps_what_requests_depend_on(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    asked = Capabilities(
        takes=frozenset({"text", "volume"}), gives=frozenset({"masks"}), max_images=3, per_sample=True, max_batch=9
    )
    write_cells(Plan(directory=directory, cells=[cell("vqa_rad", tmp_path)], capabilities=asked))
    stored = stored_capabilities(directory)
    # How many requests a call may get changes none of them.
    assert stored == Capabilities(takes=asked.takes, gives=asked.gives, max_images=3, per_sample=True)
    write_cells(Plan(directory=directory, cells=[cell("vqa_rad", tmp_path)]))
    assert stored_capabilities(directory) is None


@pytest.mark.parametrize(
    "change",
    [{"takes": "text"}, {"gives": [1]}, {"max_images": True}, {"per_sample": 1}, {"volume": "no recipe"}, {"more": 1}],
)
def test_capabilities_of_another_form_are_refused(change: dict[str, Any]) -> None:
    value = capabilities_to_json(Capabilities())
    assert capabilities_from_json(value) == Capabilities()
    with pytest.raises(ValueError, match=r"expected takes, gives, max_images, per_sample, volume of a model's"):
        capabilities_from_json(value | change)
