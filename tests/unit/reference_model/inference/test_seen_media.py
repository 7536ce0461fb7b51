"""What is kept of the images of the last batch, and no longer."""

from typing import Any

import torch

from harness.records import MediaHandle
from reference_model.inference.seen_media import LastSeen, SeenImage
from tests.unit.reference_model.small_training import example


def read(handle: MediaHandle) -> SeenImage:
    return SeenImage(image_HW3=handle.image(), vision_N3SS=torch.zeros(1))


def handles(*pictures: int) -> list[Any]:
    return [example(picture).media for picture in pictures]


def test_equal_images_are_one_and_those_of_the_last_batch_stay() -> None:
    last: LastSeen[MediaHandle, SeenImage] = LastSeen(read)
    first, same, second = last.of(handles(1, 1, 2))
    assert first is same
    assert first.size == (20, 24)
    assert last.of(handles(2, 3))[0] is second
    assert last.of(handles(1))[0] is not first
