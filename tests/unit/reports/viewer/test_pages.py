"""Pages of samples of a real run: order, bounds, terms, and text of outside as text."""

import re
from pathlib import Path

import pytest

from harness.data.roots import generated_phantoms
from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from harness.exports.sample_pages import run_samples
from harness.imaging.media_store import MediaStore
from harness.paths import default_cache
from harness.records import Media, Sample
from harness.reports.examples import ReportImages
from harness.reports.viewer import pages
from harness.reports.viewer.pages import sample_pages, write_sample_pages
from harness.reports.viewer.samples import SampleReader
from harness.runs.directory import RunDirectory
from harness.tasks.catalog import index
from harness.tasks.spec import TaskSpec

HOSTILE = "<script>alert(1)</script>\"'&\u202eevil\x1b[31m" + "</svg><img src=x onerror=alert(1)>" + "y" * 10_000


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run on seven questions about synthetic patients, all answered by hostile text and every third by an error."""
    out = tmp_path_factory.mktemp("hostile")
    spec = RunSpec(
        tasks=("vqa_rad",), model="scripted", model_args={"text": HOSTILE, "fail_every": 3}, data_roots=("phantom",),
        out=out, ray="off", limit=7, max_failures="100%",
    )  # fmt: skip
    return RunDirectory(evaluate(spec).out)


@pytest.fixture(scope="module")
def task() -> TaskSpec:
    (found,), _ = index().resolve(["vqa_rad"])
    return found


@pytest.fixture
def images() -> ReportImages:
    return ReportImages(roots=generated_phantoms(default_cache()), phantom=True)


def test_samples_are_shown_worst_first_with_their_image_and_every_score(
    run: RunDirectory, task: TaskSpec, images: ReportImages
) -> None:
    (page,) = sample_pages(run, task, run.find_predictions, images, model="scripted")
    values = [sample.value for sample in page.samples]
    assert len(values) == 7
    assert values == sorted(values, key=lambda value: value if value is not None else 9)
    assert all(sample.images and sample.images[0].uri for sample in page.samples)
    assert {line.protocol for line in page.samples[0].scores} >= {"standard", "medplib"}
    failed = [sample for sample in page.samples if sample.status == "model_error"]
    assert failed
    assert all("Scripted" in sample.error or sample.error for sample in failed)
    assert sum(page.statuses.values()) == 7
    assert all(sample.weight < 150_000 for sample in page.samples)


def test_of_many_samples_the_worst_half_is_shown_and_the_best(
    run: RunDirectory, task: TaskSpec, images: ReportImages
) -> None:
    everything = sample_pages(run, task, run.find_predictions, images, model="m")[0].index
    (page,) = sample_pages(run, task, run.find_predictions, images, model="m", most=4)
    titles = [entry.title for entry in everything]
    assert [entry.title for entry in page.index] == [titles[0], titles[1], titles[2], titles[6]]
    assert page.summary.startswith("4 of 7 scored samples")


def test_a_page_is_bounded_and_the_list_leads_to_the_others(
    run: RunDirectory, task: TaskSpec, images: ReportImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE_BYTES", 40_000)
    found = sample_pages(run, task, run.find_predictions, images, model="m")
    assert len(found) > 2
    assert all(len(page.samples) == 1 or sum(one.weight for one in page.samples) <= 40_000 for page in found)
    assert [page.first for page in found] == [1 + sum(len(p.samples) for p in found[:n]) for n in range(len(found))]
    assert [entry.page for entry in found[0].index] == sorted(entry.page for entry in found[0].index)
    assert (found[0].file(1), found[0].file(2)) == ("index.html", "2.html")


def test_without_images_the_reason_is_said(run: RunDirectory, task: TaskSpec) -> None:
    (page,) = sample_pages(run, task, run.find_predictions, ReportImages(phantom=True), model="m")
    assert page.notice == "Images are not shown: no data root was given."
    assert not any(sample.images for sample in page.samples)
    (page,) = sample_pages(run, task, run.find_predictions, ReportImages(roots=(run.path,), phantom=True), model="m")
    assert "found below none of" in page.samples[0].unshown


def test_text_of_outside_is_text(run: RunDirectory, task: TaskSpec, images: ReportImages) -> None:
    written = write_sample_pages(run, [task], run.find_predictions, images, model=HOSTILE)
    html = written["vqa_rad"].read_text(encoding="utf-8")
    assert written["vqa_rad"] == run.path / "samples" / "vqa_rad" / "index.html"
    assert "&lt;script&gt;alert(1)" in html
    assert not re.search(r"<script>alert|<img src=x|</svg><img", html)
    # The only scripts are ours, at the end; its digest is in the policy.
    assert html.count("<script>") == 1
    assert "default-src 'none'" in html
    assert not re.search(r"""(src|href)=["']https?:""", html)
    assert len(html) < 1_500_000


def test_a_page_set_of_another_tasks_protocol_is_left_out(run: RunDirectory, images: ReportImages) -> None:
    (other,), _ = index().resolve(["samed2d_seg"])
    assert sample_pages(run, other, run.find_predictions, images, model="m") == []


def test_a_run_of_unknown_origin_shows_what_can_be_read(run: RunDirectory, tmp_path: Path) -> None:
    (found,) = run_samples(run.path, default_cache(), most=3, most_volumes=2)
    assert (found.task, found.fault, len(found.pages[0].samples)) == ("vqa_rad", "", 3)
    assert list(run_samples(tmp_path, default_cache(), most=3, most_volumes=2)) == []


@pytest.mark.parametrize("path", ["../secret.png", "/etc/secret.png", "a/../../secret.png"])
def test_a_path_that_leaves_the_data_root_is_not_read(path: str, tmp_path: Path) -> None:
    reader = object.__new__(SampleReader)
    reader.store = MediaStore((tmp_path,))
    sample = Sample(id="a", media=(Media(path=path, sha256="0" * 64),))
    assert reader._missing(sample) == f"{path}: expected a path below the data root"
