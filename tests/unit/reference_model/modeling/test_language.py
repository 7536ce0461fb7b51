"""The language model is LLaMA, whatever its batch, its cache and its packing."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from reference_model.config import ModelConfig
from reference_model.modeling.language import LanguageModel, build_language

VOCABULARY = 40


def build(config: ModelConfig, *, experts: bool = True, padding_takes_capacity: bool = False) -> LanguageModel:
    torch.manual_seed(3)
    moe = config.moe if experts else None
    model = build_language(
        config.language, moe, vocabulary=VOCABULARY, padding_takes_capacity=padding_takes_capacity
    ).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(10)
    return model


def embeddings(rows: int, length: int) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, length, 32), torch.ones((rows, length), dtype=torch.bool)


def test_the_dense_model_is_transformers_llama(config: ModelConfig) -> None:
    ours = build(config, experts=False)
    theirs = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
            rms_norm_eps=config.language.norm_epsilon, max_position_embeddings=config.language.max_positions,
            rope_parameters={"rope_type": "default", "rope_theta": config.language.rope_theta},
        )
    ).eval()  # fmt: skip
    state = {key if key.startswith("lm_head") else f"model.{key}": value for key, value in ours.state_dict().items()}
    theirs.load_state_dict(state, strict=True)
    ids = torch.randint(0, VOCABULARY, (2, 9))
    valid = torch.ones_like(ids, dtype=torch.bool)
    valid[1, 6:] = False
    hidden = ours(ours.embed_tokens(ids), valid_BK=valid).hidden_BTD
    expected = theirs(input_ids=ids, attention_mask=valid).logits
    torch.testing.assert_close(ours.logits(hidden)[valid], expected[valid], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("training", [True, False])
def test_padding_changes_nothing(config: ModelConfig, side: str, training: bool) -> None:
    model = build(config).train(training)
    x, _ = embeddings(1, 6)
    alone = model(x, valid_BK=torch.ones((1, 6), dtype=torch.bool))
    padded, valid = torch.randn(1, 10, 32), torch.zeros((1, 10), dtype=torch.bool)
    place = slice(4, 10) if side == "left" else slice(0, 6)
    padded[:, place], valid[:, place] = x, True
    found = model(padded, valid_BK=valid)
    if not training:
        torch.testing.assert_close(found.hidden_BTD[:, place], alone.hidden_BTD, atol=1e-4, rtol=1e-4)
    assert [int(r.tokens_E.sum()) for r in found.routing] == [6, 6]
    released = build(config, padding_takes_capacity=True)(padded, valid_BK=valid)
    assert [int(r.tokens_E.sum()) for r in released.routing] == [10, 10]


@pytest.mark.parametrize("left", [0, 3])
def test_a_cache_changes_nothing(config: ModelConfig, left: int) -> None:
    model = build(config)
    x, valid = embeddings(2, 9)
    valid[1, :left] = False
    whole = model(x, valid_BK=valid).hidden_BTD
    cache = DynamicCache()
    parts = [model(x[:, :5], valid_BK=valid[:, :5], cache=cache).hidden_BTD]
    for end in (6, 7, 9):
        begin = 5 if end == 6 else 6 if end == 7 else 7
        parts.append(model(x[:, begin:end], valid_BK=valid[:, :end], cache=cache).hidden_BTD)
    torch.testing.assert_close(torch.cat(parts, dim=1)[valid], whole[valid], atol=1e-4, rtol=1e-4)


def test_questions_that_share_an_image_see_only_it_and_themselves(config: ModelConfig) -> None:
    model = build(config)
    image, first, second = torch.randn(1, 4, 32), torch.randn(1, 3, 32), torch.randn(1, 5, 32)
    packed = torch.cat((image, first, second), dim=1)
    segment = torch.tensor([[0] * 4 + [1] * 3 + [2] * 5])
    found = model(packed, valid_BK=torch.ones((1, 12), dtype=torch.bool), segment_BK=segment).hidden_BTD
    for question, place in ((first, slice(4, 7)), (second, slice(7, 12))):
        alone = torch.cat((image, question), dim=1)
        valid = torch.ones(alone.shape[:2], dtype=torch.bool)
        expected = model(alone, valid_BK=valid).hidden_BTD
        torch.testing.assert_close(found[:, place], expected[:, 4:], atol=1e-4, rtol=1e-4)


def test_recomputing_layers_drops_the_same_tokens_and_keeps_every_gradient(config: ModelConfig) -> None:
    model = build(replace(config, moe=replace(config.moe, capacity_train=1.0))).train()
    x, valid = embeddings(2, 9)
    found = []
    for checkpointing in (False, True):
        model.checkpointing = checkpointing
        model.zero_grad()
        output = model(x, valid_BK=valid, drop_seed=5)
        assert any(int(routed.dropped) for routed in output.routing)
        (output.hidden_BTD.square().sum() + torch.stack([r.balance for r in output.routing]).sum()).backward()
        found.append([p.grad.clone() for p in model.layers.parameters() if p.grad is not None])
    assert len(found[0]) == len(list(model.layers.parameters()))
    for plain, recomputed in zip(*found, strict=True):
        torch.testing.assert_close(plain, recomputed)


def test_the_seed_decides_which_tokens_drop(config: ModelConfig) -> None:
    model = build(replace(config, moe=replace(config.moe, capacity_train=1.0))).train()
    x, valid = embeddings(2, 20)
    before = torch.get_rng_state()
    runs = [model(x, valid_BK=valid, drop_seed=seed).hidden_BTD for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    model.eval()
    runs = [model(x, valid_BK=valid, drop_seed=seed).hidden_BTD for seed in (1, 2)]
    assert torch.equal(runs[0], runs[1])
