"""Between two stages: what moves, what is merged, and whose weights become which expert."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.errors import SpecError
from reference_model.checkpoints.checkpoint import About, save_model
from reference_model.config import ModelConfig
from reference_model.modeling.build import build_model
from reference_model.modeling.model import PixelGroundingModel
from reference_model.training.handover import choose_trained, hand_over, merge_lora, sources, stage_folder
from reference_model.training.recipe import Lora, Start

LORA = Lora(rank=2, alpha=4, dropout=0.0, targets=("gate_proj", "up_proj", "down_proj", "q_proj"))
START = Start(base=2, experts=(3, 2), parts={"projector": 3, "mask_decoder": 3})


@pytest.fixture
def out(tmp_path: Path, config: ModelConfig) -> Path:
    """Models of stages 2 and 3 that differ in everything."""
    for number in (2, 3):
        torch.manual_seed(number)
        about = About(config=config, words=("liver",), experts=False)
        save_model(stage_folder(tmp_path, number) / "model", build_model(config, experts=False), about)
    return tmp_path


def test_expert_0_is_of_stage_3_and_expert_1_of_stage_2(out: Path) -> None:
    base = stage_folder(out, 2) / "model"
    models = {number: hand_over(stage_folder(out, number) / "model", out, Start())[0] for number in (2, 3)}
    model, about = hand_over(base, out, START)
    assert about.words == ("liver",)
    for index, layer in enumerate(model.language.layers):
        for expert, number in enumerate((3, 2)):
            mine, theirs = layer.mlp.experts[expert], models[number].language.layers[index].mlp
            assert all(torch.equal(mine.state_dict()[key], value) for key, value in theirs.state_dict().items())
    for name, number in (("projector", 3), ("mask_decoder", 3), ("region", 2), ("connector", 2)):
        wanted = models[number].get_submodule(name).state_dict()
        assert all(torch.equal(model.get_submodule(name).state_dict()[key], value) for key, value in wanted.items())
    assert torch.equal(model.language.lm_head.weight, models[2].language.lm_head.weight)
    assert list(sources(out, START)) == ["base", "expert 0", "expert 1", "projector", "mask_decoder"]


def test_routers_are_fresh_and_drawn_from_the_seed(out: Path) -> None:
    def router(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        model, _ = hand_over(stage_folder(out, 2) / "model", out, START)
        weight: torch.Tensor = model.language.layers[0].mlp.router.weight
        return weight

    assert torch.equal(router(1), router(1))
    assert not torch.equal(router(1), router(2))


def test_adapters_change_nothing_are_equal_in_both_experts_and_merge_away(model: PixelGroundingModel) -> None:
    names = set(model.state_dict())
    ids = torch.arange(10)[None]

    def states() -> torch.Tensor:
        embedded = model.language.embed_tokens(ids)
        return model.language(embedded, valid_BK=torch.ones_like(ids, dtype=torch.bool)).hidden_BTD

    before = states()
    trained = choose_trained(model, ("language.layers.*.mlp.router",), LORA)
    torch.testing.assert_close(states(), before)
    first, second = (
        {k.split("experts.")[1][2:]: v for k, v in trained.items() if f"experts.{e}." in k and "_A" in k}
        for e in (0, 1)
    )
    assert len(first) == 3
    for key in first:
        assert torch.equal(first[key], second[key])
    for name, parameter in trained.items():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    moved = states()
    assert not torch.allclose(moved, before, atol=1e-2)
    merge_lora(model)
    torch.testing.assert_close(states(), moved, atol=1e-4, rtol=1e-4)
    assert set(model.state_dict()) == names


def test_all_but_what_is_chosen_is_frozen(model: PixelGroundingModel) -> None:
    trained = choose_trained(model, ("connector", "language.layers.*.input_layernorm"), None)
    assert sorted({name.rpartition(".")[0] for name in trained}) == [
        "connector.0", "connector.2", "language.layers.0.input_layernorm", "language.layers.1.input_layernorm",
    ]  # fmt: skip
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == list(trained)


def test_names_that_fit_nothing_are_refused(model: PixelGroundingModel) -> None:
    with pytest.raises(SpecError, match="trains: 'conector' fits no module or parameter"):
        choose_trained(model, ("conector",), None)
    with pytest.raises(SpecError, match=r"lora\.targets: 'gate' fits no layer of the language model"):
        choose_trained(model, ("connector",), replace(LORA, targets=("gate",)))


def test_a_stage_that_is_not_there_or_does_not_fit_is_named(out: Path) -> None:
    base = stage_folder(out, 2) / "model"
    with pytest.raises(SpecError, match=r"expected the model of stage 1; run --stage 1 on the same --out first"):
        sources(out, Start(base=1))
    with pytest.raises(SpecError, match=r"start\.parts: expected one of vision, connector, .*, got 'decoder'"):
        hand_over(base, out, Start(base=2, parts={"decoder": 3}))
    with pytest.raises(SpecError, match=r"start\.experts: expected 2 stages, one an expert, got 1"):
        hand_over(base, out, Start(base=2, experts=(3,)))
    model, about = hand_over(base, out, START)
    save_model(stage_folder(out, 4) / "model", model, replace(about, experts=True))
    with pytest.raises(SpecError, match="expected a model without experts to make one of"):
        hand_over(base, out, Start(base=2, experts=(4, 2)))
