"""`harness prepare`: each planted defect is named, clean releases are clean, the page lies beside the report."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data.phantoms.writers.samed2d import write_samed2d
from tests.support.tiny_vqa_rad import write_release

FOLDER = "SAMed2Dv1"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A drawn SA-Med2D folder."""
    write_samed2d(tmp_path / "data", seed=2, patients=12, slices=1)
    return tmp_path / "data"


@pytest.fixture
def prepare(command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call `harness prepare` with a cache of its own; return its one row and its report."""
    monkeypatch.setenv("MEDGROUND_CACHE", str(tmp_path / "cache"))

    def call(task: str, root: Path, *words: object) -> tuple[dict[str, Any], dict[str, Any]]:
        result = command("prepare", task, "--data-root", root, "--json", *words)
        assert result.exit_code == 0, result.stderr
        (row,) = json.loads(result.stdout)
        return row, json.loads(Path(row["integrity"]).read_text())

    return call


def masks(root: Path) -> list[Path]:
    return sorted((root / FOLDER / "masks").iterdir())


def redraw(path: Path, pixels: Any) -> None:
    Image.fromarray(pixels(np.array(Image.open(path)))).save(path)


def invert(pixels: Any) -> Any:
    return np.where(pixels > 0, 0, 255).astype(np.uint8)


PLANTED = {
    "inverted_mask": lambda mask: redraw(mask, invert),
    "empty_mask": lambda mask: redraw(mask, np.zeros_like),
    "full_mask": lambda mask: redraw(mask, lambda pixels: np.full_like(pixels, 255)),
    "size_mismatch": lambda mask: redraw(mask, lambda pixels: np.ascontiguousarray(pixels[::2])),
    "missing_file": lambda mask: mask.unlink(),
    "unreadable_file": lambda mask: mask.write_bytes(mask.read_bytes()[:40]),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_defect_is_named_with_its_file_and_nothing_else(prepare: Any, root: Path, kind: str) -> None:
    mask = masks(root)[3]
    PLANTED[kind](mask)
    row, report = prepare("samed2d_seg", root)
    assert report["counts"] == {kind: 1}
    (finding,) = report["findings"]
    assert finding["where"] == f"{FOLDER}/masks/{mask.name}"
    page = Path(row["page"]).read_text()
    assert f'id="{kind}"' in page
    assert mask.name in page


def test_the_first_mask_of_every_class_is_found_when_inverted(prepare: Any, tmp_path: Path) -> None:
    write_samed2d(tmp_path / "many", seed=2, patients=24, slices=1)
    firsts: dict[tuple[str, str], Path] = {}
    for mask in masks(tmp_path / "many"):
        _, source, *_, last = mask.name.split("--")
        firsts.setdefault((source, last[:4]), mask)
    for mask in firsts.values():
        redraw(mask, invert)
    _, report = prepare("samed2d_seg", tmp_path / "many")
    found = {finding["where"].rpartition("/")[2] for finding in report["findings"] if finding["kind"] != "not_checked"}
    unsure = [finding["detail"] for finding in report["findings"] if finding["kind"] == "not_checked"]
    assert found <= {mask.name for mask in firsts.values()}
    assert len(found) + len(unsure) == len(firsts)
    assert set(report["counts"]) <= {"inverted_mask", "not_checked"}
    assert all("1 of 1 masks" in detail for detail in unsure), "only a class of one mask has none to compare with"


def test_a_clean_release_has_no_finding(prepare: Any, root: Path) -> None:
    row, report = prepare("samed2d_seg", root, "--near-duplicates")
    assert report["counts"] == {}
    assert report["checked"]["near_duplicate"] == 12
    assert "None: every file" in Path(row["page"]).read_text()


def test_real_masks_and_images_give_no_false_alarm(prepare: Any, test_data: Path) -> None:
    if not (test_data / "samed2d_mini").is_dir():
        pytest.skip("no samed2d_mini among the test data")
    _, report = prepare("samed2d_seg", test_data / "samed2d_mini", "--near-duplicates")
    assert report["counts"] == {}


def test_near_duplicates_are_looked_for_on_request_and_leave_the_digest_alone(prepare: Any, tmp_path: Path) -> None:
    root = write_release(tmp_path / "data", 8)
    images = root / "vqa_rad" / "images"
    for number in range(3):
        coarse = np.random.default_rng(number).integers(0, 256, (6, 6), dtype=np.uint8)
        Image.fromarray(coarse).resize((90, 90), Image.Resampling.BICUBIC).save(images / f"{number}.png")
    Image.open(images / "0.png").resize((60, 60)).save(images / "3.png")
    plain, before = prepare("vqa_rad", root)
    row, report = prepare("vqa_rad", root, "--near-duplicates")
    assert (row["digest"], row["manifest"]) == (plain["digest"], plain["manifest"])
    assert before["counts"] == {}
    assert report["counts"] == {"near_duplicate": 1}
    (finding,) = report["findings"]
    assert (finding["where"], finding["image"]) == ("vqa_rad/images/3.png", "vqa_rad/images/0.png")
    assert "of another cluster" in finding["detail"]
    assert Path(row["page"]).read_text().count("<img") == 2
    assert prepare("vqa_rad", root, "--near-duplicates")[1] == report


def test_slices_of_one_patient_may_look_alike(prepare: Any, root: Path) -> None:
    """A copy under the patient's next slice is as it should be, under another patient it is a finding."""
    listing = json.loads((root / FOLDER / "SAMed2D_v1.json").read_text())
    image, its_masks = next((name, found) for name, found in listing.items() if "PhantomAbdomen" in name)
    for old, new in (("z_0000", "z_0001"), ("case_0000", "case_9999")):
        for path in (image, *its_masks):
            assert old in path
            (root / FOLDER / path.replace(old, new)).write_bytes((root / FOLDER / path).read_bytes())
        listing[image.replace(old, new)] = [path.replace(old, new) for path in its_masks]
    (root / FOLDER / "SAMed2D_v1.json").write_text(json.dumps(listing))
    _, report = prepare("samed2d_seg", root, "--near-duplicates")
    (finding,) = report["findings"]
    assert "case_9999" in finding["where"]
    assert finding["image"] == f"{FOLDER}/{image}"


def test_a_train_image_among_the_test_images_is_named(prepare: Any, tmp_path: Path) -> None:
    root = write_release(tmp_path / "data", 4)
    records = json.loads((root / "vqa_rad" / "testset.json").read_text())
    (root / "vqa_rad" / "trainset.json").write_text(json.dumps(records[:1]))
    row, report = prepare("vqa_rad", root)
    assert report["counts"] == {"train_test_overlap": 1}
    assert "<img" in Path(row["page"]).read_text()


def test_answers_that_are_not_among_the_options_are_named(prepare: Any, tmp_path: Path) -> None:
    (tmp_path / "data" / "quiz").mkdir(parents=True)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "quiz.py").write_text(QUIZ)
    (tmp_path / "tasks" / "quiz.yaml").write_text(QUIZ_TASK)
    _, report = prepare("quiz", tmp_path / "data", "--task-path", tmp_path / "tasks")
    detail = "the answer is 'pet', the options are 'ct', 'mr'"
    assert report["findings"] == [{"kind": "answer_not_among_options", "where": "quiz/all/2", "detail": detail}]


QUIZ = """\
from harness import Sample
from harness.records import Target
from harness.data.releases.reader import Reader


def read(files, request, integrity):
    for number, answer in ((1, "mr"), (2, "pet")):
        target = Target(answers=(answer,))
        sample = Sample(id=f"quiz/all/{number}", question="which?", choices=("ct", "mr"), target=target, cluster="a")
        yield str(number), sample


READER = Reader(
    name="quiz", version=1, folders=("quiz",), strata=(), splits=lambda root: ("all",), read=read, obtain="Ask."
)
"""

QUIZ_TASK = """\
task: quiz
version: 1
title: Two questions
release: {reader: "quiz.py:READER", split: all}
asks: generate
gives: text
oracle: "{answer}"
terms: {redistribute: true, external_api: true}
prompt: "{question}"
decoding: {max_new_tokens: 8, temperature: 0}
metrics:
  - {metric: token_prf}
headline: {metric: token_prf, mean: micro}
"""


def test_the_page_and_report_are_the_same_wherever_the_release_lies(
    prepare: Any, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    PLANTED["inverted_mask"](masks(root)[3])
    first, _ = prepare("samed2d_seg", root, "--near-duplicates")
    pages = [Path(first["page"]).read_bytes()]
    root.rename(tmp_path / "moved")
    monkeypatch.setenv("MEDGROUND_CACHE", str(tmp_path / "other cache"))
    second, _ = prepare("samed2d_seg", tmp_path / "moved", "--near-duplicates")
    pages.append(Path(second["page"]).read_bytes())
    assert first["digest"] == second["digest"]
    assert pages[0] == pages[1]
    assert str(tmp_path).encode() not in pages[0]


def test_the_command_says_where_the_page_lies(command: Any, root: Path) -> None:
    result = command("prepare", "samed2d_seg", "--data-root", root)
    (line,) = [line for line in result.stdout.splitlines() if line.strip().startswith("page")]
    assert Path(line.split(maxsplit=1)[1]).name == "integrity.html"


def test_a_damaged_report_is_one_clear_message(command: Any, prepare: Any, root: Path) -> None:
    row, _ = prepare("samed2d_seg", root)
    Path(row["integrity"]).write_text("{}")
    result = command("prepare", "samed2d_seg", "--data-root", root)
    assert result.exit_code == 2
    assert "expected an integrity report, found 'schema'; remove it and prepare again" in result.stderr


def test_a_page_that_cannot_be_written_is_one_clear_message(command: Any, prepare: Any, root: Path) -> None:
    row, _ = prepare("samed2d_seg", root)
    Path(row["page"]).unlink()
    Path(row["page"]).mkdir()
    result = command("prepare", "samed2d_seg", "--data-root", root)
    assert result.exit_code == 2
    assert "integrity.html: cannot be written: Is a directory; make room or set MEDGROUND_CACHE" in result.stderr
