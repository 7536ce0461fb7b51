"""Which samples take part, what a model that lacks something does to a cell, and what a plan holds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.data.roots import data_roots
from harness.errors import DataError
from harness.evaluation.planning import prepare_cells, write_plan
from harness.records import Capabilities
from harness.records.codec import request_from_json
from harness.requests.key import request_key
from harness.runs import plan_file
from harness.runs.cells import Cell, Plan
from harness.runs.directory import RunDirectory
from harness.runs.plan_file import PlannedRequest
from harness.tasks.catalog import index
from harness.tasks.spec import GroupSpec
from tests.support.tiny_vqa_rad import write_release

IDENTITY = {"id": "mine"}


def plan(root: Path, cache: Path, *, capabilities: Capabilities | None = None, **changes: Any) -> Plan:
    """Return the written plan of VQA-RAD's questions below `root`."""
    roots = data_roots([str(root)], cache)
    cells, _ = prepare_cells([index().load("vqa_rad")], [], ["vqa_rad"], roots, cache, lambda _: None)
    found = Plan(directory=RunDirectory(cache / "run"), cells=cells)
    given: dict[str, Any] = {"limit": None, "seed": 0} | changes
    write_plan(
        found, capabilities or Capabilities(), IDENTITY, roots=roots, cache=cache, notice=lambda _: None, **given
    )
    return found


def rows(found: Plan) -> list[PlannedRequest]:
    return list(plan_file.read(found.file("vqa_rad")))


@pytest.fixture
def planned(tmp_path: Path) -> Callable[..., Plan]:
    root = write_release(tmp_path / "data", 9)
    return lambda **changes: plan(root, tmp_path / "cache", **changes)


def test_every_sample_is_planned_with_the_key_of_its_request(planned: Callable[..., Plan]) -> None:
    found = rows(planned())
    assert [row.sample.id for row in found] == [f"vqa_rad/test/{number}" for number in range(9)]
    for row in found:
        request = request_from_json(json.loads(row.request))
        assert request.key == row.key == request_key(request, IDENTITY)
        assert request.prompt.startswith("Is finding ")


def test_a_smaller_limit_is_part_of_a_larger_one(planned: Callable[..., Plan]) -> None:
    few, more = ({row.sample.id for row in rows(planned(limit=limit))} for limit in (2, 5))
    assert (len(few), len(more)) == (2, 5)
    assert few < more


def test_another_seed_chooses_other_samples(planned: Callable[..., Plan]) -> None:
    chosen = {tuple(row.sample.id for row in rows(planned(limit=3, seed=seed))) for seed in range(4)}
    assert len(chosen) > 1


def test_a_limit_above_the_number_of_samples_is_none(planned: Callable[..., Plan]) -> None:
    (cell,) = planned(limit=100).cells
    assert cell.samples == 9


def test_a_cell_that_a_model_cannot_be_asked_says_why_and_has_no_plan(planned: Callable[..., Plan]) -> None:
    found = planned(capabilities=Capabilities(gives=frozenset({"masks"})), limit=4)
    (cell,) = found.cells
    assert cell.unsupported is not None
    assert cell.unsupported.endswith("(4 of 4 samples)")
    assert "text" in cell.unsupported
    assert not found.file("vqa_rad").exists()
    assert found.directory.read_cells()[0]["vqa_rad"].unsupported == cell.unsupported


def test_a_sample_whose_file_is_missing_is_planned_with_its_defect(tmp_path: Path) -> None:
    root = write_release(tmp_path / "data", 4)
    (root / "vqa_rad" / "images" / "1.png").unlink()
    found = {row.sample.id.rpartition("/")[2]: row for row in rows(plan(root, tmp_path / "cache"))}
    assert found["1"].defect is not None
    assert (found["1"].key, found["1"].request) == ("", "")
    assert all(found[name].defect is None and found[name].key for name in "023")


def prepare(tmp_path: Path, *, named: list[str]) -> tuple[list[Cell], list[dict[str, Any]]]:
    """Prepare a group of two tasks of which only VQA-RAD's files are there."""
    roots = data_roots([str(write_release(tmp_path / "data", 2))], tmp_path / "cache")
    tasks = [index().load(name) for name in ("samed2d_seg", "vqa_rad")]
    group = GroupSpec(name="both", title="Both", members=("samed2d_seg", "vqa_rad"), combine="none")
    return prepare_cells(tasks, [group], named, roots, tmp_path / "cache", lambda _: None)


def test_a_group_goes_on_without_a_member_whose_files_are_absent(tmp_path: Path) -> None:
    cells, unavailable = prepare(tmp_path, named=["both"])
    assert [cell.task.task for cell in cells] == ["vqa_rad"]
    (lacking,) = unavailable
    assert (lacking["task"], lacking["metric"]) == ("samed2d_seg", None)
    assert "SAMed2Dv1" in lacking["reason"]
    assert "DATA" in lacking["reason"]
    assert str(tmp_path) not in lacking["reason"]


def test_a_task_that_was_named_itself_must_have_its_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="SAMed2Dv1"):
        prepare(tmp_path, named=["both", "samed2d_seg"])


def test_a_model_of_the_train_split_cannot_answer_a_release_without_one(
    planned: Callable[..., Plan], tmp_path: Path
) -> None:
    (tmp_path / "data" / "vqa_rad" / "trainset.json").unlink()
    takes = Capabilities().takes | {"prior"}
    (cell,) = planned(capabilities=Capabilities(takes=takes)).cells
    assert cell.unsupported == "the model answers from the train split, and the release has none"
