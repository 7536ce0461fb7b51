"""Which samples a report shows, and when it may show their pixels."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.data.roots import data_roots
from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from harness.paths import default_cache
from harness.reports import examples
from harness.reports.examples import Rank, ReportImages, TaskExamples, choose
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


@pytest.fixture(scope="module")
def words_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunStore]:
    """The open store of a run on eight questions about synthetic patients, of which one gets no answer."""
    out = tmp_path_factory.mktemp("words")
    spec = RunSpec(
        tasks=("vqa_rad",),
        model="scripted",
        model_args={"text": "yes", "fail_every": 4},
        data_roots=("phantom",),
        out=out,
        ray="off",
        limit=8,
        max_failures="100%",
    )
    evaluate(spec)
    store = RunStore(out)
    store.open(store.directory.read_run())
    yield store
    store.close()


def _shown(store: RunStore, images: ReportImages) -> TaskExamples:
    tasks, _ = index().resolve(["vqa_rad"])
    return choose(store.directory, tasks, store.prediction, images)["vqa_rad"]


def test_questions_show_their_image_if_its_pixels_may_be_shown(words_run: RunStore) -> None:
    roots = data_roots(["phantom"], default_cache()).of("vqa_rad")
    shown = _shown(words_run, ReportImages(roots=tuple(roots), phantom=True))
    assert shown.plain is None
    assert all(example.image_uri and max(example.size) <= 160 for example in (*shown.worst, *shown.median))
    assert shown.worst[0].description == "The image"
    hidden = _shown(words_run, ReportImages(phantom=True))
    assert hidden.plain == "no data root was given"
    assert all(example.image_uri is None for example in (*hidden.worst, *hidden.median))
    assert [example.sample_id for example in hidden.worst] == [example.sample_id for example in shown.worst]


def test_every_scored_sample_is_listed_the_worst_first(words_run: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = _shown(words_run, ReportImages(phantom=True))
    assert (len(shown.listed), shown.unlisted) == (8, 0)
    values = [sample.value for sample in shown.listed]
    assert values == sorted(values, key=lambda value: (value is None, value))
    assert shown.gives_words
    failed = [sample for sample in shown.listed if sample.status == "failed"]
    assert failed
    assert all(sample.value == 0.0 and not sample.answer for sample in failed)
    assert {sample.answer for sample in shown.listed if sample.status == "ok"} == {"yes"}
    monkeypatch.setattr(examples, "LISTED", 3)
    few = _shown(words_run, ReportImages(phantom=True))
    assert few.listed == shown.listed[:3]
    assert few.unlisted == 5


def test_a_task_without_scores_has_no_examples(tmp_path: Path, task: TaskSpec) -> None:
    assert choose(RunDirectory(tmp_path), [task], lambda _: None, ReportImages()) == {}


def test_a_long_text_is_cut() -> None:
    assert examples._brief("x" * 401) == "x" * 400 + " ..."
    assert examples._brief("x" * 400) == "x" * 400
