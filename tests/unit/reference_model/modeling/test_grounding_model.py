"""The whole model in training: its losses, its gradients, its masks, and what it refuses."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from harness.errors import ModelError
from reference_model.config import ModelConfig
from reference_model.inputs.batch import Batch
from reference_model.inputs.conversation import IGNORE, Turn
from reference_model.modeling.build import build_model, cast
from reference_model.modeling.model import PixelGroundingModel
from reference_model.training.losses import LossWeights

TURNS = (
    Turn("what is <region></region> ?", "the liver."),
    Turn("where is the liver and the spleen?", "<SEG> and <SEG>"),
    Turn("is this the liver?", "yes"),
)
SIZES = ((20, 20), (12, 30), (25, 10))


def with_masks(batch: Batch) -> Batch:
    """Return the batch with two wanted masks in its second row."""
    counts = (0, 2, 0)
    return replace(
        batch,
        masks=tuple((torch.rand(n, *size) > 0.5).float() for n, size in zip(counts, batch.sizes, strict=True)),
    )


def test_every_loss_reaches_what_it_should_train(model: PixelGroundingModel, make: Any) -> None:
    output = model.train()(with_masks(make(*TURNS, sizes=SIZES)), drop_seed=1)
    LossWeights(focal=1.0, iou=1.0, balance=0.1).total(output.losses).backward()
    silent = {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not bool(parameter.grad.abs().max() > 0)
    }
    heard = {name.partition(".")[0] for name, _ in model.named_parameters() if name not in silent}
    assert heard == {"vision", "connector", "region", "language", "projector", "pixel_encoder", "mask_decoder"}
    assert not {name for name in silent if name.startswith(("connector", "region", "language", "projector"))}


def test_several_seg_tokens_give_several_masks_of_their_own_image(model: PixelGroundingModel, make: Any) -> None:
    output = model(with_masks(make(*TURNS, sizes=SIZES)))
    assert [tuple(masks.logits_MHW.shape) for masks in output.masks] == [(0, 20, 20), (2, 12, 30), (0, 25, 10)]
    assert not torch.allclose(output.masks[1].logits_MHW[0], output.masks[1].logits_MHW[1])
    assert [len(masks.iou_M) for masks in output.masks] == [0, 2, 0]


def test_masks_do_not_depend_on_the_rows_beside_them(model: PixelGroundingModel, make: Any) -> None:
    together = model(make(*TURNS, sizes=SIZES)).masks[1]
    alone = model(make(*TURNS, sizes=SIZES, only=1)).masks[0]
    torch.testing.assert_close(together.logits_MHW, alone.logits_MHW, atol=1e-4, rtol=1e-4)


def test_mask_losses_weigh_every_mask_alike(model: PixelGroundingModel, make: Any) -> None:
    batch = with_masks(make(*TURNS, sizes=SIZES))
    two = model(batch).losses.dice
    doubled = make(*TURNS[1:2], *TURNS[1:2], sizes=(SIZES[1], SIZES[1]))
    doubled = replace(doubled, masks=(batch.masks[1], batch.masks[1]), vision_B3SS=batch.vision_B3SS[[1, 1]])
    doubled = replace(doubled, pixels_B3SS=batch.pixels_B3SS[[1, 1]])
    torch.testing.assert_close(model(doubled).losses.dice, two, atol=1e-4, rtol=1e-4)


def test_an_ignored_conversation_still_trains_its_masks(model: PixelGroundingModel, make: Any) -> None:
    batch = with_masks(make(*TURNS, sizes=SIZES))
    batch = replace(batch, labels_BT=torch.full_like(batch.labels_BT, IGNORE))
    losses = model(batch).losses
    assert losses.language.item() == 0.0
    assert losses.dice.item() > 0


def test_label_weights_count(model: PixelGroundingModel, make: Any) -> None:
    batch = make(*TURNS, sizes=SIZES)
    plain = model(batch).losses.language
    uniform = model(replace(batch, weight_BT=torch.full(batch.ids_BT.shape, 3.0))).losses.language
    torch.testing.assert_close(plain, uniform)
    first = torch.zeros(batch.ids_BT.shape)
    first[0] = 1.0
    alone = model(make(*TURNS, sizes=SIZES, only=0)).losses.language
    found = model(replace(batch, weight_BT=first)).losses.language
    torch.testing.assert_close(found, alone, atol=1e-4, rtol=1e-4)


def test_without_pixels_there_are_no_masks(model: PixelGroundingModel, make: Any) -> None:
    output = model(replace(make(*TURNS, sizes=SIZES), pixels_B3SS=None))
    assert output.masks == ()
    assert output.losses.bce.item() == 0.0


def test_a_region_changes_what_is_read(model: PixelGroundingModel, make: Any) -> None:
    batch = make(*TURNS, sizes=SIZES)
    moved = replace(batch, grid_RGG=batch.grid_RGG.flip(1))
    changed = (model.embed(batch) - model.embed(moved)).abs().amax(dim=2) > 0
    assert changed.sum(dim=1).tolist() == [1, 0, 0]


def test_the_dense_model_has_no_routing_and_the_same_other_parts(config: ModelConfig, make: Any) -> None:
    dense = build_model(config, experts=False)
    output = dense(make(*TURNS, sizes=SIZES))
    assert output.routing == ()
    assert output.losses.balance.item() == 0.0
    names = {name for name, _ in dense.named_parameters() if ".mlp." not in name or "language" not in name}
    assert names <= {name for name, _ in build_model(config).named_parameters()}


def test_released_behaviour_is_one_switch(config: ModelConfig, make: Any) -> None:
    released = build_model(replace(config, released=True)).eval()
    assert released.geometry == "released"
    output = released(make(*TURNS, sizes=SIZES))
    assert int(output.routing[0].tokens_E.sum()) == make(*TURNS, sizes=SIZES).ids_BT.numel()


def test_casting_leaves_routers_and_positions_in_single_precision(model: PixelGroundingModel, make: Any) -> None:
    before = model(make(*TURNS, sizes=SIZES)).losses.language
    cast(model, torch.bfloat16)
    kept = {name for name, parameter in model.named_parameters() if parameter.dtype == torch.float32}
    assert kept == {name for name, _ in model.named_parameters() if name.endswith("router.weight")}
    assert {buffer.dtype for buffer in model.buffers() if buffer.is_floating_point()} == {torch.float32}
    batch = make(*TURNS, sizes=SIZES)
    batch = replace(batch, vision_B3SS=batch.vision_B3SS.bfloat16(), pixels_B3SS=batch.pixels_B3SS.bfloat16())
    output = model(batch)
    torch.testing.assert_close(output.losses.language, before, atol=0.5, rtol=0.2)
    assert output.masks[1].logits_MHW.dtype == torch.float32


def test_a_batch_moves_whole(make: Any) -> None:
    moved = with_masks(make(*TURNS, sizes=SIZES)).to("meta")
    assert {tensor.device.type for tensor in (moved.ids_BT, moved.pixels_B3SS, *moved.masks)} == {"meta"}
    assert moved.sizes == SIZES


def test_contradictions_of_a_batch_are_named(model: PixelGroundingModel, make: Any) -> None:
    batch = with_masks(make(*TURNS, sizes=SIZES))
    with pytest.raises(ModelError, match="expected 1 regions, one per mark, got 0"):
        model(replace(batch, grid_RGG=batch.grid_RGG[:0]))
    with pytest.raises(ModelError, match="expected 3 images, one a row, got 2"):
        model(replace(batch, vision_B3SS=batch.vision_B3SS[:2]))
    with pytest.raises(ModelError, match="row 0: expected 16 image positions, found 15; one image a row, expanded"):
        model(replace(batch, ids_BT=batch.ids_BT.masked_fill(torch.arange(batch.ids_BT.shape[1]) == 5, 7)))
    with pytest.raises(
        ModelError, match=r"row 1: expected masks of \(2, 12, 30\), one for each <SEG>, got \(1, 12, 30\)"
    ):
        model(replace(batch, masks=tuple(mask[:1] for mask in batch.masks)))
    with pytest.raises(ModelError, match="expected wanted masks and pixels of 3 rows, got 0 with pixels"):
        model(replace(batch, pixels_B3SS=None))
