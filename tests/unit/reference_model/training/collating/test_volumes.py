"""Rows about volumes become batches: texts and boxes on the grid, masks that are there, and changes that move all."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.errors import DataError
from harness.imaging import masks
from harness.records import Box, Points
from reference_model.config import VolumeModelConfig
from reference_model.inputs.batch import VolumeBatch
from reference_model.inputs.conversation import IGNORE, IMAGE, VOLUME_SEG
from reference_model.training.collating.augmentation import Augmentation
from reference_model.training.collating.volumes import PreparedVolumes, VolumeCollator
from reference_model.training.data import Example
from tests.unit.reference_model.small_volumes import SIZE, TOKENIZER, cube, volume_example

PLAIN = volume_example()
MARKED = volume_example(question="Mark the liver.", answer="It is [SEG].", mask=cube(2))
OTHER = volume_example(1, question="Where is it?", answer="[SEG]", mask=cube(4))
SEG = TOKENIZER.special.id(VOLUME_SEG)


@pytest.fixture
def collator(volume_config: VolumeModelConfig) -> VolumeCollator:
    return VolumeCollator(config=volume_config, tokenizer=TOKENIZER, volumes=PreparedVolumes(volume_config))


def batch(collator: VolumeCollator, *rows: Sequence[Example], seed: int = 0) -> VolumeBatch:
    return collator.batch([tuple(row) for row in rows], np.random.default_rng(seed))


def trained(made: VolumeBatch, row: int = 0) -> str:
    return TOKENIZER.decode(made.labels_BT[row][made.labels_BT[row] != IGNORE].tolist())


def test_questions_about_a_volume_share_a_row_and_keep_their_own_masks(collator: VolumeCollator) -> None:
    made = batch(collator, (PLAIN, MARKED), (OTHER,))
    assert made.volume_B1DHW.shape == (2, 1, *SIZE)
    assert (made.ids_BT == IMAGE).sum(dim=1).tolist() == [8, 8]
    assert (trained(made), trained(made, 1)) == ("the liver. It is [SEG].", "[SEG]")
    assert made.segment_BT is not None
    assert set(made.segment_BT[0].tolist()) == {0, 1, 2}
    assert (made.segment_BT == 0).sum(dim=1).tolist()[0] == 1 + collator.config.volume_tokens
    assert made.mask_row_M.tolist() == [0, 1]
    assert made.mask_segment_M.tolist() == [2, 1]
    assert torch.equal(made.mask_MDHW, torch.from_numpy(np.stack([cube(2), cube(4)])).float())
    assert not bool(made.valid_BT[1].all())


def test_a_row_without_masks_has_none(collator: VolumeCollator) -> None:
    made = batch(collator, (PLAIN,))
    assert made.mask_MDHW.shape == (0, *SIZE)
    assert len(made.mask_row_M) == len(made.mask_segment_M) == 0


def test_a_mask_that_is_lost_on_the_grid_and_one_whose_token_is_cut_off_are_left_out(collator: VolumeCollator) -> None:
    large = (16, 64, 64)
    speck = np.zeros(large, dtype=np.bool_)
    speck[0, 0, 0] = True  # beside the middle of its cell
    lost = volume_example(2, size=large, answer="[SEG]", mask=speck)
    kept = volume_example(2, size=large, answer="[SEG]", mask=~speck)
    made = batch(collator, (lost, kept))
    assert made.mask_segment_M.tolist() == [2]
    assert (made.ids_BT == SEG).sum().item() == 2
    short = replace(collator.config, prompt=replace(collator.config.prompt, max_length=14))
    cut = batch(replace(collator, config=short), (MARKED,))
    assert SEG not in cut.ids_BT
    assert len(cut.mask_MDHW) == 0


def test_an_answer_counts_by_its_length_as_asked(collator: VolumeCollator) -> None:
    made = batch(replace(collator, answer_weight=0.5), (PLAIN,))
    assert made.weight_BT is not None
    # "the liver ." and the end token
    assert made.weight_BT[made.labels_BT != IGNORE].tolist() == pytest.approx([0.5] * 4)


def test_boxes_of_question_and_answer_are_written_on_the_grid(collator: VolumeCollator) -> None:
    size = (16, 32, 32)  # two voxels a cell
    asked = volume_example(
        3, size=size, question="What is <box>?", prompts=(Box(corners=(4.0, 8.0, 8.0, 8.0, 16.0, 32.0)),),
        answer="It is at [0.25, 0.25, 0.25, 0.438, 0.469, 0.969]",
    )  # fmt: skip
    made = batch(collator, (asked,))
    text = TOKENIZER.decode(made.ids_BT[0][made.ids_BT[0] >= 0].tolist())
    # voxels 4-7, 8-15, 8-31 are cells 2-3, 4-7, 4-15
    assert text == ("What is [0.25, 0.25, 0.25, 0.375, 0.438, 0.938]? It is at [0.25, 0.25, 0.25, 0.375, 0.438, 0.938]")


def test_a_change_moves_masks_and_boxes_with_the_volume(collator: VolumeCollator) -> None:
    corners = (2.0, 4.0, 2.0, 6.0, 12.0, 10.0)
    box = masks.bounding_box(masks.encode(cube(2)))
    assert box == Box(corners=corners)
    asked = volume_example(question="What is <box>?", prompts=(box,), answer="It is [SEG].", mask=cube(2))
    changed = replace(collator, augmentation=True)
    moves = set()
    for seed in range(12):
        made = batch(changed, (asked,), seed=seed)
        change = Augmentation.sampled(np.random.default_rng(seed))
        moves.add((change.turns, change.mirrored))
        volume_1DHW, frame = collator.volumes.of(asked)
        torch.testing.assert_close(made.volume_B1DHW[0], change.volume(volume_1DHW))
        assert torch.equal(made.mask_MDHW, change.moved(torch.from_numpy(cube(2))[None]).float())
        text = TOKENIZER.decode(made.ids_BT[0][made.ids_BT[0] >= 0].tolist())
        assert change.text("What is [0.25, 0.25, 0.125, 0.625, 0.688, 0.562]?", frame.size) in text
    assert len(moves) > 4


def test_prompts_that_are_no_boxes_are_refused(collator: VolumeCollator) -> None:
    pointed = replace(PLAIN, prompts=(Points(points=((1.0, 1.0),), labels=(1,)),))
    with pytest.raises(DataError, match="visual prompt: expected boxes about a volume, found Points"):
        batch(collator, (pointed,))


def test_volumes_are_kept_up_to_a_limit(volume_config: VolumeModelConfig) -> None:
    volumes = PreparedVolumes(volume_config)
    first = volumes.of(PLAIN)[0]
    assert volumes.of(MARKED)[0] is first
    small = PreparedVolumes(volume_config, most_bytes=first.nbytes)
    kept = small.of(PLAIN)[0]
    small.of(OTHER)
    again = small.of(PLAIN)[0]
    assert again is not kept
    assert torch.equal(again, first)
