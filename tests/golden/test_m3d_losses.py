"""The losses of masks in volumes, as the released code of M3D computed them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from reference_model.training.losses import bce_loss_3d, soft_dice_loss_3d

CASES = json.loads(Path(__file__).with_name("m3d_masks.json").read_text(encoding="utf-8"))["cases"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_losses_are_the_released_ones(case: dict[str, Any]) -> None:
    logits = torch.tensor([float(value) for value in case["logits"]]).reshape(1, *case["shape"])
    target = torch.tensor(case["target"]).reshape(1, *case["shape"])
    assert soft_dice_loss_3d(logits, target).item() == pytest.approx(case["train_dice_loss"], abs=1e-6)
    expected = float(case["train_bce_loss"])
    assert bce_loss_3d(logits, target).item() == pytest.approx(expected, abs=1e-6, nan_ok=True)
