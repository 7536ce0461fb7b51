"""Requests in the words and cells that the model reads."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.errors import DataError
from harness.records import Box, MediaPart, Points, Request, TextPart, Turn
from reference_model.config import ModelConfig
from reference_model.inputs.requests import grid_of_prompt, grids, in_words, question_of


@pytest.mark.parametrize(
    ("words", "prompts", "expected"),
    [
        ("what is <box>?", 1, "what is <region></region>?"),
        ("<point> and <region>", 2, "<region></region> and <region></region>"),
        ("what is this?", 1, "what is this? <region></region>"),
        ("what is <region>?", 0, "what is ?"),
    ],
)
def test_every_prompt_gets_one_pair_of_tags(words: str, prompts: int, expected: str) -> None:
    point = Points(points=((1.0, 1.0),), labels=(1,))
    turn = Turn(role="user", parts=(TextPart(text=words),))
    request = Request(messages=(turn,), visual_prompts=(point,) * prompts)
    assert question_of(request) == expected
    assert (
        question_of(replace(request, messages=(replace(turn, parts=(MediaPart(media=None), *turn.parts)),))) == expected
    )  # type: ignore[arg-type]


def test_a_box_covers_the_cells_that_it_reaches(config: ModelConfig) -> None:
    cells = config.vision.cells
    upper_half = grid_of_prompt(Box(corners=(0, 0, 32, 16)), (32, 32), config)
    assert upper_half.shape == (cells, cells)
    assert upper_half[: cells // 2].all()
    assert not upper_half[cells // 2 :].any()


def test_a_small_point_keeps_a_cell_unless_the_model_is_as_released(config: ModelConfig) -> None:
    point = Box(corners=(17, 17, 18, 18))
    assert grid_of_prompt(point, (32, 32), replace(config, released=False)).sum() == 1
    assert grid_of_prompt(point, (32, 32), replace(config, released=True)).sum() == 0


def test_a_prompt_outside_the_image_is_refused(config: ModelConfig) -> None:
    with pytest.raises(DataError, match=r"region prompt: expected a Box inside the image of \(32, 32\), found nothing"):
        grid_of_prompt(Box(corners=(40, 40, 50, 50)), (32, 32), config)


def test_regions_are_one_tensor_also_if_there_are_none() -> None:
    grid = np.eye(3, dtype=np.bool_)
    stacked = grids([grid, ~grid], 3)
    assert (stacked.shape, stacked.dtype) == ((2, 3, 3), torch.bool)
    assert torch.equal(stacked[0], torch.eye(3, dtype=torch.bool))
    assert grids([], 3).shape == (0, 3, 3)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("A", "left lung"), ("B", "liver: 2 cysts"), ("C", "no"), ("D", "D"), ("E", "E"), ("a", "a"), ("yes", "yes"),
    ],
)  # fmt: skip
def test_a_letter_becomes_the_words_of_its_line(reply: str, words: str) -> None:
    question = "Where? A. is no line\nA. left lung \n(B) liver: 2 cysts\nC) no\nDose\nE.\nReply with a letter."
    assert in_words(question, reply) == words
