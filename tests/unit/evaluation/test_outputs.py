"""How many failures are allowed, and what a report may show."""

from pathlib import Path

import pytest

from harness.errors import DataError, SpecError
from harness.evaluation.evaluate import evaluate
from harness.evaluation.outputs import Evaluation, allowed_failures, find_report_images
from harness.evaluation.setup import Observer, RunSpec
from harness.reports.examples import ReportImages
from tests.support.tiny_vqa_rad import write_release


@pytest.mark.parametrize(("text", "wanted", "allowed"), [("1%", 451, 4), ("0", 9, 0), ("7", 3, 7), ("100%", 5, 5)])
def test_failures_are_allowed_by_count_or_share(text: str, wanted: int, allowed: int) -> None:
    assert allowed_failures(text, wanted) == allowed


@pytest.mark.parametrize("text", ["-1", "many", "1.5", "-3%", ""])
def test_other_texts_are_refused_as_max_failures(text: str) -> None:
    with pytest.raises(SpecError, match=f"--max-failures {text}: expected a count such as 5, or a share such as 1%"):
        allowed_failures(text, 10)


@pytest.mark.parametrize(("faults", "code"), [(0, 0), (2, 0), (3, 3)])
def test_more_failures_than_allowed_give_exit_code_3(tmp_path: Path, faults: int, code: int) -> None:
    assert Evaluation(out=tmp_path, results={}, faults=faults, allowed=2).exit_code == code


def test_useless_numbers_give_exit_code_3_whatever_is_allowed(tmp_path: Path) -> None:
    assert Evaluation(out=tmp_path, results={}, allowed=2, broken=["a: none of 3 answers"]).exit_code == 3


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two questions; its data lie in `data` beside it."""
    folder = tmp_path_factory.mktemp("outputs")
    root = write_release(folder / "data", 2)
    spec = RunSpec(
        tasks=("vqa_rad",),
        model="scripted",
        data_roots=(str(root),),
        out=folder / "run",
        cache=folder / "cache",
        ray="off",
        max_failures="100%",
    )
    return evaluate(spec).out


def images(run: Path, *roots: str, with_images: bool = False) -> ReportImages:
    return find_report_images(
        run, roots, with_images=with_images, task_paths=(), cache=run.parent / "cache", watch=Observer()
    )


def test_without_a_data_root_a_report_has_no_images(run: Path) -> None:
    assert images(run) == ReportImages()


def test_images_that_are_asked_for_need_a_data_root(run: Path) -> None:
    with pytest.raises(SpecError, match="--with-images: expected --data-root too"):
        images(run, with_images=True)


def test_with_a_data_root_the_folders_of_the_release_are_found(run: Path) -> None:
    found = images(run, str(run.parent / "data"), with_images=True)
    assert found.roots[0] == run.parent / "data"
    assert (found.asked, found.phantom) == (True, False)
    assert not images(run, str(run.parent / "data")).asked


def test_a_data_root_without_the_release_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="vqa_rad"):
        images(run, str(tmp_path))


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"is no run directory"):
        images(tmp_path)
