"""The losses are the released ones; what is empty costs nothing."""

from typing import Any

import pytest
import torch

from reference_model.training.losses import (
    RELEASED_STAGE_III,
    Losses,
    LossWeights,
    bce_loss,
    bce_loss_3d,
    dice_loss,
    focal_loss,
    iou_loss,
    language_loss,
    soft_dice_loss_3d,
)


def test_mask_losses_are_the_released_ones(golden: dict[str, Any]) -> None:
    for case in golden["losses"]["cases"]:
        logits, target = torch.tensor(case["logits"]), torch.tensor(case["target"])
        estimate = torch.tensor(case["pred_iou"])
        assert dice_loss(logits, target).item() == pytest.approx(case["dice_loss"], abs=1e-6)
        assert bce_loss(logits, target).item() == pytest.approx(case["sigmoid_ce_loss"], abs=1e-6)
        assert focal_loss(logits, target).item() == pytest.approx(case["focal_loss"], abs=1e-6)
        assert iou_loss(logits, target, estimate).item() == pytest.approx(case["mask_iou_loss"], abs=1e-6)


def test_several_masks_count_alike(golden: dict[str, Any]) -> None:
    cases = golden["losses"]["cases"]
    logits, target = (torch.tensor([case[key][0] for case in cases]) for key in ("logits", "target"))
    estimate = torch.tensor([case["pred_iou"][0] for case in cases])
    found = (
        dice_loss(logits, target),
        bce_loss(logits, target),
        focal_loss(logits, target),
        iou_loss(logits, target, estimate),
    )
    for value, key in zip(found, ("dice_loss", "sigmoid_ce_loss", "focal_loss", "mask_iou_loss"), strict=True):
        assert value.item() == pytest.approx(sum(case[key] for case in cases) / len(cases), abs=1e-6)


def test_no_mask_costs_nothing() -> None:
    none = torch.zeros((0, 4, 4))
    found = dice_loss(none, none), bce_loss(none, none), focal_loss(none, none), iou_loss(none, none, none[:, 0, 0])
    assert [value.item() for value in found] == [0.0] * 4


def test_masks_in_volumes_count_alike_whatever_their_sizes() -> None:
    logits, target = torch.randn(3, 2, 4, 5), torch.zeros(3, 2, 4, 5, dtype=torch.bool)
    target[0, :, :2], target[1, 0, 0, 0] = True, True
    for loss in (soft_dice_loss_3d, bce_loss_3d):
        alone = torch.stack([loss(logits[index : index + 1], target[index : index + 1]) for index in range(3)])
        torch.testing.assert_close(loss(logits, target), alone.mean())
    probability = logits[0].sigmoid()
    dice = 2 * probability[:, :2].sum() / (probability.sum() + 20 + 1)
    torch.testing.assert_close(soft_dice_loss_3d(logits[:1], target[:1]), 1 - dice)


def test_no_mask_in_a_volume_costs_nothing_and_keeps_the_graph() -> None:
    logits = torch.zeros((0, 2, 4, 4), requires_grad=True)
    for loss in (soft_dice_loss_3d, bce_loss_3d):
        found = loss(logits, torch.zeros((0, 2, 4, 4)))
        found.backward()
        assert found.item() == 0.0


def test_language_loss_is_the_mean_over_trained_tokens() -> None:
    logits, target = torch.randn(5, 7), torch.randint(0, 7, (5,))
    expected = -logits.log_softmax(dim=1)[torch.arange(5), target]
    torch.testing.assert_close(language_loss(logits, target), expected.mean())
    weight = torch.tensor([1.0, 0.0, 2.0, 0.0, 1.0])
    torch.testing.assert_close(language_loss(logits, target, weight), (expected * weight).sum() / 4)


def test_nothing_to_train_is_zero_not_nan() -> None:
    logits = torch.randn(0, 7, requires_grad=True)
    loss = language_loss(logits, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0.0
    ignored = language_loss(torch.randn(2, 7), torch.tensor([1, 2]), torch.zeros(2))
    assert ignored.item() == 0.0


def test_weights_are_the_papers_and_a_weight_of_zero_silences_nan() -> None:
    parts = Losses(
        *(torch.tensor(float(value)) for value in (1, 10, 100, 1000)), torch.tensor(torch.nan), torch.ones(())
    )
    assert LossWeights().total(parts).item() == 1 + 2 * 10 + 0.5 * 100
    assert RELEASED_STAGE_III.total(parts).item() == 1 + 10 + 5 * 100 + 1000
    assert LossWeights(balance=0.5).total(parts).item() == 71.5
