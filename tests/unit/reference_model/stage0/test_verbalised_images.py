"""A picture is told in words: what its cells show, and questions that the words answer."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.imaging import masks
from harness.records import Region
from reference_model.config import ModelConfig
from reference_model.inputs.tokenizers import WordTokenizer
from reference_model.modeling.build import build_model
from reference_model.stage0.objective import build_untrained
from reference_model.stage0.patch_captions import BACKGROUND, SIDES, PatchCaption, patch_captions
from reference_model.stage0.verbalised_images import (
    FEW,
    FEW_UNTIL,
    LOOKED_UP,
    QUESTIONS,
    VerbalisedImage,
    lookup_questions,
    reading_loss,
    verbalise,
)
from reference_model.training.collating.images import Collator, EncoderImages
from tests.unit.reference_model.small_training import example


def row_about(config: ModelConfig, questions: int) -> tuple:  # type: ignore[type-arg]
    side = config.vision.image_size
    left = np.zeros((side, side), dtype=bool)
    left[:, : side // 2] = True
    asked = [example(0, question=f"is this {number}?", answer="yes") for number in range(questions)]
    pointed = example(
        0,
        size=(side, side),
        question="what is <region></region>?",
        name="spleen",
        prompts=(Region(mask=masks.encode(left)),),
    )
    return (example(0, size=(side, side), mask=left, name="liver"), pointed, *asked)


def told(config: ModelConfig, questions: int = 0, *, seed: int = 0, progress: float = 0.0) -> VerbalisedImage:
    row, vision = row_about(config, questions), config.vision
    shown = patch_captions(row, side=vision.image_size, cells=vision.cells)
    (found,) = verbalise([row], [shown], np.random.default_rng(seed), progress=progress)
    return found


def counts_of(words: Sequence[str]) -> dict[str, int]:
    return {word: words.count(word) for word in set(words)}


def test_a_few_cells_of_everything_are_told_at_first_and_all_of_them_later(config: ModelConfig) -> None:
    half = config.vision.tokens // 2
    few, many = {"liver left one": FEW, "": FEW}, {"liver left one": half, "": half}
    first = [counts_of(told(config, seed=seed, progress=0.0).words) for seed in range(20)]
    later = [counts_of(told(config, seed=seed, progress=FEW_UNTIL).words) for seed in range(20)]
    assert all(found == few for found in first)
    assert few in later
    assert many in later


def test_what_is_looked_up_follows_from_the_cells() -> None:
    shown = [
        PatchCaption("liver", "left", "one", ""),
        PatchCaption("lung", "left", "two", ""),
        PatchCaption("lung", "right", "two", "larger"),
        *(PatchCaption("polyp", side, "three", "") for side in SIDES),
    ]
    found = {
        asked
        for seed in range(200)
        for asked in lookup_questions(shown, ["liver", "spleen"], np.random.default_rng(seed))
    }
    assert dict(found) == {
        "Is the liver left or right?": "left",
        "Is the liver on the left?": "yes",
        "Is the liver on the right?": "no",
        "Is the left or the right lung the larger?": "right",
        "Is the left lung the larger?": "no",
        "Is the right lung the larger?": "yes",
        "Is there more than one liver?": "no",
        "Is there more than two liver?": "no",
        "Is there more than one lung?": "yes",
        "Is there more than two lung?": "no",
        "Is there more than one polyp?": "yes",
        "Is there more than two polyp?": "yes",
        "Is there a liver?": "yes",
        "Is there a lung?": "yes",
        "Is there a polyp?": "yes",
        "Is there a spleen?": "no",
    }


def test_nothing_is_looked_up_where_nothing_is_shown() -> None:
    assert lookup_questions([BACKGROUND], [], np.random.default_rng(0)) == []


def test_not_too_many_questions_are_asked(config: ModelConfig) -> None:
    questions = told(config, QUESTIONS + 3).questions
    assert sum(one.question.startswith(("is this", "what is")) for one in questions) == QUESTIONS
    assert QUESTIONS < len(questions) <= QUESTIONS + LOOKED_UP


def test_a_question_for_a_mask_is_asked_too(config: ModelConfig) -> None:
    assert any(one.mask is not None for one in told(config).questions)


def test_a_region_is_told_by_its_name_and_side(config: ModelConfig) -> None:
    assert told(config).regions == ("spleen left",)


def test_the_words_of_a_region_decide_what_it_is(config: ModelConfig, tokenizer: WordTokenizer) -> None:
    model = build_model(config, experts=False).language
    collator = Collator(config=config, tokenizer=tokenizer, images=EncoderImages(config))
    one = told(config)
    other = replace(one, regions=("liver",))
    assert not torch.isclose(reading_loss(model, [one], collator), reading_loss(model, [other], collator))


def test_a_picture_without_masks_is_not_told() -> None:
    assert verbalise([(example(0),)], [()], np.random.default_rng(0), progress=0.0) == []


def test_nothing_told_costs_nothing(config: ModelConfig, tokenizer: WordTokenizer) -> None:
    model, collator = (
        build_model(config, experts=False),
        Collator(config=config, tokenizer=tokenizer, images=EncoderImages(config)),
    )
    assert float(reading_loss(model.language, [], collator).detach()) == 0.0


def test_the_words_decide_what_is_answered(config: ModelConfig, tokenizer: WordTokenizer) -> None:
    torch.manual_seed(0)
    model = build_untrained(config).language
    collator = Collator(config=config, tokenizer=tokenizer, images=EncoderImages(config))
    pictures = [
        VerbalisedImage(words, (example(0, question="is this the liver?", answer=answer),))
        for words, answer in ((("liver", "spleen"), "yes"), (("spleen",), "no"))
    ]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
    for _ in range(300):
        optimizer.zero_grad()
        loss = reading_loss(model, pictures, collator)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if float(loss.detach()) < 0.02:
            break
    assert float(loss.detach()) < 0.05
    swapped = [replace(pictures[0], words=pictures[1].words), replace(pictures[1], words=pictures[0].words)]
    assert float(reading_loss(model, swapped, collator).detach()) > 1.0


@pytest.mark.parametrize("count", [1, 3])
def test_every_word_stands_in_the_place_of_a_patch(count: int, config: ModelConfig, tokenizer: WordTokenizer) -> None:
    torch.manual_seed(0)
    model, collator = (
        build_model(config, experts=False).language,
        Collator(config=config, tokenizer=tokenizer, images=EncoderImages(config)),
    )
    question = (example(0, question="what is this?", answer="the liver"),)
    one = reading_loss(model, [VerbalisedImage(("liver",) * count, question)], collator)
    other = reading_loss(model, [VerbalisedImage(("spleen",) * count, question)], collator)
    assert not torch.isclose(one, other)
