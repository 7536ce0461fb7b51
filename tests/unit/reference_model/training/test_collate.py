"""Rows as tensors: packing, labels, weights, regions and masks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.imaging import masks
from harness.records import Box, Region
from reference_model.config import ModelConfig
from reference_model.inputs.batch import Batch
from reference_model.inputs.conversation import IGNORE, REGION
from reference_model.inputs.tokenizers import WordTokenizer
from reference_model.modeling.model import PixelGroundingModel
from reference_model.training.collating.images import Collator, EncoderImages
from tests.unit.reference_model.small_training import example

LEFT = np.zeros((20, 24), dtype=bool)
LEFT[4:12, 2:10] = True
ASKED = example(question="where is the liver?", answer="<SEG>", mask=LEFT)
POINTED = example(
    question="what is <region></region>?", answer="the spleen", prompts=(Region(mask=masks.encode(LEFT)),)
)
PLAIN = example(question="is this the spleen?", answer="no.")
OTHER = example(1, size=(16, 16))


@pytest.fixture
def collator(config: ModelConfig, tokenizer: WordTokenizer) -> Collator:
    return Collator(config=config, tokenizer=tokenizer, images=EncoderImages(config))


def batch(collator: Collator, *rows: tuple) -> Batch:
    return collator.batch(rows, np.random.default_rng(0))


def test_a_packed_question_reads_as_it_does_alone(collator: Collator, model: PixelGroundingModel) -> None:
    packed = batch(collator, (PLAIN, POINTED, ASKED))
    states = model.language(model.embed(packed), valid_BK=packed.valid_BT, segment_BK=packed.segment_BT).hidden_BTD[0]
    for number, one in enumerate((PLAIN, POINTED, ASKED), start=1):
        alone = batch(collator, (one,))
        expected = model.language(model.embed(alone), valid_BK=alone.valid_BT).hidden_BTD[0]
        segments = packed.segment_BT[0] == number  # type: ignore[index]
        torch.testing.assert_close(states[segments], expected[-int(segments.sum()) :], atol=1e-4, rtol=1e-4)
        assert torch.equal(packed.labels_BT[0][segments], alone.labels_BT[0][-int(segments.sum()) :])


def test_regions_and_masks_stand_in_reading_order(collator: Collator) -> None:
    made = batch(collator, (OTHER,), (ASKED, POINTED))
    assert [tuple(one.shape) for one in made.masks] == [(0, 16, 16), (1, 20, 24)]
    assert torch.equal(made.masks[1][0].bool(), torch.from_numpy(LEFT))
    assert made.grid_RGG.shape == (1, 4, 4)
    assert made.sizes == ((16, 16), (20, 24))
    assert int((made.ids_BT == REGION).sum()) == 1


def test_no_mask_no_pixels(collator: Collator) -> None:
    made = batch(collator, (PLAIN,), (OTHER,))
    assert made.pixels_B3SS is None
    assert made.masks == ()


def test_an_answer_counts_by_its_length_as_asked(collator: Collator) -> None:
    def weights(answer_weight: float) -> set[float]:
        made = batch(replace(collator, answer_weight=answer_weight), (POINTED,))
        assert made.weight_BT is not None
        return {round(value, 4) for value in made.weight_BT[made.labels_BT != IGNORE].tolist()}

    assert [weights(value) for value in (0.0, 0.5, 1.0)] == [{1.0}, {round(3**-0.5, 4)}, {round(1 / 3, 4)}]


def test_what_is_cut_off_has_neither_region_nor_mask(collator: Collator, config: ModelConfig) -> None:
    short = replace(collator, config=replace(config, prompt=replace(config.prompt, max_length=8)))
    made = batch(short, (ASKED, POINTED))
    assert made.masks == ()
    assert len(made.grid_RGG) == 0


def test_a_region_that_vanishes_as_released_leaves_its_question_out(collator: Collator, config: ModelConfig) -> None:
    tiny = replace(POINTED, prompts=(Box(corners=(1, 1, 2, 2)),))
    assert (batch(collator, (tiny,)).labels_BT != IGNORE).any()
    released = replace(collator, config=replace(config, released=True))
    assert not (batch(released, (tiny,)).labels_BT != IGNORE).any()


def test_a_part_of_a_region_is_drawn_where_asked(collator: Collator, config: ModelConfig) -> None:
    whole = replace(POINTED, prompts=(Box(corners=(0, 0, 24, 20)),))
    parts = replace(collator, region_parts=True, config=replace(config, region=replace(config.region, smallest_part=1)))
    sizes = [int(parts.batch([(whole,)], np.random.default_rng(seed)).grid_RGG.sum()) for seed in range(6)]
    assert min(sizes) < max(sizes) <= int(batch(collator, (whole,)).grid_RGG.sum())


def test_pictures_are_kept_up_to_a_limit(config: ModelConfig) -> None:
    pictures = EncoderImages(config)
    first = pictures.of(PLAIN)
    assert pictures.of(ASKED)[0] is first[0]
    small = EncoderImages(config, most_bytes=first[0].nbytes + first[1].nbytes)
    kept = small.of(PLAIN)
    small.of(OTHER)
    assert small.of(PLAIN)[0] is not kept[0]
    assert torch.equal(small.of(PLAIN)[0], first[0])


def test_where_options_are_scored_the_words_of_a_letter_are_trained(collator: Collator, config: ModelConfig) -> None:
    lettered = example(question="what is this?\nA. yes\nB. liver", answer="B")
    scored = replace(collator, config=replace(config, prompt=replace(config.prompt, options="scored")))
    assert scored.encode(lettered) == collator.encode(replace(lettered, answer="liver"))
    assert collator.encode(lettered) != scored.encode(lettered)
