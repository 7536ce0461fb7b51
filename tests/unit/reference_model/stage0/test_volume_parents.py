"""Stage 0 of models that read volumes: only weighted losses are computed, each falls and reaches what it trains."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from reference_model.config import VolumeModelConfig
from reference_model.stage0.volume_parents import VolumeParents, build_untrained_volume_model
from reference_model.training.collating.volumes import PreparedVolumes, VolumeCollator
from reference_model.training.mixing import Row
from reference_model.training.objectives import Measured
from tests.unit.reference_model.small_volumes import REPORT, TEXTS, TOKENIZER, cube, volume_example

ALL = {"clip": 1.0, "language": 1.0, "bce": 1.0, "dice": 1.0}
# Two volumes of one report, and one of another; three masks of each.
ROWS: tuple[Row, ...] = tuple(
    (
        volume_example(number, question="What is this?", answer=TEXTS[number // 2]),
        *(
            volume_example(number, question="Mark the liver.", answer="[SEG]", name=name, mask=~cube(start))
            for name, start in (("liver", 0), ("spleen", 2), ("cyst", 4))
        ),
    )
    for number in range(3)
)


def objective(config: VolumeModelConfig, weights: Mapping[str, float], **fields: Any) -> VolumeParents:
    torch.manual_seed(0)
    collator = VolumeCollator(config=config, tokenizer=TOKENIZER, volumes=PreparedVolumes(config), **fields)
    model = build_untrained_volume_model(config)
    return VolumeParents(model, collator, weights, text_tokenizer=TOKENIZER)


def measure(parents: VolumeParents, rows: tuple[Row, ...] = ROWS, seed: int = 0) -> Measured:
    return parents.measure(rows, np.random.default_rng(seed), drop_seed=0, progress=0.0)


@pytest.mark.parametrize(
    ("weights", "losses", "reached"),
    [
        ({"clip": 1.0}, {"clip"}, {"clip"}),
        ({"language": 1.0}, {"language"}, {"language"}),
        ({"dice": 1.0}, {"bce", "dice"}, {"segvol", "language"}),
        (ALL, set(ALL), {"clip", "segvol", "language"}),
    ],
)
def test_a_loss_without_weight_is_not_computed(
    weights: Mapping[str, float], losses: set[str], reached: set[str], volume_config: VolumeModelConfig
) -> None:
    parents = objective(volume_config, weights)
    found = measure(parents)
    assert set(found.losses) == losses
    assert all(loss > 0 for loss in found.losses.values())
    assert found.total.item() == pytest.approx(sum(found.losses[name] for name in weights), rel=1e-5)
    found.total.backward()  # type: ignore[no-untyped-call]
    parts = {name.partition(".")[0] for name, one in parents.model.named_parameters() if one.grad is not None}
    assert parts == reached
    assert set(parents.modules_trained_beside()) == ({"names"} if "dice" in losses else set())


def test_every_loss_falls(volume_config: VolumeModelConfig) -> None:
    parents = objective(volume_config, ALL)
    parents.model.eval()  # without BERT's dropout
    parameters = [*parents.model.parameters(), *parents.names.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=0.002)
    found = []
    for _ in range(30):
        made = measure(parents, tuple(row[: 1 + number] for number, row in enumerate(ROWS)))
        optimizer.zero_grad()
        made.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        found.append(made.losses)
    for name in ALL:
        first, last = (np.mean([losses[name] for losses in part]) for part in (found[:3], found[-3:]))
        assert last < 0.95 * first, f"{name}: {first} -> {last}"


def test_volumes_of_one_report_share_its_text(volume_config: VolumeModelConfig) -> None:
    parents = objective(volume_config, {"clip": 1.0})
    parents.model.eval()
    clip = parents.model.clip
    volume_BC = clip.embed_volumes(torch.stack([parents._collator.volumes.of(row[0])[0] for row in ROWS]))
    tokens = [torch.tensor([[1, *TOKENIZER.encode(text), 2]]) for text in TEXTS[:2]]
    text_UC = torch.cat([clip.embed_texts(ids, torch.ones_like(ids, dtype=torch.bool)) for ids in tokens])
    wanted = clip.pair_loss(volume_BC, text_UC, torch.tensor([0, 0, 1]))
    assert measure(parents).losses["clip"] == pytest.approx(wanted.item(), rel=1e-4)


def test_rows_without_report_or_mask_cost_nothing_there(volume_config: VolumeModelConfig) -> None:
    bare: tuple[Row, ...] = ((volume_example(),), (volume_example(1, answer="No."),))
    parents = objective(volume_config, ALL)
    found = measure(parents, bare)
    assert (found.losses["clip"], found.losses["bce"], found.losses["dice"]) == (0.0, 0.0, 0.0)
    assert found.losses["language"] > 0
    alone = measure(objective(volume_config, {"clip": 1.0}), bare).total
    alone.backward()  # type: ignore[no-untyped-call]
    assert alone.item() == 0.0


def test_an_answer_about_a_region_is_no_report(volume_config: VolumeModelConfig) -> None:
    marked = replace(ROWS[0][1], answer=f"{REPORT} [SEG]")
    assert measure(objective(volume_config, {"clip": 1.0}), ((marked,),)).losses == {"clip": 0.0}


def test_volumes_of_reports_are_augmented_as_asked(volume_config: VolumeModelConfig) -> None:
    plain, changed = (objective(volume_config, {"clip": 1.0}, augmentation=flag) for flag in (False, True))
    for parents in (plain, changed):
        parents.model.eval()
    assert measure(plain, seed=1).losses == measure(plain, seed=2).losses
    assert len({measure(changed, seed=seed).losses["clip"] for seed in range(4)}) == 4
