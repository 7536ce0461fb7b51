"""MIMO's architecture in training: its losses and gradients, what its queries read, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.errors import ModelError
from reference_model.inputs.batch import Batch
from reference_model.inputs.conversation import QUERY
from reference_model.modeling.model import EntityGroundingModel
from reference_model.training.losses import LossWeights
from reference_model.training.mixing import Row
from tests.unit.reference_model.small_entities import (
    ABOUT_BOTH,
    ABOUT_BOX,
    ABOUT_POINT,
    PLAIN,
    SPLEEN,
    collator,
    grounded,
    small_config,
    small_model,
    without_aligner,
)

CONFIG = small_config()
ROWS: tuple[Row, ...] = ((ABOUT_BOTH, ABOUT_BOX), (ABOUT_POINT, PLAIN))
PARTS = {"vision", "connector", "prompt_encoder", "language", "projector", "pixel_encoder", "mask_decoder"}


def batch_of(*rows: Row, config: object = CONFIG) -> Batch:
    return collator(config).batch(rows, np.random.default_rng(0))  # type: ignore[arg-type]


@pytest.fixture
def model() -> EntityGroundingModel:
    return small_model(CONFIG)


@pytest.mark.parametrize("aligned", [True, False])
def test_the_losses_of_equation_3_reach_every_part(aligned: bool) -> None:
    config = CONFIG if aligned else without_aligner(CONFIG)
    model = small_model(config).train()
    output = model(batch_of(*ROWS, config=config))
    assert [len(masks.logits_MHW) for masks in output.masks] == [3, 1]
    LossWeights().total(output.losses).backward()  # type: ignore[no-untyped-call]
    moved = {name for name, one in model.named_parameters() if one.grad is not None and bool(one.grad.abs().max() > 0)}
    assert {name.partition(".")[0] for name in moved} == (PARTS | {"aligner"} if aligned else PARTS)
    own = ("connector", "prompt_encoder", "aligner", "projector")
    assert not {name for name, _ in model.named_parameters() if name.startswith(own)} - moved


def test_packed_questions_have_the_losses_of_questions_alone(model: EntityGroundingModel) -> None:
    packed = model(batch_of((ABOUT_BOTH, ABOUT_BOX)))
    alone = model(batch_of((ABOUT_BOTH,), (ABOUT_BOX,)))
    torch.testing.assert_close(packed.losses.language, alone.losses.language, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(packed.losses.dice, alone.losses.dice, atol=1e-4, rtol=1e-4)
    both, box = (masks.logits_MHW for masks in alone.masks)
    torch.testing.assert_close(packed.masks[0].logits_MHW, torch.cat((both, box)), atol=1e-3, rtol=1e-3)


def test_queries_depend_on_question_and_prompt_but_not_on_the_answer(model: EntityGroundingModel) -> None:
    def queries(row: Row) -> torch.Tensor:
        batch = batch_of(row)
        return model.embed(batch)[batch.ids_BT == QUERY]

    found = queries((ABOUT_BOX,))
    longer = replace(ABOUT_BOX, answer="No, it is the dark <p>spleen<SEG></p>.")
    torch.testing.assert_close(queries((longer,)), found)
    assert not torch.allclose(queries((replace(ABOUT_BOX, prompts=ABOUT_POINT.prompts),)), found)
    assert not torch.allclose(queries((replace(ABOUT_BOX, question=f"Where {ABOUT_BOX.question}"),)), found)
    torch.testing.assert_close(queries((PLAIN, grounded(1, "no"), PLAIN))[:2], queries((PLAIN,)))


def test_placeholders_without_what_takes_their_place_are_refused(model: EntityGroundingModel) -> None:
    batch = batch_of((ABOUT_BOX,))
    with pytest.raises(ModelError, match=r"^batch: expected 2 points and corners, one per mark, got 0$"):
        model.embed(replace(batch, prompt_place_N2=None, prompt_kind_N=None))
    one_less = replace(batch, ids_BT=batch.ids_BT.masked_fill((batch.ids_BT == QUERY).cumsum(dim=1) == 1, 5))
    with pytest.raises(ModelError, match=r"^batch: expected 2 queries a question, got 1 in all$"):
        model.embed(one_less)
    with pytest.raises(ModelError, match=r"^batch: expected 0 queries a question, got 2 in all$"):
        small_model(without_aligner(CONFIG)).embed(batch)


def test_as_many_masks_are_trained_as_there_are_tokens_for_them(model: EntityGroundingModel) -> None:
    batch = batch_of((ABOUT_BOTH,))
    with pytest.raises(
        ModelError, match=r"row 0: expected masks of \(2, 20, 24\), one for each <SEG>, got \(1, 20, 24\)"
    ):
        model(replace(batch, masks=(torch.from_numpy(SPLEEN)[None].float(),)))
