"""The router, its capacity, and the experts behind it."""

from math import ceil
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP

from reference_model.config import MoeConfig
from reference_model.modeling.moe import Gates, MoeFeedForward, Router, choose, keep, upcycle

WIDTH = 16


def dense(width: int = WIDTH, ffn_width: int = 32) -> LlamaMLP:
    return LlamaMLP(LlamaConfig(hidden_size=width, intermediate_size=ffn_width, num_attention_heads=1))


def layer(*, top_k: int = 1, factor: float = 1.5, width: int = WIDTH, least: int = 0) -> MoeFeedForward:
    config = MoeConfig(experts=2, top_k=top_k, capacity_train=factor, capacity_evaluation=2.0, min_capacity=least)
    return upcycle([dense(width), dense(width)], width=width, config=config)


def golden_layer(case: dict[str, Any]) -> MoeFeedForward:
    """Return a layer whose two inputs are the logits themselves."""
    built = layer(top_k=case["k"], factor=case["capacity_factor"], width=2)
    built.router.weight.data = torch.eye(2)
    return built


def token_by_token(built: MoeFeedForward, x: Tensor, gates: Gates) -> Tensor:
    """Return the output as the definition has it: one token, one expert at a time."""
    rows = []
    for token, kept in zip(x, gates.kept_NE, strict=True):
        probability = built.router(token[None])[0]
        total = probability[kept].sum() if built.top_k > 1 else 1.0
        row = torch.zeros_like(token)
        for expert, weight, wanted in zip(built.experts, probability, kept, strict=True):
            row = row + (weight / total * expert(token) if wanted else 0.0)
        rows.append(row)
    return torch.stack(rows)


def test_gates_are_the_released_ones(golden: dict[str, Any]) -> None:
    logits = torch.tensor(golden["moe_gating"]["logits"])
    for case in golden["moe_gating"]["cases"]:
        built = golden_layer(case).train()
        torch.testing.assert_close(
            built.router(logits), torch.tensor(golden["moe_gating"]["softmax"]), atol=1e-6, rtol=0
        )
        gates = built.gate(logits, priority_N=torch.rand(8))
        assert built.capacity(8) == case["capacity"]
        assert gates.routing.balance.item() == pytest.approx(case["l_aux"], abs=1e-6)
        assert gates.routing.dropped == case["dropped"]
        if case["k"] == 1:
            assert gates.routing.tokens_E.tolist() == case["exp_counts"]
            assert gates.kept_NE.sum(dim=0).tolist() == case["kept_per_expert"]
        weights = case.get("weights", case.get("gate_of_kept_tokens"))
        if isinstance(weights, list):
            torch.testing.assert_close(gates.weight_NE, torch.tensor(weights), atol=1e-6, rtol=0)


def test_a_single_token_never_drops(golden: dict[str, Any]) -> None:
    for factor, capacity in golden["moe_gating"]["single_token_capacity"].items():
        built = layer(factor=float(factor)).train()
        assert built.capacity(1) == capacity
        assert built(torch.randn(1, 1, WIDTH))[1].dropped == 0


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31), tokens=st.integers(1, 40), experts=st.integers(1, 4), top_k=st.integers(1, 4),
    capacity=st.integers(0, 45),
)  # fmt: skip
def test_capacity_holds_whatever_the_tokens_want(
    seed: int, tokens: int, experts: int, top_k: int, capacity: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    probability = torch.rand((tokens, experts), generator=random).round(decimals=1)
    chosen = choose(probability, min(top_k, experts))
    assert (chosen.sum(dim=1) == min(top_k, experts)).all()
    kept = keep(chosen, capacity, torch.rand(tokens, generator=random))
    assert not bool((kept & ~chosen).any())
    assert torch.equal(kept.sum(dim=0), chosen.sum(dim=0).clamp_max(capacity))


@pytest.mark.parametrize("top_k", [1, 2])
@pytest.mark.parametrize("factor", [0.6, 1.0, 1.5, 2.0])
def test_the_layer_equals_the_definition_token_by_token(top_k: int, factor: float) -> None:
    built = layer(top_k=top_k, factor=factor).train()
    x, priority = torch.randn(3, 7, WIDTH), torch.rand(3, 7)
    y, routing = built(x, priority_BT=priority)
    gates = built.gate(x.flatten(0, 1), priority_N=priority.flatten())
    torch.testing.assert_close(y.flatten(0, 1), token_by_token(built, x.flatten(0, 1), gates), atol=1e-5, rtol=1e-5)
    assert gates.kept_NE.sum(dim=0).max() <= built.capacity(21)
    assert routing.dropped == gates.routing.dropped


def test_gradients_equal_the_definition_token_by_token() -> None:
    built = layer(factor=1.0).train()
    x, priority = torch.randn(1, 9, WIDTH), torch.rand(1, 9)
    built(x, priority_BT=priority)[0].square().sum().backward()
    found = [parameter.grad.clone() for parameter in built.parameters() if parameter.grad is not None]
    built.zero_grad()
    token_by_token(built, x[0], built.gate(x[0], priority_N=priority[0])).square().sum().backward()
    expected = [parameter.grad for parameter in built.parameters() if parameter.grad is not None]
    assert len(found) == len(expected) == 7
    for ours, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-4)


def test_a_dropped_token_is_exactly_zero() -> None:
    built = layer(factor=0.5).train()
    x = torch.randn(1, 16, WIDTH)
    y, routing = built(x, priority_BT=torch.rand(1, 16))
    kept = built.gate(x[0], priority_N=None).kept_NE.sum()
    assert int((y[0].abs().sum(dim=1) == 0).sum()) == int(routing.dropped) == 16 - int(kept)


@pytest.mark.parametrize("top_k", [1, 2])
def test_of_equal_experts_the_first_are_chosen_and_padding_chooses_none(top_k: int) -> None:
    level_NE = torch.full((3, 5), 0.2)
    expected = [[index < top_k for index in range(5)]] * 2 + [[False] * 5]
    assert choose(level_NE, top_k, torch.tensor([True, True, False])).tolist() == expected
    assert choose(level_NE.t().contiguous().t(), top_k)[:2].tolist() == expected[:2]


def test_evaluation_never_drops_even_if_all_go_to_one_expert() -> None:
    built = layer(factor=1.0).eval()
    nn.init.zeros_(built.router.weight)
    y, routing = built(torch.randn(2, 8, WIDTH))
    assert routing.dropped == 0
    assert routing.tokens_E.tolist() == [16, 0]
    assert bool((y.abs().sum(dim=2) > 0).all())
    assert not built.may_drop
    assert built.train().may_drop
    assert built(torch.randn(2, 8, WIDTH))[1].dropped == 8


def test_every_token_of_a_full_expert_is_as_likely_to_stay() -> None:
    built = layer(factor=1.0).train()
    nn.init.zeros_(built.router.weight)
    x = torch.randn(8, WIDTH)
    kept = torch.stack([built.gate(x, priority_N=torch.rand(8)).kept_NE[:, 0] for _ in range(400)]).float()
    assert (kept.sum(dim=1) == 4).all()
    assert kept.mean(dim=0).sub(0.5).abs().max() < 0.12


def test_without_priorities_the_earliest_stay() -> None:
    built = layer(factor=1.0).train()
    nn.init.zeros_(built.router.weight)
    assert built.gate(torch.randn(6, WIDTH)).kept_NE[:, 0].tolist() == [True] * 3 + [False] * 3


def test_min_capacity_is_a_floor() -> None:
    assert [layer(least=4).train().capacity(tokens) for tokens in (1, 4, 20)] == [4, 4, ceil(20 / 2 * 1.5)]


def test_padding_goes_nowhere_and_takes_no_capacity() -> None:
    built = layer(factor=1.0).train()
    nn.init.zeros_(built.router.weight)
    x = torch.randn(1, 12, WIDTH)
    mask = torch.arange(12)[None] < 8
    y, routing = built(x, token_mask_BT=mask, priority_BT=torch.rand(1, 12))
    assert routing.tokens_E.tolist() == [8, 0]
    assert routing.dropped == 8 - ceil(8 / 2)
    assert y[0, 8:].abs().max() == 0
    counted = built(x, priority_BT=torch.rand(1, 12))[1]
    assert (counted.tokens_E.tolist(), int(counted.dropped)) == ([12, 0], 6)


def test_balance_ignores_padding() -> None:
    built = layer()
    x = torch.randn(1, 12, WIDTH)
    mask = torch.arange(12)[None] < 5
    torch.testing.assert_close(built(x, token_mask_BT=mask)[1].balance, built(x[:, :5])[1].balance)


@pytest.mark.parametrize("part", ["output", "balance"])
def test_gradients_survive_activation_checkpointing(part: str) -> None:
    built = layer(factor=1.0).train()
    x = torch.randn(2, 8, WIDTH)
    priority = torch.rand(2, 8)

    def run(x_BTD: Tensor) -> Any:
        return built(x_BTD, priority_BT=priority)

    found = []
    for y, routing in (run(x), checkpoint(run, x, use_reentrant=False)):
        built.zero_grad()
        (y.square().sum() if part == "output" else routing.balance).backward()
        assert built.router.weight.grad is not None
        found.append(built.router.weight.grad.clone())
    assert found[0].abs().max() > 1e-6
    torch.testing.assert_close(found[0], found[1])


def test_the_router_decides_in_single_precision() -> None:
    router = Router(width=WIDTH, experts=2)
    x = torch.randn(5, WIDTH)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(router(x), router(x.float()))
        assert router(x.bfloat16()).dtype == torch.float32


def test_output_keeps_the_precision_of_its_input() -> None:
    built = layer()
    built.experts.bfloat16()
    assert built(torch.randn(1, 4, WIDTH, dtype=torch.bfloat16))[0].dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer()(torch.randn(1, 4, WIDTH))[0].dtype == torch.float32


@pytest.mark.parametrize(("width", "ffn_width"), [(192, 512), (64, 172)])
@pytest.mark.parametrize("training", [True, False])
def test_operations_are_those_of_one_dense_layer(width: int, ffn_width: int, training: bool) -> None:
    single = dense(width, ffn_width)
    config = MoeConfig(experts=2, top_k=1, capacity_train=1.5, capacity_evaluation=2.0, min_capacity=0)
    built = upcycle([single, single], width=width, config=config).train(training)
    x = torch.randn(2, 128, width)
    counts = []
    for run in (lambda: single(x), lambda: built(x, priority_BT=torch.rand(2, 128))):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            run()
        counts.append(counter.get_total_flops())
    assert counts[0] == 6 * 256 * width * ffn_width
    assert counts[1] <= 1.01 * counts[0]


def test_work_does_not_grow_with_calls_per_token() -> None:
    built = layer().train()
    calls = []
    for expert in built.experts:
        expert.register_forward_hook(lambda _module, inputs, _output: calls.append(len(inputs[0])))
    built(torch.randn(4, 64, WIDTH))
    assert len(calls) == 2
    assert sum(calls) <= 256


def test_upcycling_copies_grounding_first_then_recognition() -> None:
    ground, recognition = dense(), dense()
    config = MoeConfig(experts=2, top_k=1, capacity_train=1.5, capacity_evaluation=2.0, min_capacity=0)
    built = upcycle([ground, recognition], width=WIDTH, config=config)
    for expert, source in zip(built.experts, (ground, recognition), strict=True):
        for name, value in source.state_dict().items():
            assert torch.equal(expert.state_dict()[name], value)
    ground.gate_proj.weight.data.zero_()
    assert built.experts[0].gate_proj.weight.abs().max() > 0
