"""Questions about several images become examples and batches; rows share their images."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.data.phantoms.writers.mmmu import write_mmmu
from harness.errors import DataError
from harness.imaging.media_store import MediaStore
from harness.records import Media, Sample, Target
from harness.tasks import catalog
from reference_model.adapter import Reference
from reference_model.inputs.conversation import IGNORE, IMAGE
from reference_model.training import data
from reference_model.training.mixing import Mix
from reference_model.training.recipe_files import load_recipe
from tests.unit.reference_model.small_llava import LETTERED, TOKENIZER, about, collator, request, small_config
from tests.unit.reference_model.small_training import example_set, small_run

CONFIG = small_config()


def test_a_row_holds_the_images_once_and_every_question_sees_them_and_itself() -> None:
    row = (about(1, 2, question="What is this?", answer="yes"), about(1, 2, question="Is it A?", answer="no"))
    made = collator(CONFIG).batch([row, (about(3),)], np.random.default_rng(0))
    assert made.vision_B3SS.shape == (3, 3, 32, 32)
    assert made.pixels_B3SS is None
    assert made.segment_BT is not None
    shared = int((made.segment_BT[0] == 0).sum()) - int((~made.valid_BT[0]).sum())
    assert made.ids_BT[0, shared - 1] == IMAGE
    assert (made.ids_BT[0] == IMAGE).sum() == 2 * 16
    own = made.ids_BT[0][made.segment_BT[0] == 2]
    assert TOKENIZER.decode(own.tolist()).strip() == "Is it A?\n<|assistant|>\nno"
    trained = [TOKENIZER.decode(ids[ids != IGNORE].tolist()) for ids in made.labels_BT]
    assert trained == ["yes no", "the liver"]


def test_images_are_padded_with_the_mean_colour_and_kept() -> None:
    images = collator(CONFIG).images
    found = images.of(about(1, 2))
    assert found is images.of(about(1, 2, question="another"))
    # The image is 20 x 24 pixels: the square is padded above and below, with a colour that is normalised to about 0.
    assert found[:, :, 0].abs().max() < 0.02
    assert found[:, :, 16].abs().max() > 0.5
    assert not torch.equal(found[0], found[1])


@pytest.mark.parametrize(("options", "answer"), [("written", "B"), ("scored", "the spleen")])
def test_letters_are_trained_as_words_where_options_are_scored(options: str, answer: str) -> None:
    made = collator(small_config(options=options)).encode(about(1, question=LETTERED, answer="B"))
    assert TOKENIZER.decode([label for label in made.labels if label != IGNORE]) == answer


def test_questions_about_the_same_images_in_the_same_order_share_a_row() -> None:
    asked = [about(1, 2, question="a"), about(1, 2, question="b"), about(2, 1, question="c"), about(1, question="d")]
    rows = {
        frozenset(one.question for one in row)
        for row in Mix([example_set("mine", asked)], steps=4, rows=4, questions=5, seed=0).step(0)
    }
    assert rows == {frozenset("ab"), frozenset("c"), frozenset("d")}


def sample(kind: str = "image", **fields: Any) -> Sample:
    media = tuple(Media(path=f"{name}.png", sha256=name, size=(4, 4), kind=kind) for name in "abc")
    fields = {"question": "Which shows it?", "choices": ("<image 2>", "<image 1>", "<image 3>")} | fields
    return Sample(id="mine/1", media=media, target=Target(answers=("<image 1>",), choice="B"), **fields)


def test_images_come_in_the_order_in_which_the_words_name_them(tmp_path: Path) -> None:
    task = catalog.index().load("mmmu_hm_test")
    found = data._example(task, sample(), MediaStore((tmp_path,)), "images")
    assert [one.record.path for one in (found.media, *found.further)] == ["b.png", "a.png", "c.png"]
    assert found.question.startswith("Which shows it?\nA. <image 1>\nB. <image 2>\nC. <image 3>\n")
    assert found.answer == "B"
    assert found.media_key == "b a c"


@pytest.mark.parametrize(
    ("kind", "reads", "message"),
    [("volume", "images", "it is not about images"), ("image", "image", "it is not about one image")],
)
def test_what_a_model_does_not_read_is_not_learnt_from(tmp_path: Path, kind: str, reads: Any, message: str) -> None:
    task = catalog.index().load("mmmu_hm_test")
    with pytest.raises(DataError, match=f"mine/1: {message}"):
        data._example(task, sample(kind), MediaStore((tmp_path,)), reads)


@pytest.mark.slow
def test_all_stages_of_the_recipe_run_and_their_model_answers(drawn: Path, tmp_path: Path) -> None:
    write_mmmu(tmp_path / "mmmu", 3)
    there = {"samed2d_seg", "mecovqa_c", "vqa_rad", "vqa_rad_closed", "mmmu_hm_test"}
    recipe = load_recipe("huatuo-vision-tiny")
    config = small_config(base_vocabulary=recipe.config.prompt.base_vocabulary, max_length=256, options="scored")
    stages = tuple(
        replace(stage, batch=4, rows=4, questions=3, data=tuple(one for one in stage.data if one.task in there))
        for stage in recipe.stages
    )
    roots = (str(drawn), str(tmp_path / "mmmu"))
    recipe = replace(recipe, config=config, stages=stages, data_roots=roots, precision="fp32")
    small_run(recipe, tmp_path / "out", tmp_path / "cache", steps=2).stages([0, 1, 2])
    adapter = Reference(str(tmp_path / "out" / "stage-2" / "model"))
    adapter.load("cpu")
    lettered = request(1, 2, LETTERED, choices=("A", "B"))
    answers = adapter.predict([lettered, request(1, "What is this?")])
    assert [answer.error for answer in answers] == [None, None]
    assert answers[0].text in ("A", "B")
    assert answers[0].rendered.startswith("<|user|>")
