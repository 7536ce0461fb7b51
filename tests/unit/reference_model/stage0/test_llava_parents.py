"""Stage 0 of a model that answers in words: its tower learns from masks, no answer is one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from reference_model.stage0 import llava_parents
from reference_model.stage0.llava_parents import LlavaParents, build_untrained_llava
from reference_model.training.mixing import Row
from reference_model.training.objectives import Measured
from reference_model.training.recipe import LOSSES
from tests.unit.reference_model.small_llava import LETTERED, collator, small_config
from tests.unit.reference_model.small_training import example

WEIGHTS = dict.fromkeys(LOSSES["images", "parents"], 1.0)
CONFIG = small_config(options="scored")
LIVER = np.zeros((20, 24), dtype=bool)
LIVER[2:14, 2:12] = True
MARKED = example(1, question="Is it A?", answer="<SEG>", mask=LIVER, name="liver")
ASKED = example(1, question=LETTERED, answer="A")
CAPTIONED = example(1, question="What is this?", answer="This is the liver and the spleen.")


def parents() -> LlavaParents:
    torch.manual_seed(0)
    return LlavaParents(build_untrained_llava(CONFIG), collator(CONFIG), WEIGHTS)


def measure(found: LlavaParents, *rows: Row) -> Measured:
    return found.measure(rows, np.random.default_rng(0), drop_seed=0, progress=0.9)


def test_every_part_of_tower_and_language_model_learns() -> None:
    found = parents()
    measured = measure(found, (MARKED, ASKED, CAPTIONED), (example(2),))
    assert set(measured.losses) == set(WEIGHTS)
    assert all(loss > 0 for name, loss in measured.losses.items() if name != "caption")
    measured.total.backward()
    beside = found.modules_trained_beside()["heads"]
    trained = [*found.model.vision.named_parameters(), *found.model.language.named_parameters()]
    assert [name for name, value in [*trained, *beside.named_parameters()] if value.grad is None] == []


def test_questions_for_masks_have_no_answer_to_be_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    reading_loss = llava_parents.reading_loss

    def noted(model: Any, images: Any, collator: Any) -> Any:
        asked.extend(question.answer for image in images for question in image.questions)
        return reading_loss(model, images, collator)

    monkeypatch.setattr(llava_parents, "reading_loss", noted)
    measure(parents(), (MARKED, ASKED), (replace(MARKED, media=example(2).media),))
    assert "A" in asked
    assert "<SEG>" not in asked


def test_rows_without_masks_have_no_loss_of_cells_and_are_not_described() -> None:
    losses = measure(parents(), (CAPTIONED,), (ASKED,)).losses
    assert (losses["cell"], losses["language"]) == (0.0, 0.0)
    assert losses["caption"] == pytest.approx(0.0, abs=1e-6)  # one caption matches itself
