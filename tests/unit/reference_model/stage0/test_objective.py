"""Stage 0 weighs what cells show, and asks for masks by a point, a box or a name."""

import numpy as np
import pytest
import torch

from reference_model.config import ModelConfig
from reference_model.inputs.tokenizers import WordTokenizer
from reference_model.modeling.build import build_model
from reference_model.stage0.objective import PROMPTS, Stage0Objective
from reference_model.training.collating.images import Collator, EncoderImages
from reference_model.training.data import Example
from reference_model.training.recipe import LOSSES
from tests.unit.reference_model.small_training import example

WEIGHTS = dict.fromkeys(LOSSES["image", "parents"], 1.0)


def square(side: int, first: int, last: int) -> np.ndarray:
    mask = np.zeros((side, side), dtype=bool)
    mask[first:last, first:last] = True
    return mask


def drawn(config: ModelConfig, tokenizer: WordTokenizer) -> Stage0Objective:
    torch.manual_seed(0)
    collator = Collator(config=config, tokenizer=tokenizer, images=EncoderImages(config))
    return Stage0Objective(build_model(config, experts=False), collator, WEIGHTS)


@pytest.fixture
def parents(config: ModelConfig, tokenizer: WordTokenizer) -> Stage0Objective:
    return drawn(config, tokenizer)


def test_cells_are_those_of_the_masks_in_the_row(config: ModelConfig, tokenizer: WordTokenizer) -> None:
    side = config.pixel_encoder.image_size
    liver, spleen = (
        example(0, size=(side, side), mask=square(side, first, last), name=name)
        for name, first, last in (("liver", 2, 14), ("spleen", 16, 30))
    )

    def loss(parents: Stage0Objective, *row: Example) -> float:
        return parents.measure([row], np.random.default_rng(0), drop_seed=0, progress=0.0).losses["cell"]

    known, fresh = drawn(config, tokenizer), drawn(config, tokenizer)
    alone = loss(known, liver)
    assert loss(known, liver, spleen) == loss(fresh, liver, spleen) != alone


def test_rows_without_masks_have_no_loss_of_cells_or_masks(parents: Stage0Objective) -> None:
    random = np.random.default_rng(0)
    measured = parents.measure([(example(0, answer="the liver and the spleen."),)], random, drop_seed=0, progress=0.0)
    assert {name: measured.losses[name] for name in ("cell", "pixel", "bce", "dice", "region")} == dict.fromkeys(
        ("cell", "pixel", "bce", "dice", "region"), 0.0
    )
    assert measured.losses["language"] == 0.0
    assert measured.losses["caption"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_each_kind_of_prompt_gives_one_mask_a_structure(
    prompt: object, parents: Stage0Objective, config: ModelConfig
) -> None:
    side = config.pixel_encoder.image_size
    wanted = [(square(side, 2, 9), "liver"), (square(side, 1, 5), "spleen"), (square(side, 3, 8), "liver")]
    sparse_MNK = prompt(parents, wanted, np.random.default_rng(0))  # type: ignore[operator]
    assert sparse_MNK.shape[0] == 3
    assert sparse_MNK.shape[2] == config.pixel_encoder.channels


def test_the_same_name_is_the_same_prompt(parents: Stage0Objective, config: ModelConfig) -> None:
    side = config.pixel_encoder.image_size
    wanted = [(square(side, 2, 9), "liver"), (square(side, 1, 5), "spleen"), (square(side, 3, 8), "liver")]
    prompt_MNK = parents.names(wanted, np.random.default_rng(0))
    assert torch.equal(prompt_MNK[0], prompt_MNK[2])
    assert not torch.allclose(prompt_MNK[0], prompt_MNK[1])


def test_a_point_lies_inside_what_it_means(parents: Stage0Objective, config: ModelConfig) -> None:
    side = config.pixel_encoder.image_size
    lone = np.zeros((side, side), dtype=bool)
    lone[5, 7] = True
    expected = parents.model.mask_decoder.embed_points(torch.tensor([[[7.0, 5.0]]]), torch.ones(1, 1, dtype=torch.long))
    assert torch.equal(parents.points([(lone, "liver")], np.random.default_rng(0)), expected)
