"""A plan that is damaged or deleted at any moment is noticed before it is used, and written again: the same results."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import DataError, InterruptedRunError
from harness.evaluation.evaluate import evaluate
from harness.evaluation.rescore import rescore
from harness.evaluation.setup import Observer, RunSpec
from harness.records import Answer, Capabilities, Request
from harness.runs import plan_file
from harness.runs.directory import RunDirectory
from harness.runs.engine import worker as worker_module
from harness.runs.plan_digests import DamagedPlanError
from tests.support.tiny_vqa_rad import write_release

FILES = ("vqa_rad.parquet", "cells.json")


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    """Six questions of which a scripted model answers all."""
    return RunSpec(
        tasks=("vqa_rad",),
        model="scripted",
        model_args={"text": "yes"},
        data_roots=(str(write_release(tmp_path / "data", 6)),),
        out=tmp_path / "run",
        cache=tmp_path / "cache",
        ray="off",
    )


@pytest.fixture
def finished(spec: RunSpec) -> RunDirectory:
    assert spec.out is not None
    return RunDirectory(evaluate(spec).out)


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def flipped_bits(spec: RunSpec, run: RunDirectory, count: int, seed: int) -> None:
    """Flip single bits of the plan's files, and start again after each."""
    chance = random.Random(seed)
    whole = {name: (run.path / "plan" / name).read_bytes() for name in FILES}
    expected = run.results_path.read_bytes()
    for name in FILES * count:
        path = run.path / "plan" / name
        flip(path, chance.randrange(8 * len(whole[name])))
        harmless = name == "cells.json" and _value(path.read_bytes()) == json.loads(whole[name])
        run.results_path.unlink()
        said: list[str] = []
        evaluate(spec, Observer(notice=said.append))
        assert run.results_path.read_bytes() == expected
        assert harmless or any(f"{path}: is damaged" in line and "written anew" in line for line in said), said
        assert harmless or {each: (run.path / "plan" / each).read_bytes() for each in FILES} == whole


def _value(content: bytes) -> object:
    try:
        return json.loads(content)
    except ValueError:
        return None


def test_a_flipped_bit_changes_no_result(spec: RunSpec, finished: RunDirectory) -> None:
    flipped_bits(spec, finished, 1, seed=2026)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_flipped_bit_changes_a_result(spec: RunSpec, finished: RunDirectory) -> None:
    flipped_bits(spec, finished, 200, seed=78)


def delete(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def no_object(path: Path) -> None:
    path.write_bytes(b"[]")


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [delete, cut, empty, no_object])
def test_a_plan_that_is_cut_or_gone_is_written_again(
    spec: RunSpec, finished: RunDirectory, damage: Callable[[Path], None], name: str
) -> None:
    damage(finished.path / "plan" / name)
    expected = finished.results_path.read_bytes()
    evaluate(spec)
    assert finished.results_path.read_bytes() == expected


def test_a_plan_is_not_scored_that_cannot_be_written_again(finished: RunDirectory) -> None:
    path = finished.plan_path("vqa_rad")
    flip(path, 999)
    message = (
        f"{path}: is damaged (its bytes are not those that were written). Run the same `harness run` command again"
    )
    with pytest.raises(DataError) as raised:
        rescore(finished.path, task_paths=(), protocols=(), max_failures="1%")
    assert message in str(raised.value)
    path.unlink()
    with pytest.raises(DamagedPlanError, match=r"vqa_rad\.parquet: is missing\. Run the same"):
        finished.read_cells()


class Vandal:
    """Answers, and damages the plan while it does."""

    version = "1"
    damage: Callable[[], None]

    def capabilities(self) -> Capabilities:
        return Capabilities(max_batch=2, batch_invariant=True)

    def load(self, device: str) -> None: ...

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        type(self).damage()
        return [Answer(text="yes") for _ in requests]


@pytest.mark.slow
@pytest.mark.parametrize("names", [("vqa_rad.parquet",), FILES])
def test_a_plan_that_goes_while_the_model_answers_is_written_again_before_it_is_scored(
    spec: RunSpec, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    assert spec.out is not None
    plan = spec.out / "plan"

    def damage() -> None:
        for name in names:
            (plan / name).unlink(missing_ok=True)

    monkeypatch.setattr(worker_module, "build", lambda _: Vandal())
    monkeypatch.setattr(Vandal, "damage", staticmethod(damage), raising=False)
    found = evaluate(spec)
    assert found.results["tasks"]["vqa_rad"]["counts"] == {"ok": 6}
    assert sorted(path.name for path in plan.iterdir()) == sorted(FILES)


@pytest.mark.slow
def test_a_plan_file_is_looked_at_again_when_its_turn_comes(
    spec: RunSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    batches, files = plan_file.batches, tmp_path / "run" / "plan" / "vqa_rad.parquet"

    def late(paths: Sequence[Path], *rest: object) -> object:
        files.unlink()
        return batches(paths, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(plan_file, "batches", late)
    said: list[str] = []
    found = evaluate(spec, Observer(notice=said.append))
    assert found.results["tasks"]["vqa_rad"]["counts"] == {"ok": 6}
    assert f"{files}: is missing; the plan is written anew from the data" in said


def test_a_page_that_is_damaged_under_an_open_file_ends_the_run_resumably(
    tmp_path: Path, finished: RunDirectory
) -> None:
    path = finished.plan_path("vqa_rad")
    flip(path, 8 * 200)  # within the first pages
    with pytest.raises(InterruptedRunError, match=r"vqa_rad\.parquet: the plan cannot be read \(.*\)\. Run the same"):
        list(plan_file.read(path))
    with pytest.raises(InterruptedRunError, match=r"gone\.parquet: the plan cannot be read \(.*\)\. Run the same"):
        list(plan_file.read(tmp_path / "gone.parquet"))


def old_cells(run: RunDirectory) -> bytes:
    """Write `cells.json` as it was before it held digests."""
    content = json.loads(run.cells_path.read_text())
    old = {name: content[name] for name in ("cells", "unavailable")}
    run.cells_path.write_text(json.dumps(old, indent=2, sort_keys=True) + "\n")
    return run.cells_path.read_bytes()


@pytest.mark.slow
def test_a_run_of_an_older_version_opens(spec: RunSpec, finished: RunDirectory) -> None:
    before, expected = old_cells(finished), finished.results_path.read_bytes()
    evaluate(replace(spec, timeout=5.0))
    assert finished.results_path.read_bytes() == expected
    assert finished.cells_path.read_bytes() == before


@pytest.mark.slow
def test_a_run_of_an_older_version_whose_plan_cannot_be_read_gets_a_new_one(
    spec: RunSpec, finished: RunDirectory
) -> None:
    before, expected = old_cells(finished), finished.results_path.read_bytes()
    cut(finished.plan_path("vqa_rad"))
    evaluate(spec)
    assert finished.results_path.read_bytes() == expected
    assert finished.cells_path.read_bytes() != before
