"""The whole model about volumes in training: states of masks, rows of several questions, and what it refuses."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.errors import ModelError
from reference_model.config import VolumeModelConfig
from reference_model.inputs.batch import VolumeBatch
from reference_model.inputs.conversation import IGNORE, IMAGE, VOLUME_SEG
from reference_model.modeling.build import build_volume_model
from reference_model.modeling.m3d_model import VolumeGroundingModel, mask_states, seg_steps
from reference_model.training.collating.volumes import PreparedVolumes, VolumeCollator
from reference_model.training.data import Example
from tests.unit.reference_model.small_volumes import SIZE, TOKENIZER, cube, volume_example

SEG = TOKENIZER.special.id(VOLUME_SEG)
QUESTIONS = (
    volume_example(),
    volume_example(question="Mark the liver.", answer="It is [SEG].", mask=cube(2)),
    volume_example(question="Where is it?", answer="[SEG]", mask=cube(4)),
    volume_example(question="What is in its upper half?", answer="No cyst [SEG] and a large [SEG].", mask=~cube(0)),
)


def batch(config: VolumeModelConfig, *rows: Sequence[Example], answer_weight: float = 0.0) -> VolumeBatch:
    collator = VolumeCollator(
        config=config, tokenizer=TOKENIZER, volumes=PreparedVolumes(config), answer_weight=answer_weight
    )
    return collator.batch([tuple(row) for row in rows], np.random.default_rng(0))


def written(rows: list[list[int]], segments: list[list[int]] | None, places: list[tuple[int, int]]) -> VolumeBatch:
    """Return a batch of these ids, with the row and the segment of each mask."""
    ids_BT, place_M2 = torch.tensor(rows), torch.tensor(places)
    return VolumeBatch(
        ids_BT=ids_BT,
        valid_BT=torch.ones_like(ids_BT, dtype=torch.bool),
        labels_BT=ids_BT,
        segment_BT=None if segments is None else torch.tensor(segments),
        volume_B1DHW=torch.zeros(len(rows), 1, *SIZE),
        mask_row_M=place_M2[:, 0],
        mask_segment_M=place_M2[:, 1],
        mask_MDHW=torch.zeros(len(places), *SIZE),
    )


def test_the_state_of_a_mask_is_the_mean_of_those_that_predict_its_tokens() -> None:
    rows = [[1, IMAGE, 5, SEG, 6, SEG, 2, 0], [1, IMAGE, SEG, 7, SEG, SEG, 2, 0]]
    segments = [[0, 0, 1, 1, 2, 2, 2, 0], [0, 0, 1, 1, 1, 1, 1, 0]]
    hidden_BTD = torch.randn(2, 8, 3)
    # The third mask's first token comes right behind the volume; segment 2 of the second row has no token.
    made = written(rows, segments, [(0, 2), (0, 1), (1, 1), (1, 2)])
    wanted = [hidden_BTD[0, 4], hidden_BTD[0, 2], hidden_BTD[1, [1, 3, 4]].mean(dim=0), torch.zeros(3)]
    torch.testing.assert_close(mask_states(hidden_BTD, made, SEG), torch.stack(wanted))
    unpacked = mask_states(hidden_BTD, written(rows, None, [(0, 0), (1, 0)]), SEG)
    torch.testing.assert_close(unpacked, torch.stack([hidden_BTD[0, [2, 4]].mean(dim=0), wanted[2]]))


def test_released_models_miss_a_first_token() -> None:
    assert seg_steps([SEG, 5, SEG], SEG, first_token_counts=True) == [0, 2]
    assert seg_steps([SEG, 5, SEG], SEG, first_token_counts=False) == [2]
    assert seg_steps([SEG], SEG, first_token_counts=False) == []
    assert seg_steps([], SEG, first_token_counts=True) == []


@pytest.mark.parametrize("answer_weight", [0.0, 0.5])
def test_questions_in_one_row_give_the_losses_and_masks_of_each_alone(
    answer_weight: float, volume_config: VolumeModelConfig
) -> None:
    model = build_volume_model(volume_config).eval()
    packed = model(batch(volume_config, QUESTIONS, answer_weight=answer_weight))
    alone = model(batch(volume_config, *((one,) for one in QUESTIONS), answer_weight=answer_weight))
    torch.testing.assert_close(packed.losses, alone.losses, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(packed.logits_MDHW, alone.logits_MDHW, atol=1e-5, rtol=1e-5)
    assert packed.logits_MDHW.shape == (3, *SIZE)
    assert len({round(mask.mean().item(), 6) for mask in packed.logits_MDHW}) == 3


def test_an_answer_depends_on_its_volume_and_not_on_the_rows_beside(
    volume_model: VolumeGroundingModel, volume_config: VolumeModelConfig
) -> None:
    other = replace(QUESTIONS[1], media=volume_example(7).media)
    together = volume_model(batch(volume_config, QUESTIONS[1:2], (other,), QUESTIONS[3:]))
    alone = volume_model(batch(volume_config, (other,)))
    torch.testing.assert_close(together.logits_MDHW[1:2], alone.logits_MDHW, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(together.logits_MDHW[0], together.logits_MDHW[1], atol=1e-3)


def test_without_masks_only_words_cost(volume_model: VolumeGroundingModel, volume_config: VolumeModelConfig) -> None:
    output = volume_model(batch(volume_config, QUESTIONS[:1]))
    assert output.losses.language.item() > 0
    assert (output.losses.bce.item(), output.losses.dice.item()) == (0.0, 0.0)
    assert output.logits_MDHW.shape == (0, *SIZE)


def test_without_words_only_masks_cost(volume_model: VolumeGroundingModel, volume_config: VolumeModelConfig) -> None:
    made = batch(volume_config, QUESTIONS)
    losses = volume_model(replace(made, labels_BT=torch.full_like(made.labels_BT, IGNORE))).losses
    assert losses.language.item() == 0.0
    wanted = volume_model(made).losses
    torch.testing.assert_close((losses.bce, losses.dice), (wanted.bce, wanted.dice))


def test_embeddings_of_the_volume_take_its_places_in_order(
    volume_model: VolumeGroundingModel, volume_config: VolumeModelConfig
) -> None:
    made = batch(volume_config, QUESTIONS[:1], (volume_example(7),))
    embedded_BTD = volume_model.embed(made)
    volume_BND = volume_model.perceiver(volume_model.vision(made.volume_B1DHW))
    torch.testing.assert_close(embedded_BTD[:, 1:9], volume_BND)
    torch.testing.assert_close(embedded_BTD[0, 9:], volume_model.language.embed_tokens(made.ids_BT[0, 9:]))


def test_contradictions_of_a_batch_are_named(
    volume_model: VolumeGroundingModel, volume_config: VolumeModelConfig
) -> None:
    made = batch(volume_config, QUESTIONS[:1], (volume_example(7),))
    short_BT = made.ids_BT.clone()
    short_BT[1, 3] = 5
    with pytest.raises(
        ModelError,
        match="row 1: expected 8 positions of a volume and one volume a row, found 7 and 2 volumes for 2 rows",
    ):
        volume_model(replace(made, ids_BT=short_BT))
    with pytest.raises(ModelError, match="found 8 and 1 volumes for 2 rows"):
        volume_model(replace(made, volume_B1DHW=made.volume_B1DHW[:1]))


def test_a_batch_moves_whole(volume_config: VolumeModelConfig) -> None:
    made = batch(volume_config, QUESTIONS).to("meta")
    assert {tensor.device.type for tensor in (made.ids_BT, made.volume_B1DHW, made.mask_MDHW, made.mask_row_M)} == {
        "meta"
    }
