"""States of an unfinished stage: the latest one is gone on with, and another training's is refused."""

from pathlib import Path

import pytest
import torch
from torch import nn

from harness.errors import DataError, SpecError
from reference_model.checkpoints.training_state import Progress, last_step, load_step, remove_steps, save_step
from reference_model.config import ModelConfig
from reference_model.modeling.build import build_model


def trained(config: ModelConfig) -> tuple[dict[str, nn.Parameter], torch.optim.Optimizer]:
    connector = build_model(config).connector
    named = dict(connector.named_parameters())
    return named, torch.optim.AdamW(named.values(), lr=0.1)


def test_an_optimizer_goes_on_where_it_stopped(tmp_path: Path, config: ModelConfig) -> None:
    def advance(named: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        torch.stack([(parameter**2).sum() for parameter in named.values()]).sum().backward()
        optimizer.step()

    named, optimizer = trained(config)
    advance(named, optimizer)
    save_step(tmp_path, Progress(step=1, settings={"seed": 1}), named, optimizer)
    advance(named, optimizer)
    later, other = trained(config)
    state = last_step(tmp_path)
    assert state is not None
    assert load_step(state, {"seed": 1}, later, other) == 1
    advance(later, other)
    assert all(torch.equal(later[name], parameter) for name, parameter in named.items())


def test_only_the_latest_state_stays(tmp_path: Path, config: ModelConfig) -> None:
    named, optimizer = trained(config)
    for step in (2, 10):
        save_step(tmp_path, Progress(step=step, settings={}), named, optimizer)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000010"]


def test_a_state_of_other_settings_or_parameters_is_refused(tmp_path: Path, config: ModelConfig) -> None:
    named, optimizer = trained(config)
    save_step(tmp_path, Progress(step=2, settings={"seed": 1, "data": {}}), named, optimizer)
    state = tmp_path / "step-000002"
    with pytest.raises(SpecError, match="was left by a training with another data and seed; go on with the same"):
        load_step(state, {"seed": 2, "data": {"a": "b"}}, named, optimizer)
    fewer = {name: parameter for name, parameter in named.items() if "bias" in name}
    with pytest.raises(DataError, match=r"trained.safetensors: .* missing none, unexpected 2 \(0.weight, ...\)"):
        load_step(state, {"seed": 1, "data": {}}, fewer, optimizer)


def test_the_latest_state_is_that_of_most_steps_and_others_can_be_removed(tmp_path: Path) -> None:
    assert last_step(tmp_path) is None
    for name in ("step-000002", "step-1000000", "step-999999", "step-5", "step-000010.old", ".step-2000000.partial"):
        (tmp_path / name).mkdir()
    assert last_step(tmp_path) == tmp_path / "step-1000000"
    remove_steps(tmp_path, before=999_999)
    assert last_step(tmp_path) == tmp_path / "step-1000000"
    assert not (tmp_path / "step-000002").exists()
    assert (tmp_path / "step-999999").exists()
    remove_steps(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".step-2000000.partial",
        "step-000010.old",
        "step-5",
    ]


def test_a_state_without_one_of_its_files_is_named(tmp_path: Path, config: ModelConfig) -> None:
    named, optimizer = trained(config)
    save_step(tmp_path, Progress(step=1, settings={}), named, optimizer)
    (tmp_path / "step-000001" / "optimizer.safetensors").unlink()
    with pytest.raises(DataError, match=r"optimizer.safetensors: expected a whole safetensors file"):
        load_step(tmp_path / "step-000001", {}, named, optimizer)
