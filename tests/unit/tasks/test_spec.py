"""The digest of a task."""

from pathlib import Path

import pytest

from harness.tasks.task_file import load_task
from tests.unit.tasks.task_cases import GOOD, changed, write

pytestmark = pytest.mark.usefixtures("small_tables")


def test_the_digest_does_not_depend_on_path_comments_order_include_or_spelt_out_defaults(tmp_path: Path) -> None:
    digest = load_task(write(tmp_path)).digest
    lines = GOOD.splitlines()
    moved = "# a comment\n" + "\n".join([*lines[:7], lines[11], lines[10], *lines[7:10]]) + "\n"
    assert load_task(write(tmp_path / "elsewhere", moved, "other.yaml")).digest == digest
    assert load_task(write(tmp_path, GOOD + "asks: generate\ncluster: image\nrepeats: 1\n")).digest == digest
    assert load_task(write(tmp_path, GOOD + "decoding: {temperature: 0.0}\n")).digest == digest
    write(tmp_path, GOOD, "base.yaml")
    assert load_task(write(tmp_path, "include: base.yaml\ntask: good\n")).digest == digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("task: good", "task: other"),
        ("version: 1", "version: 2"),
        ("Outline the {class}.", "Outline the {class}"),
        ("split: all", "split: test"),
        ("over: modality", "over: class"),
        ("  - {metric: dice, protocol: medplib}\n", ""),
        ("strata: [modality, class]", "strata: [modality, class]\ncluster: patient"),
    ],
)
def test_the_digest_changes_with_what_the_task_says(tmp_path: Path, old: str, new: str) -> None:
    assert load_task(write(tmp_path)).digest != load_task(write(tmp_path, changed(old, new))).digest


def test_fallbacks_keep_their_order_and_the_digest_tells_it(tmp_path: Path) -> None:
    first, second = "{region_as_crop: 0.1}", "{region_as_overlay: fill}"
    tasks = [
        load_task(write(tmp_path, GOOD + f"visual_prompt: region\nfallbacks: [{', '.join(listed)}]\n"))
        for listed in ((first, second), (second, first), (first,))
    ]
    assert [list(task.fallbacks.items()) for task in tasks] == [
        [("region_as_crop", 0.1), ("region_as_overlay", "fill")],
        [("region_as_overlay", "fill"), ("region_as_crop", 0.1)],
        [("region_as_crop", 0.1)],
    ]
    assert len({task.digest for task in tasks}) == 3
