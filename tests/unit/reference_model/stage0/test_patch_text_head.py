"""Cells find the words for what they show, every part of a picture alike."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from reference_model.stage0.patch_captions import BACKGROUND, PatchCaption
from reference_model.stage0.patch_text_head import BACKGROUND_WEIGHT, PatchTextHead, cell_weights

LIVER, LUNG = PatchCaption("liver", "left", "one"), PatchCaption("lung", "right", "two", "larger")
PICTURES = ((LIVER, BACKGROUND, LUNG, LUNG), (BACKGROUND,) * 4)
WORDS = ("liver", "lung", "left", "right", "one", "two", "larger")


def read(texts: Sequence[str]) -> Tensor:
    return torch.eye(len(WORDS))[[WORDS.index(text) for text in texts]]


def head(kinds: int) -> PatchTextHead:
    torch.manual_seed(0)
    return PatchTextHead(channels=3, language_width=len(WORDS), width=8, kinds=kinds)


def features(pictures: Sequence[Sequence[PatchCaption]]) -> Tensor:
    kinds = (BACKGROUND, LIVER, LUNG)
    return torch.stack([torch.eye(3)[[kinds.index(cell) for cell in cells]] for cells in pictures])


def test_parts_count_alike_whatever_their_size() -> None:
    target_P = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    weight_P = cell_weights(target_P)
    sums = [float(weight_P[target_P == number].sum()) for number in range(3)]
    assert sums == pytest.approx([BACKGROUND_WEIGHT, 1.0, 1.0])


@pytest.mark.parametrize("kinds", [1, 4])
def test_cells_that_differ_find_their_words(kinds: int) -> None:
    own = head(kinds)
    optimizer = torch.optim.Adam(own.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        loss = own(features(PICTURES), PICTURES, read)
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.01
    swapped = [(LUNG, BACKGROUND, LIVER, LIVER), PICTURES[1]]
    assert float(own(features(swapped), PICTURES, read).detach()) > 1.0


def test_the_order_of_pictures_does_not_matter() -> None:
    own = head(4)
    turned = PICTURES[::-1]
    assert torch.allclose(own(features(PICTURES), PICTURES, read), own(features(turned), turned, read))


def test_pictures_of_nothing_but_background_have_a_loss_of_zero() -> None:
    nothing = PICTURES[1:]
    assert float(head(4)(features(nothing), nothing, read).detach()) == 0.0
