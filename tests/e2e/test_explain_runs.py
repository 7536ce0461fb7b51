"""`harness explain` and the samples of report.html, on runs of drawn patients."""

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from tests.support.tiny_vqa_rad import write_release

KIDNEY = "samed2d/all/ct_00--PhantomAbdomen--case_0000--z_0000--0003"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two mask tasks over the same samples, answered by a threshold."""
    out = tmp_path_factory.mktemp("explain") / "run"
    tasks = ("samed2d_seg", "samed2d_seg_box")
    return evaluate(RunSpec(tasks=tasks, model="baseline:otsu", data_roots=("phantom",), out=out, ray="off")).out


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of questions that are answered in words, all by `yes`."""
    folder = tmp_path_factory.mktemp("words")
    predictions = folder / "predictions.jsonl"
    lines = ({"sample_id": f"vqa_rad/test/{number}", "text": "yes <b>& more"} for number in range(30))
    predictions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    root = str(write_release(folder / "data", 30))
    model = f"predictions:{predictions}"
    spec = RunSpec(tasks=("vqa_rad",), model=model, data_roots=(root,), out=folder / "run", ray="off")
    return evaluate(spec).out


def test_a_sample_is_told_for_every_task_that_asks_about_it(command: Any, run: Path) -> None:
    result = command("explain", run, KIDNEY)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count(KIDNEY) == 2
    assert "Outline the kidney in this image with a mask." in result.stdout
    assert re.search(r"visual prompt +box \d+ \d+ \d+ \d+", result.stdout)
    assert re.search(r"target mask +kidney: [\d,]+ of [\d,]+ pixels", result.stdout)
    assert re.search(r"iou +medplib +ok +iou 0\.\d{4} +intersection \d+, union \d+", result.stdout)


def test_the_numbers_told_are_those_of_the_scores(command: Any, run: Path) -> None:
    (told,) = json.loads(command("explain", run, KIDNEY, "--task", "samed2d_seg", "--json").stdout)
    assert (told["status"], told["task"], told["data"]) == ("ok", "samed2d_seg", "phantom")
    dice = next(score for score in told["scores"] if (score["metric"], score["protocol"]) == ("dice", "standard"))
    assert dice["values"]["dice"] == dice["stats"]["twice_intersection"] / dice["stats"]["area_sum"]
    assert told["prediction"]["key"] == told["key"]


def test_an_unknown_sample_gets_the_nearest_id(command: Any, run: Path) -> None:
    result = command("explain", run, KIDNEY.replace("Abdomen", "Abdoman"))
    assert result.exit_code == 2
    assert "expected the id of a sample of samed2d_seg, samed2d_seg_box" in result.stderr
    assert f"(did you mean '{KIDNEY}'?)" in result.stderr


def test_a_part_of_an_id_is_answered_by_an_id_that_holds_it(command: Any, run: Path) -> None:
    result = command("explain", run, "case_0000--z_0000--0003")
    assert result.exit_code == 2
    assert f"(did you mean '{KIDNEY}'?)" in result.stderr


def test_an_unknown_task_gets_the_nearest_name(command: Any, run: Path) -> None:
    result = command("explain", run, KIDNEY, "--task", "samed2d_sge")
    assert result.exit_code == 2
    assert "--task samed2d_sge: expected one of samed2d_seg, samed2d_seg_box (did you mean 'samed2d_seg'?)" in (
        result.stderr
    )


def test_a_folder_that_is_no_run_is_refused(command: Any, tmp_path: Path) -> None:
    result = command("explain", tmp_path, KIDNEY)
    assert result.exit_code == 2
    assert "is no run directory" in result.stderr


def test_a_picture_has_pixels_only_with_a_data_root(command: Any, run: Path, tmp_path: Path) -> None:
    plain, full = tmp_path / "plain.png", tmp_path / "full.png"
    assert command("explain", run, KIDNEY, "--png", plain).exit_code == 0
    assert command("explain", run, KIDNEY, "--png", full, "--data-root", "phantom").exit_code == 0
    with Image.open(plain) as outlines, Image.open(full) as picture:
        assert outlines.size == picture.size
        assert len(outlines.convert("RGB").getcolors() or []) == 4
        assert len(picture.convert("RGB").getcolors() or []) > 20


def test_a_picture_that_cannot_be_written_is_an_error(command: Any, run: Path, tmp_path: Path) -> None:
    result = command("explain", run, KIDNEY, "--png", tmp_path / "nowhere" / "a.png")
    assert result.exit_code == 2
    assert "a.png: cannot be written: No such file or directory; name another file" in result.stderr


def test_a_question_answered_in_words_is_told_with_its_target(command: Any, words: Path) -> None:
    result = command("explain", words, "vqa_rad/test/3")
    assert result.exit_code == 0, result.stderr
    assert re.search(r"question +Is finding 3 there\?", result.stdout)
    assert re.search(r"target +no\n", result.stdout)
    assert re.search(r"answer +yes <b>& more", result.stdout)


def test_the_report_shows_drawn_patients_worst_first(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/png;base64,') == 24
    assert "img-src data:" in page
    assert "plain ground" not in page
    assert len(page) < 2_000_000
    first = page.index("<h4>Worst</h4>")
    values = re.findall(r"<b>(\d\.\d{4})</b> dice", page[first : page.index("</section>", first)])
    assert len(values) == 12
    assert values == sorted(values)
    assert re.search(r'alt="samed2d/all/[^"]+: Target [\d,]+ pixels, prediction [\d,]+, overlap [\d,]+\."', page)


def test_a_report_written_again_finds_the_synthetic_patients_and_has_pages_of_samples(
    command: Any, tmp_path: Path
) -> None:
    spec = RunSpec(
        tasks=("samed2d_seg",), model="baseline:otsu", data_roots=("phantom",), out=tmp_path, ray="off", limit=8
    )
    path = evaluate(spec).out / "report.html"
    with_pixels = path.read_text(encoding="utf-8")
    assert command("report", tmp_path, "--samples", "0").exit_code == 0
    assert path.read_text(encoding="utf-8") == with_pixels
    assert not (tmp_path / "samples").exists()
    assert command("report", tmp_path, "--samples", "3").exit_code == 0
    assert 'href="samples/samed2d_seg/index.html"' in path.read_text(encoding="utf-8")
    page = (tmp_path / "samples" / "samed2d_seg" / "index.html").read_text(encoding="utf-8")
    assert page.count('<article class="sample"') == 3
    assert page.count('href="data:image/jpeg;base64,') == 3
    assert page.count('<path class="target"') == 3


def test_images_without_a_place_to_find_them_are_refused(command: Any, run: Path) -> None:
    result = command("report", run, "--with-images")
    assert result.exit_code == 2
    assert "--with-images: expected --data-root too: a run directory does not say where its images lie" in result.stderr


def test_real_images_are_shown_only_when_asked_for(command: Any, tmp_path: Path, test_data: Path) -> None:
    root, out = test_data / "samed2d_mini", tmp_path / "run"
    if not root.is_dir():
        pytest.skip(f"no {root.name} at {test_data}")
    spec = RunSpec(tasks=("samed2d_seg",), model="baseline:otsu", data_roots=(str(root),), out=out, ray="off", limit=4)
    path = evaluate(spec).out / "report.html"
    outlines = path.read_text(encoding="utf-8")
    assert "images are not shown: the data licence does not permit redistributing the images" in outlines
    assert command("report", out, "--data-root", root, "--samples", "0").exit_code == 0
    assert path.read_text(encoding="utf-8") == outlines
    assert command("report", out, "--data-root", root, "--with-images").exit_code == 0
    shown = path.read_text(encoding="utf-8")
    assert "plain ground" not in shown
    assert len(shown) > 1.5 * len(outlines)


def test_the_report_shows_words_as_tables_and_escapes_them(words: Path) -> None:
    page = (words / "report.html").read_text(encoding="utf-8")
    assert "<h4>Worst</h4>" in page
    assert "<h4>Around the median</h4>" in page
    assert "Is finding 3 there?" in page
    assert html.escape("yes <b>& more") in page
    assert "yes <b>" not in page
    assert 'class="samples"' not in page
