"""Weights on disk: whole or not there, equal after a round trip, and refused where they do not fit."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from harness.errors import DataError, SpecError
from reference_model.checkpoints.checkpoint import About, load_about, load_model, save_model
from reference_model.checkpoints.training_state import Progress, last_step, load_step, save_step
from reference_model.config import ModelConfig
from reference_model.modeling.build import build_model
from reference_model.modeling.model import PixelGroundingModel


@pytest.fixture
def about(config: ModelConfig) -> About:
    return About(config=config, words=("liver", "spleen"), experts=True, origin={"recipe": "none", "stage": 4})


def test_a_model_returns_as_it_was(tmp_path: Path, model: PixelGroundingModel, about: About) -> None:
    save_model(tmp_path / "new" / "model", model, about)
    found, told = load_model(tmp_path / "new" / "model")
    assert told == about
    assert told.tokenizer().encode("spleen") == [4]
    assert not found.training
    for name, value in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


def test_half_the_bytes_cost_little_precision_and_none_of_the_router(
    tmp_path: Path, model: PixelGroundingModel, about: About
) -> None:
    for half in (False, True):
        save_model(tmp_path / str(half), model, about, half=half)
    sizes = [(tmp_path / str(half) / "model.safetensors").stat().st_size for half in (False, True)]
    assert sizes[1] < 0.6 * sizes[0]
    found = load_model(tmp_path / "True")[0].state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(found[name], value, rtol=0 if "router" in name else 1e-3, atol=1e-4)


def test_a_model_is_replaced_and_nothing_else_is_left(tmp_path: Path, model: PixelGroundingModel, about: About) -> None:
    save_model(tmp_path / "model", model, about)
    save_model(tmp_path / "model", model, replace(about, origin={"stage": 1}))
    assert load_about(tmp_path / "model").origin == {"stage": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_was_being_written_does_not_count(tmp_path: Path, model: PixelGroundingModel, about: About) -> None:
    (tmp_path / ".step-000009.partial").mkdir()
    (tmp_path / ".model.partial").mkdir()
    (tmp_path / ".model.partial" / "left").touch()
    assert last_step(tmp_path) is None
    save_model(tmp_path / "model", model, about)
    assert not (tmp_path / "model" / "left").exists()


def test_weights_of_another_model_are_refused(tmp_path: Path, model: PixelGroundingModel, about: About) -> None:
    save_model(tmp_path, model, replace(about, experts=False))
    with pytest.raises(
        DataError, match=r"model.safetensors: expected the tensors .* missing 6 \(language.layers.0.mlp"
    ):
        load_model(tmp_path)
    save_model(tmp_path, model, about)
    wider = json.loads((tmp_path / "config.json").read_text())
    wider["prompt"]["base_vocabulary"] = 25
    (tmp_path / "config.json").write_text(json.dumps(wider))
    with pytest.raises(DataError, match=r"embed_tokens.weight: expected shape \(36, 32\), found \(35, 32\)"):
        load_model(tmp_path)


def test_torn_and_missing_files_are_named(tmp_path: Path, model: PixelGroundingModel, about: About) -> None:
    with pytest.raises(DataError, match=r"model.json: cannot be read: .*No such file"):
        load_model(tmp_path)
    save_model(tmp_path, model, about)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"model.safetensors: expected a whole safetensors file"):
        load_model(tmp_path)
    (tmp_path / "model.json").write_text('{"schema": 0}')
    with pytest.raises(DataError, match=r"model.json: expected schema 1, found another"):
        load_model(tmp_path)
    (tmp_path / "model.json").write_text('{"schema": 1}')
    with pytest.raises(DataError, match=r"model.json: expected words, experts and origin of a model, found 'words'"):
        load_model(tmp_path)


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
