"""Visual prompts as shares of the square, and the layout of MIMO's questions."""

import numpy as np
import pytest
import torch

from harness.errors import DataError
from harness.imaging import masks
from harness.records import Box, Points, Region
from reference_model.inputs.conversation import IGNORE, IMAGE, PROMPT_PAIR, QUERY, REGION, Turn
from reference_model.inputs.visual_prompts import (
    LOWER_RIGHT,
    UPPER_LEFT,
    PromptPlaces,
    encode_question,
    first_places,
    places_of,
    prompt_tensors,
)
from tests.unit.reference_model.small_entities import BOTH, TOKENIZER, small_config


def test_places_are_shares_of_the_padded_square() -> None:
    point = places_of(Points(points=((0.0, 0.0), (19.0, 9.0)), labels=(1, 0)), (10, 20), side=40)
    assert point == PromptPlaces(((0.025, 0.275), (0.975, 0.725)), (1, 0))
    box = places_of(Box(corners=(-5, 0, 30, 10)), (10, 20), side=40)
    assert box == PromptPlaces(((0.0, 0.25), (1.0, 0.75)), (UPPER_LEFT, LOWER_RIGHT))


def test_regions_and_prompts_outside_are_refused() -> None:
    with pytest.raises(DataError, match=r"^visual prompt: expected points or a box, .* MIMO takes, found a region$"):
        places_of(Region(mask=masks.encode(np.ones((4, 4), dtype=bool))), (4, 4), side=8)
    with pytest.raises(DataError, match="expected a Box inside the image of"):
        places_of(Box(corners=(50, 50, 60, 60)), (10, 20), side=40)


def test_a_question_is_image_queries_words_and_prompts_in_their_places() -> None:
    config = small_config()
    prompts = [places_of(Box(corners=(1, 1, 4, 4)), (8, 8), side=32), PromptPlaces(((0.5, 0.5),), (1,))]
    turn = Turn(f"What is in {PROMPT_PAIR} and at {PROMPT_PAIR}?", BOTH)
    encoded = encode_question(turn, prompts, config, TOKENIZER)
    names = {IMAGE: "IMAGE", QUERY: "QUERY", REGION: "PLACE", 1: "<s>", 2: "</s>"}
    found = " ".join(names.get(token, TOKENIZER.decode([token])) for token in encoded.ids)
    assert found == (
        "<s> user : IMAGE QUERY QUERY \n what is in PLACE PLACE and at PLACE ? assistant : "
        "i see the <p> liver <SEG> </p> and the <p> spleen <SEG> </p> . </s>"
    )
    answered = [label for label in encoded.labels if label != IGNORE]
    assert TOKENIZER.decode(answered) == BOTH.lower().replace("<seg>", "<SEG>")
    with pytest.raises(DataError, match=r"^question: expected 1 marks of visual prompts, found 2$"):
        encode_question(turn, prompts[:1], config, TOKENIZER)


def test_places_behind_a_cut_are_left_out() -> None:
    prompts = [PromptPlaces(((0.0, 0.0), (1.0, 1.0)), (2, 3)), PromptPlaces(((0.5, 0.5),), (1,))]
    assert first_places(prompts, 3) == PromptPlaces(((0.0, 0.0), (1.0, 1.0), (0.5, 0.5)), (2, 3, 1))
    assert first_places(prompts, 1) == PromptPlaces(((0.0, 0.0),), (2,))
    place_N2, kind_N = prompt_tensors([first_places(prompts, 1), PromptPlaces(), prompts[1]])
    assert place_N2.tolist() == [[0.0, 0.0], [0.5, 0.5]]
    assert kind_N.tolist() == [2, 1]
    assert [one.shape for one in prompt_tensors([])] == [torch.Size([0, 2]), torch.Size([0])]
