"""A picture is told in words: what its cells show, on which side, and questions that the words answer."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from harness import masks
from harness.records import Region
from reference_model.build import build_model
from reference_model.collate import Collator, Pictures
from reference_model.config import ModelConfig
from reference_model.telling import BACKGROUND, FEW, QUESTIONS, Told, names_of_cells, reading_loss, tell
from reference_model.tokenizers import WordTokenizer
from tests.unit.reference_model.training import example


def square(side: int, first: int, last: int) -> np.ndarray:
    mask = np.zeros((side, side), dtype=bool)
    mask[first:last, first:last] = True
    return mask


def test_a_cell_shows_the_smallest_structure_in_it_and_the_background_where_there_is_none(config: ModelConfig) -> None:
    side, cells = config.vision.image_size, config.vision.cells
    small, large = square(side, side // 2, side), square(side, side // 4, side)
    row = tuple(example(0, size=(side, side), mask=mask, name=name) for mask, name in ((small, "a"), (large, "b")))
    names_GG = np.array(names_of_cells(row, config.vision)).reshape(cells, cells)
    assert (names_GG[cells // 2 :, cells // 2 :] == "a").all()
    assert set(names_GG[: cells // 2].ravel()) == {"b", BACKGROUND}
    assert names_GG[0, 0] == BACKGROUND


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


def test_words_name_a_few_cells_or_all_of_them_and_their_side(config: ModelConfig) -> None:
    found = [tell([row_about(config, 1)], config.vision, np.random.default_rng(seed))[0] for seed in range(8)]
    half = config.vision.tokens // 2
    counts = {tuple(sorted((word, told.words.count(word)) for word in set(told.words))) for told in found}
    assert counts == {(("liver left", FEW), ("right", FEW)), (("liver left", half), ("right", half))}


def test_not_too_many_questions_are_asked_and_none_for_a_mask(config: ModelConfig) -> None:
    (told,) = tell([row_about(config, QUESTIONS + 3)], config.vision, np.random.default_rng(0))
    assert len(told.questions) == QUESTIONS
    assert all(one.mask is None for one in told.questions)


def test_a_region_is_told_by_its_name_and_side(config: ModelConfig) -> None:
    (told,) = tell([row_about(config, 0)], config.vision, np.random.default_rng(0))
    assert told.regions == ("spleen left",)


def test_the_words_of_a_region_decide_what_it_is(config: ModelConfig, tokenizer: WordTokenizer) -> None:
    model = build_model(config, experts=False).language
    collator = Collator(config=config, tokenizer=tokenizer, pictures=Pictures(config))
    (told,) = tell([row_about(config, 0)], config.vision, np.random.default_rng(0))
    other = replace(told, regions=("liver",))
    assert not torch.isclose(reading_loss(model, [told], collator), reading_loss(model, [other], collator))


def test_a_picture_without_masks_is_not_told(config: ModelConfig) -> None:
    assert tell([(example(0),)], config.vision, np.random.default_rng(0)) == []


def test_nothing_told_costs_nothing(config: ModelConfig, tokenizer: WordTokenizer) -> None:
    model, collator = (
        build_model(config, experts=False),
        Collator(config=config, tokenizer=tokenizer, pictures=Pictures(config)),
    )
    assert float(reading_loss(model.language, [], collator).detach()) == 0.0


def test_the_words_decide_what_is_answered(config: ModelConfig, tokenizer: WordTokenizer) -> None:
    torch.manual_seed(0)
    model = build_model(config, experts=False).language
    collator = Collator(config=config, tokenizer=tokenizer, pictures=Pictures(config))
    told = [
        Told(words, (example(0, question="is this the liver?", answer=answer),))
        for words, answer in ((("liver", "spleen"), "yes"), (("spleen",), "no"))
    ]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        loss = reading_loss(model, told, collator)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert float(loss.detach()) < 0.05
    swapped = [replace(told[0], words=told[1].words), replace(told[1], words=told[0].words)]
    assert float(reading_loss(model, swapped, collator).detach()) > 1.0


@pytest.mark.parametrize("count", [1, 3])
def test_every_word_stands_in_the_place_of_a_patch(count: int, config: ModelConfig, tokenizer: WordTokenizer) -> None:
    torch.manual_seed(0)
    model, collator = (
        build_model(config, experts=False).language,
        Collator(config=config, tokenizer=tokenizer, pictures=Pictures(config)),
    )
    question = (example(0, question="what is this?", answer="the liver"),)
    one = reading_loss(model, [Told(("liver",) * count, question)], collator)
    other = reading_loss(model, [Told(("spleen",) * count, question)], collator)
    assert not torch.isclose(one, other)
