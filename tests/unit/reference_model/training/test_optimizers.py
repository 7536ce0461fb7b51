"""Muon takes the matrices between hidden layers of chosen modules, AdamW all else, at one learning rate."""

import torch
from torch import nn

from reference_model.training.optimizers import BETAS, MuonAndAdamW, build_optimizer


def parameters() -> dict[str, nn.Parameter]:
    torch.manual_seed(0)
    shapes = {
        "language.layer.weight": (4, 6),
        "language.embed_tokens.weight": (5, 4),
        "language.lm_head.weight": (5, 4),
        "language.router.weight": (2, 4),
        "language.norm.weight": (4,),
        "vision.layer.weight": (4, 4),
    }
    return {name: nn.Parameter(torch.randn(shape)) for name, shape in shapes.items()}


def step(optimizer: torch.optim.Optimizer, trained: dict[str, nn.Parameter], rate: float) -> None:
    for parameter in trained.values():
        parameter.grad = torch.ones_like(parameter) + torch.arange(parameter.numel()).view_as(parameter)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()


def test_only_matrices_between_hidden_layers_of_the_named_modules_are_taken_by_muon() -> None:
    trained = parameters()
    optimizer = build_optimizer(trained, ("language",))
    assert isinstance(optimizer, MuonAndAdamW)
    step(optimizer, trained, 0.1)
    by_muon = [name for name, parameter in trained.items() if "momentum_buffer" in optimizer.state[parameter]]
    by_adamw = [name for name, parameter in trained.items() if "exp_avg" in optimizer.state[parameter]]
    assert by_muon == ["language.layer.weight"]
    assert sorted(by_muon + by_adamw) == sorted(trained)


def test_without_a_name_all_are_taken_by_adamw() -> None:
    optimizer = build_optimizer(parameters(), ())
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.defaults["betas"] == BETAS
    assert optimizer.defaults["weight_decay"] == 0.0


def test_what_adamw_takes_moves_as_with_adamw_alone() -> None:
    mixed, alone = parameters(), parameters()
    step(build_optimizer(mixed, ("language",)), mixed, 0.1)
    step(build_optimizer(alone, ()), alone, 0.1)
    same = [name for name in mixed if torch.equal(mixed[name], alone[name])]
    assert sorted(same) == sorted(set(mixed) - {"language.layer.weight"})


def test_a_rate_of_zero_moves_nothing() -> None:
    trained, before = parameters(), parameters()
    step(build_optimizer(trained, ("*",)), trained, 0.0)
    assert all(torch.equal(trained[name], before[name]) for name in trained)


def test_weight_decay_shrinks_what_adamw_takes_but_norms_and_biases() -> None:
    def named() -> dict[str, nn.Parameter]:
        return parameters() | {"vision.layer.bias": nn.Parameter(torch.ones(4)), "scale": nn.Parameter(torch.ones(()))}

    for muon in ((), ("language",)):
        trained, before = named(), named()
        optimizer = build_optimizer(trained, muon, weight_decay=0.1)
        for parameter in trained.values():
            parameter.grad = torch.zeros_like(parameter)
        for group in optimizer.param_groups:
            group["lr"] = 0.5
        optimizer.step()
        for name, parameter in trained.items():
            kept = name in ("language.norm.weight", "vision.layer.bias") or (muon and name == "language.layer.weight")
            torch.testing.assert_close(parameter, before[name] * (1.0 if kept else 1 - 0.5 * 0.1))


def test_without_weight_decay_all_of_adamw_are_one_group() -> None:
    (group,) = build_optimizer(parameters(), ()).param_groups
    assert len(group["params"]) == len(parameters())
