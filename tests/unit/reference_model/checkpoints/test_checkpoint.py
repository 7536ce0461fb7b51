"""Weights on disk: whole or not there, equal after a round trip, and refused where they do not fit."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from harness.errors import DataError
from reference_model.checkpoints.checkpoint import About, load_about, load_model, open_model, save_model
from reference_model.checkpoints.training_state import last_step
from reference_model.config import ModelConfig
from reference_model.inputs.tokenizers import SavedTokenizer
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


@pytest.mark.parametrize("half", [False, True])
def test_an_opened_model_has_the_numbers_of_a_loaded_one(
    tmp_path: Path, model: PixelGroundingModel, about: About, half: bool
) -> None:
    save_model(tmp_path, model, about, half=half)
    expected = load_model(tmp_path)[0]
    found, described = open_model(tmp_path, torch.float32)
    assert described == about
    assert not found.training
    assert found.state_dict().keys() == expected.state_dict().keys()
    for (name, value), (other, wanted) in zip(
        [*found.named_parameters(), *found.named_buffers()],
        [*expected.named_parameters(), *expected.named_buffers()],
        strict=True,
    ):
        assert name == other
        assert torch.equal(value, wanted), name  # buffers that no file holds, too
        assert (value.dtype, value.requires_grad) == (wanted.dtype, wanted.requires_grad)


def test_a_precision_is_that_of_all_numbers_but_routers_and_positions(
    tmp_path: Path, model: PixelGroundingModel, about: About
) -> None:
    save_model(tmp_path, model, about)
    found = open_model(tmp_path, torch.bfloat16)[0]
    for name, value in found.named_parameters():
        assert value.dtype == (torch.float32 if "router" in name else torch.bfloat16), name
    assert {buffer.dtype for buffer in found.buffers() if buffer.is_floating_point()} == {torch.float32}
    save_file(found.state_dict(), tmp_path / "model.safetensors")
    again = open_model(tmp_path, torch.bfloat16)[0].state_dict()
    for name, value in found.state_dict().items():
        assert torch.equal(again[name], value)
    # The addresses of the file in this process, as Linux lists them: no tensor was copied.
    lines = [line.split() for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()]
    ends = [line[0].split("-") for line in lines if line[-1] == str(tmp_path / "model.safetensors")]
    places = [range(int(begin, 16), int(end, 16)) for begin, end in ends]
    assert all(any(value.data_ptr() in place for place in places) for value in again.values())


def test_an_opened_model_is_refused_as_a_loaded_one(tmp_path: Path, model: PixelGroundingModel, about: About) -> None:
    save_model(tmp_path, model, replace(about, experts=False))
    with pytest.raises(DataError, match=r"model.safetensors: expected the tensors .* missing 6 \(language.layers"):
        open_model(tmp_path, torch.float32)
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"model.safetensors: expected a whole safetensors file"):
        open_model(tmp_path, torch.float32)


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


def test_a_text_tower_has_a_tokenizer_of_its_own(tmp_path: Path, model: PixelGroundingModel, about: About) -> None:
    definition = Tokenizer(WordLevel({"[CLS]": 0, "[SEP]": 1}, unk_token="[SEP]")).to_str()
    saved = SavedTokenizer(definition=definition, start="[CLS]", end="[SEP]")
    save_model(tmp_path, model, replace(about, text_tokenizer=saved))
    assert load_about(tmp_path).text_tokenizer == saved
    assert load_about(tmp_path).saved_tokenizer is None
    (tmp_path / "text_tokenizer.json").write_text(definition + " ")
    with pytest.raises(DataError, match=r"text_tokenizer.json: expected the file that model.json was written with"):
        load_about(tmp_path)
