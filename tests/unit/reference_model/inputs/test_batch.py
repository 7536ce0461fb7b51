"""A batch of conversations: padding on either side, and all its tensors on one device."""

import pytest
import torch

from harness.errors import DataError
from reference_model.inputs.batch import Batch, pad
from reference_model.inputs.conversation import IGNORE, Encoded


def test_padding_goes_to_the_side_that_is_asked_for() -> None:
    rows = [Encoded((5, 6, 7), (IGNORE, 6, 7)), Encoded((8,), (8,))]
    ids, valid, labels = pad(rows, side="right")
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert labels.tolist() == [[IGNORE, 6, 7], [8, IGNORE, IGNORE]]
    assert valid.tolist() == [[True] * 3, [True, False, False]]
    assert pad(rows, side="left")[0].tolist() == [[5, 6, 7], [0, 0, 8]]
    with pytest.raises(DataError, match="expected at least one conversation, found none"):
        pad([], side="left")


def test_every_tensor_moves_to_a_device_and_what_is_not_there_stays_so() -> None:
    ids_BT = torch.tensor([[5, 6]])
    batch = Batch(
        ids_BT=ids_BT,
        valid_BT=ids_BT > 0,
        labels_BT=ids_BT,
        vision_B3SS=torch.zeros(1, 3, 4, 4),
        sizes=((4, 4),),
        grid_RGG=torch.zeros((0, 2, 2), dtype=torch.bool),
        weight_BT=torch.ones(1, 2),
        masks=(torch.ones(2, 4, 4),),
    )
    moved = batch.to("meta")
    tensors = (moved.ids_BT, moved.valid_BT, moved.labels_BT, moved.vision_B3SS, moved.grid_RGG, *moved.masks)
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert moved.weight_BT is not None
    assert moved.weight_BT.device.type == "meta"
    assert (moved.pixels_B3SS, moved.segment_BT, moved.sizes) == (None, None, ((4, 4),))
    assert batch.ids_BT.device.type == "cpu"
