"""What is learnt is what the harness asks, with the answer of its oracle."""

import json
from pathlib import Path

import pytest
from PIL import Image

from harness.data.manifest import read_manifest
from harness.data.roots import data_roots
from harness.errors import DataError, SpecError
from harness.imaging import masks
from harness.records import Region
from harness.tasks import catalog
from harness.tasks.prepare import prepare_task
from reference_model.training.data import ExampleSet, SetSpec, read_sets
from tests.unit.reference_model.small_training import Noted

TASKS = ("vqa_rad", "mecovqa_c", "mecovqa_r", "mecovqa_g")


def read(root: Path, tmp_path: Path, *wanted: SetSpec) -> list[ExampleSet]:
    return read_sets(wanted, [data_roots([str(root)], tmp_path)], tmp_path, Noted())


def test_every_sample_of_the_train_splits_becomes_an_example(drawn: Path, tmp_path: Path) -> None:
    sets = {one.task: one for one in read(drawn, tmp_path, *(SetSpec(task=task) for task in TASKS))}
    for task in TASKS:
        prepared = prepare_task(
            catalog.index().load(task), data_roots([str(drawn)], tmp_path), tmp_path, Noted(), split="train"
        )
        samples = list(read_manifest(prepared.manifest))
        assert len(sets[task].examples) == len(samples) == sets[task].ratio
        assert sets[task].digests == (prepared.digest,)
    grounded = sets["mecovqa_g"].examples[0]
    assert grounded.answer == "<SEG>"
    assert grounded.mask is not None
    assert grounded.mask.size == grounded.size == grounded.media.image().shape[:2]
    assert masks.area(grounded.mask) > 0
    pointed = sets["mecovqa_r"].examples[0]
    assert pointed.question.count("<region></region>") == 1
    assert isinstance(pointed.prompts[0], Region)
    assert sets["vqa_rad"].examples[0].question.endswith("Answer in a word or a short phrase.")


def test_one_picture_in_two_releases_is_one(drawn: Path, tmp_path: Path) -> None:
    first, second = read(drawn, tmp_path, SetSpec(task="vqa_rad"), SetSpec(task="mecovqa_c"))
    assert {one.media_key for one in first.examples} <= {one.media_key for one in second.examples}


def test_a_set_may_be_a_part_of_a_release_without_splits(drawn: Path, tmp_path: Path) -> None:
    everything, some = read(
        drawn, tmp_path, SetSpec(task="samed2d_seg", split="all"),
        SetSpec(task="samed2d_seg", split="all", where={"modality": ("ct",)}, ratio=2),
    )  # fmt: skip
    assert 0 < len(some.examples) < len(everything.examples)
    assert some.ratio == 2
    assert {one.name for one in some.examples} >= {"liver", "spleen"}


def test_samples_that_cannot_be_asked_are_counted(drawn: Path, tmp_path: Path) -> None:
    notice = Noted()
    wanted = [SetSpec(task="samed2d_seg", split="all")]
    root = tmp_path / "data"
    root.symlink_to(drawn)
    sets = read_sets(wanted, [data_roots([str(root)], tmp_path / "c")] * 2, tmp_path / "c", notice)
    assert len(sets[0].digests) == 2
    assert notice.lines == []


def test_short_answer_sets_are_learnt_in_words_open_and_closed_ones_together(tmp_path: Path) -> None:
    root = tmp_path / "data"
    pmc, line = root / "pmc_vqa", "{image},What is it?, A:cyst , B:mass ,C:,D:,B\n"
    (pmc / "figures").mkdir(parents=True)
    header = "Figure_path,Question,Choice A,Choice B,Choice C,Choice D,Answer\n"
    (pmc / "train_2.csv").write_text(header + line.format(image="a.jpg") + line.format(image="b.jpg"))
    (root / "slake/imgs/x").mkdir(parents=True)
    records = [
        {"qid": 1, "img_name": "x/source.jpg", "question": "Healthy?", "answer": "No", "q_lang": "en",
         "answer_type": "CLOSED"},
        {"qid": 2, "img_name": "x/source.jpg", "question": "Which organ?", "answer": "Liver", "q_lang": "en",
         "answer_type": "OPEN"},
        {"qid": 3, "img_name": "y/source.jpg", "question": "?", "answer": "Liver", "q_lang": "en",
         "answer_type": "OPEN"},
        {"qid": 4, "img_name": "z/source.jpg", "question": "?", "answer": "Liver", "q_lang": "en",
         "answer_type": "OPEN"},
    ]  # fmt: skip
    (root / "slake/train.json").write_text(json.dumps(records))
    for path in (pmc / "figures/a.jpg", pmc / "figures/b.jpg", root / "slake/imgs/x/source.jpg"):
        Image.new("L", (8, 6)).save(path)
    notice = Noted()
    wanted = [SetSpec(task="slake_words"), SetSpec(task="pmc_vqa_words")]
    slake, figures = read_sets(wanted, [data_roots([str(root)], tmp_path)], tmp_path, notice)
    assert [one.answer for one in slake.examples] == ["No", "Liver"]
    assert slake.examples[0].question == "Healthy?\nAnswer in a word or a short phrase."
    assert [one.answer for one in figures.examples] == ["mass", "mass"]
    assert "['cyst', 'mass']" in figures.examples[0].question
    assert notice.lines == ["slake_words: 2 samples are not learnt from: image is missing; the first is slake/train/3"]


def test_a_task_without_words_or_masks_and_an_unknown_one_are_refused(drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected a task answered in words or masks, found one of retrieval"):
        read(drawn, tmp_path, SetSpec(task="m3d_image_to_text_retrieval"))
    with pytest.raises(SpecError, match="no task or group is called 'vqa_rat'"):
        read(drawn, tmp_path, SetSpec(task="vqa_rat"))
    with pytest.raises(DataError, match="expected samples"):
        read(drawn, tmp_path, SetSpec(task="mecovqa_g", where={"modality": ("xray",)}))
