"""Which samples a report shows, and when it may show their pixels."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from harness.reports import examples
from harness.reports.examples import Rank, ReportImages, choose
from harness.runs.directory import RunDirectory
from harness.runs.store import RunStore
from harness.tasks.catalog import index
from harness.tasks.spec import TaskSpec, Terms


def _ranks(count: int) -> list[Rank]:
    return [Rank(float(value), f"{value}", f"s{value}", 0, float(value)) for value in range(count)]


@pytest.fixture
def task() -> TaskSpec:
    """A task whose terms do not allow to pass images on."""
    (found,), _ = index().resolve(["samed2d_seg"])
    assert not found.terms.redistribute
    return found


def test_the_median_samples_are_those_nearest_to_it() -> None:
    near = examples._near(50.0, _ranks(101)[::-1], _ranks(6))
    assert [rank.sample_id for rank in near] == [f"s{number}" for number in range(47, 53)]


@pytest.mark.parametrize(("count", "shown"), [(3, 0), (8, 2), (12, 6)])
def test_no_sample_is_shown_twice(count: int, shown: int) -> None:
    near = examples._near(count / 2, _ranks(count), _ranks(count)[:6])
    assert [rank.sample_id for rank in near] == [f"s{number}" for number in range(6, 6 + shown)]


def test_pixels_are_shown_only_where_terms_or_the_user_allow_it(task: TaskSpec, tmp_path: Path) -> None:
    free = replace(task, terms=Terms(redistribute=True))
    forbidden = "the data licence does not permit redistributing the images"
    assert ReportImages(roots=(tmp_path,)).refusal(task) == forbidden
    assert ReportImages(roots=(tmp_path,)).refusal(free) is None
    assert ReportImages(roots=(tmp_path,), asked=True).refusal(task) is None
    assert ReportImages(roots=(tmp_path,), phantom=True).refusal(task) is None
    assert ReportImages(phantom=True).refusal(free) == "no data root was given"


def test_images_that_are_gone_leave_outlines(tmp_path: Path) -> None:
    spec = RunSpec(
        tasks=("samed2d_seg",), model="baseline:center-box", data_roots=("phantom",), out=tmp_path, ray="off", limit=9
    )
    evaluate(spec)
    store = RunStore(tmp_path)
    store.open(store.directory.read_run())
    try:
        tasks, _ = index().resolve(["samed2d_seg"])
        gone = choose(store.directory, tasks, store.prediction, ReportImages(roots=(tmp_path,), phantom=True))[
            "samed2d_seg"
        ]
        plain = choose(store.directory, tasks, store.prediction, ReportImages(phantom=True))["samed2d_seg"]
    finally:
        store.close()
    assert gone.plain == "an image is not where it was"
    assert (len(gone.worst), len(gone.median), gone.count) == (6, 3, 9)
    assert (gone.worst, gone.median) == (plain.worst, plain.median)


def test_a_task_without_scores_has_no_examples(tmp_path: Path, task: TaskSpec) -> None:
    assert choose(RunDirectory(tmp_path), [task], lambda _: None, ReportImages()) == {}


def test_a_long_text_is_cut() -> None:
    assert examples._brief("x" * 401) == "x" * 400 + " ..."
    assert examples._brief("x" * 400) == "x" * 400
