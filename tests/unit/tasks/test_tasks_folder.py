"""What ships in `tasks/` holds together: every file loads, every family is described, every prompt can be filled."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness.paths import packaged_folder
from harness.tasks.catalog import RUBRICS_FOLDER, check_file, index
from harness.tasks.plug_ins import load_metric, load_reader

FILES = sorted(file for file in packaged_folder().rglob("*.yaml") if file.parent.name != RUBRICS_FOLDER)
TUTORIAL = Path(__file__).parents[3] / "docs" / "add-a-task.md"
NAMES = sorted(index().entries)


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_every_file_is_free_of_faults(file: Path) -> None:
    assert check_file(file) == []


def test_every_task_is_listed_under_a_title_of_its_own() -> None:
    titles = [entry.title for entry in index().entries.values()]
    assert len(set(titles)) == len(titles) == len([file for file in FILES if file.name != "groups.yaml"])
    assert all(titles)


@pytest.mark.parametrize("name", NAMES)
def test_metrics_and_reader_of_every_task_can_be_loaded(name: str) -> None:
    task = index().load(name)
    rows = [load_metric(use, task.folder) for use in task.metrics]
    assert [(row.name, row.protocol) for row in rows] == [(use.metric, use.protocol) for use in task.metrics]
    assert load_reader(task.release, task.folder).name == task.release.reader


@pytest.mark.parametrize("folder", sorted({file.parent for file in FILES} - {packaged_folder()}), ids=lambda f: f.name)
def test_every_family_says_where_its_data_come_from_and_on_what_terms(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    for heading in ("## Paper", "## Licence", "## How to get it", "## Layout", "## Known defects", "## What to expect"):
        assert heading in text
    for task in sorted(folder.glob("*.yaml")):
        assert f"`{task.stem}`" in text


def test_the_demo_group_asks_for_words_options_and_masks_in_two_and_three_dimensions() -> None:
    tasks, groups = index().resolve(["demo"])
    assert [group.name for group in groups] == ["demo"]
    assert {task.gives for task in tasks} >= {"text", "choice", "masks"}
    assert {task.file.parent.name for task in tasks} >= {"vqa_rad", "mecovqa", "samed2d", "m3d_bench"}


def test_both_segmentation_tasks_ask_about_the_same_samples() -> None:
    plain, boxed = index().load("samed2d_seg"), index().load("samed2d_seg_box")
    assert (plain.dataset, plain.release) == (boxed.dataset, boxed.release)


def test_the_box_task_differs_only_in_the_box() -> None:
    catalog = index()
    plain, boxed = catalog.load("samed2d_seg"), catalog.load("samed2d_seg_box")
    assert (plain.visual_prompt, boxed.visual_prompt) == ("none", "box")
    assert boxed.fallbacks == {"box_as_text": "per_mille", "text_left_out": "where_pointed"}
    assert "<box>" in boxed.prompt
    assert (boxed.metrics, boxed.headline, boxed.strata, boxed.cluster) == (
        plain.metrics,
        plain.headline,
        plain.strata,
        plain.cluster,
    )
    assert boxed.digest != plain.digest


@pytest.mark.parametrize(
    ("small", "large", "split", "samples"),
    [
        ("m3d_report_generation_1k", "m3d_report_generation", "test1k", 1000),
        ("m3d_closed_vqa_5k", "m3d_closed_vqa", "test5k", 5000),
        ("m3d_open_vqa_5k", "m3d_open_vqa", "test5k", 5000),
    ],
)
def test_smaller_test_sets_differ_in_their_samples_only(small: str, large: str, split: str, samples: int) -> None:
    catalog = index()
    task, whole = catalog.load(small), catalog.load(large)
    assert task.release == replace(whole.release, split=split, samples=samples)
    assert replace(task, task=large, title=whole.title, paper=whole.paper, release=whole.release) == whole
    groups = [{one.task for one in catalog.resolve([name])[0]} for name in ("m3d_bench", "m3d_small")]
    assert [(small in group, large in group) for group in groups] == [(False, True), (True, False)]


def test_the_tutorial_s_task_is_right_and_its_wrong_one_is_wrong_as_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = TUTORIAL.read_text()
    right, wrong = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[:2]
    shown = re.findall(r"^wrong\.yaml:.*$", text, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    Path("right.yaml").write_text(right)
    Path("wrong.yaml").write_text(wrong)
    assert check_file(Path("right.yaml")) == []
    found = check_file(Path("wrong.yaml"))
    assert len(found) == len(shown) == 5
    for line, pattern in zip(found, shown, strict=True):
        assert re.fullmatch(re.escape(pattern).replace(r"\.\.\.", ".*"), line)


def test_the_variant_of_the_tutorial_is_right(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)
    (variant,) = [block for block in blocks if block.startswith("include:")]
    (tmp_path / "polyp_seg.yaml").write_text(blocks[0])
    (tmp_path / "box.yaml").write_text(variant)
    assert check_file(tmp_path / "box.yaml") == []
