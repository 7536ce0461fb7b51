"""Low-rank adapters on the experts: nothing changes at the start, and merging changes nothing."""

import copy

import peft
import pytest
import torch
from torch import nn

from reference_model.config import ModelConfig
from reference_model.modeling.build import build_model
from reference_model.modeling.language import LanguageModel
from reference_model.modeling.moe import upcycle

EXPERT_LAYERS = r".*mlp\..*(gate_proj|up_proj|down_proj)"


@pytest.fixture
def language(config: ModelConfig) -> LanguageModel:
    return build_model(config).eval().language


def adapted(model: nn.Module, targets: str) -> nn.Module:
    lora = peft.LoraConfig(r=8, lora_alpha=16, lora_dropout=0.05, target_modules=targets)
    return peft.inject_adapter_in_model(lora, model).eval()


def logits(model: LanguageModel) -> torch.Tensor:
    ids = torch.arange(10)[None]
    return model.logits(model(model.embed_tokens(ids), valid_BK=torch.ones_like(ids, dtype=torch.bool)).hidden_BTD)


def test_adapters_reach_every_expert_and_change_nothing_at_the_start(language: LanguageModel) -> None:
    before = logits(language)
    adapted(language, EXPERT_LAYERS + "|.*(q_proj|v_proj)")
    found = [name for name, _ in language.named_parameters() if "lora_A" in name]
    assert len(found) == 2 * (2 * 3 + 2)
    torch.testing.assert_close(logits(language), before)


def test_merging_gives_the_logits_of_the_adapted_model(language: LanguageModel) -> None:
    plain = logits(language)
    adapted(language, EXPERT_LAYERS)
    for name, parameter in language.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.2)
    before = logits(language)
    assert not torch.allclose(before, plain, atol=1e-2)
    for module in language.modules():
        if isinstance(module, peft.tuners.lora.Linear):
            module.merge()
    torch.testing.assert_close(logits(language), before, atol=1e-4, rtol=1e-4)


def test_both_experts_start_with_the_same_adapter_where_the_dense_part_had_one(config: ModelConfig) -> None:
    dense = build_model(config, experts=False).language.layers[0].mlp
    adapted(dense, "gate_proj|up_proj|down_proj")
    built = upcycle([dense, copy.deepcopy(dense)], width=config.language.width, config=config.moe)
    first, second = (expert.state_dict() for expert in built.experts)
    assert sum("lora_A" in name for name in first) == 3
    for name, value in first.items():
        assert torch.equal(value, second[name])
        assert "lora_B" not in name or value.abs().max() == 0
