"""Checkpoints are read without running what they hold, and written one tensor at a time."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.errors import DataError
from reference_model.config import load_preset
from reference_model.convert.checkpoint_files import Stored, open_checkpoint
from reference_model.convert.config_check import (
    ConfigNumber,
    check_numbers,
    expert_numbers,
    language_numbers,
    tower_numbers,
)
from reference_model.convert.tensor_map import Move, TensorMap
from reference_model.convert.writing import draw, entries, value_of, write_tensors
from reference_model.modeling.moe import Router
from tests.unit.reference_model.convert.convert_sources import write_shards

MAPS = Path("/proc/self/maps")
TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(4, dtype=torch.bfloat16), "c": torch.zeros(1)}


def same(place: Path) -> None:
    found = open_checkpoint(place).tensors
    assert set(found) == set(TENSORS)
    for name, value in TENSORS.items():
        assert (found[name].shape, found[name].dtype) == (tuple(value.shape), value.dtype)
        assert torch.equal(found[name].read(), value)


@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.parametrize("files", [1, 2])
def test_a_folder_is_read_by_its_index(tmp_path: Path, safe: bool, files: int) -> None:
    write_shards(tmp_path, TENSORS, safe=safe, files=files)
    same(tmp_path)


def test_one_file_is_read_with_or_without_its_folder(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "pytorch_model.bin")
    same(tmp_path)
    save_file(TENSORS, tmp_path / "model.safetensors")
    same(tmp_path)
    same(tmp_path / "model.safetensors")
    torch.save(TENSORS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    same(tmp_path / "old.pth")


@pytest.mark.skipif(not MAPS.exists(), reason="tells of mapped files on Linux alone")
def test_tensors_of_torch_files_stay_on_disk_until_they_are_read(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "a.bin")
    found = open_checkpoint(tmp_path / "a.bin")
    assert str(tmp_path / "a.bin") in MAPS.read_text()
    assert found.tensors["a"].read().shape == (1000,)


def test_a_training_state_gives_its_model_and_names_the_rest(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    for name, state in (("whole", optimizer), ("values", optimizer.state_dict())):
        torch.save({"model": model.state_dict(), "optimizer": state, "epoch": 3}, tmp_path / f"{name}.pth")
        found = open_checkpoint(tmp_path / f"{name}.pth")
        assert found.beside == ("optimizer", "epoch")
        assert torch.equal(found.tensors["weight"].read(), model.weight.detach())


class Code:
    """Would run a command where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path, zipped: bool) -> None:
    mark = tmp_path / "mark"
    torch.save({"model": TENSORS, "more": Code(mark)}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        DataError,
        match=r"a.pth: expected tensors and plain values, found code: posix.system; code in a checkpoint is not run: "
        "save its tensors alone, best as safetensors, where you trust it",
    ):
        open_checkpoint(tmp_path / "a.pth")
    assert not mark.exists()


def test_a_whole_module_is_refused_with_its_class(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "a.pth")
    with pytest.raises(DataError, match=r"found code: torch.nn.modules.linear.Linear; code in a checkpoint is not run"):
        open_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("content", [b"", b"abc", b"PK\x03\x04 torn"])
def test_a_torn_torch_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(DataError, match=r"a.bin: expected (a whole torch file|tensors and plain values, found)"):
        open_checkpoint(tmp_path / "a.bin")


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    for name, write in (("a.bin", torch.save), ("a.safetensors", save_file)):
        write(TENSORS, tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:-20])
        with pytest.raises(DataError, match=rf"{name}: expected a whole \w+ file"):
            open_checkpoint(tmp_path / name)


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    for value in ([1.0], {"model": {"a": 1}}):
        torch.save(value, tmp_path / "a.bin")
        with pytest.raises(DataError, match=r"a.bin: expected tensors by name, found (list|dict) without any"):
            open_checkpoint(tmp_path / "a.bin")


def test_a_folder_without_checkpoint_and_a_file_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a checkpoint, found none of model.safetensors.index.json, .*\.bin"):
        open_checkpoint(tmp_path)
    (tmp_path / "a.gguf").touch()
    with pytest.raises(DataError, match=r"a.gguf: expected a file that ends in .safetensors or .bin or .pth or .pt"):
        open_checkpoint(tmp_path / "a.gguf")


def test_an_index_that_does_not_fit_its_files_is_refused(tmp_path: Path) -> None:
    write_shards(tmp_path, TENSORS)
    index = tmp_path / "pytorch_model.bin.index.json"
    told = json.loads(index.read_text())
    index.write_text(json.dumps({"weight_map": told["weight_map"] | {"d": "pytorch_model-00001-of-00002.bin"}}))
    with pytest.raises(DataError, match=r"expected the 4 tensors of its index, found no d"):
        open_checkpoint(tmp_path)
    for text, wrong in (("[", "cannot be read"), ("[]", "expected a JSON object"), ("{}", "expected a weight_map")):
        index.write_text(text)
        with pytest.raises(DataError, match=rf"pytorch_model.bin.index.json: {wrong}"):
            open_checkpoint(tmp_path)
    write_shards(tmp_path, TENSORS)
    (tmp_path / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(DataError, match=r"-00002.bin: is named by .*index.json and not there; fetch all 2 files"):
        open_checkpoint(tmp_path)


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    write_shards(tmp_path, TENSORS)
    torch.save(TENSORS, tmp_path / "pytorch_model-00002-of-00002.bin")
    with pytest.raises(DataError, match=r"-00002.bin: expected tensors that no other file of .* holds, found a again"):
        open_checkpoint(tmp_path)


class Small(nn.Module):
    """A router in 32 bits, a layer in 16, and one that no file has."""

    def __init__(self) -> None:
        super().__init__()
        self.router = Router(width=3, experts=2)
        self.layer = nn.Linear(3, 5, bias=False)
        self.fresh = nn.Linear(3, 2)


def small_plan(dtype: torch.dtype = torch.float16) -> tuple[nn.Module, TensorMap, dict[str, Tensor]]:
    with torch.device("meta"):
        model = Small()
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    drawn = {name: shapes.pop(name) for name in list(shapes) if name.startswith("fresh")}
    values = {name: torch.randn(shape).to(dtype) for name, shape in shapes.items()}

    def stored(value: Tensor) -> Stored:
        return Stored(file=Path("a.bin"), shape=tuple(value.shape), dtype=value.dtype, read=lambda: value)

    moves = {name: Move(option="--llava", stored=stored(v), shape=tuple(v.shape)) for name, v in values.items()}
    return model, TensorMap(moves=moves, drawn=drawn), values


def test_numbers_keep_their_precision_and_routers_have_32_bits(tmp_path: Path) -> None:
    model, plan, values = small_plan()
    told: list[int] = []
    write_tensors(tmp_path / "a.safetensors", entries(model, plan, None), told.append)
    found = load_file(tmp_path / "a.safetensors")
    assert set(found) == set(model.state_dict())
    assert {name: value.dtype for name, value in found.items() if value.dtype != torch.float32} == {
        "layer.weight": torch.float16,
    }
    for name, value in values.items():
        assert torch.equal(found[name], value.to(found[name].dtype)), name
    assert sum(told) == sum(value.nbytes for value in found.values())
    assert len(told) == len(found)


def test_every_tensor_lies_at_a_multiple_of_its_width(tmp_path: Path) -> None:
    model, plan, _ = small_plan()
    written = entries(model, plan, None)
    write_tensors(tmp_path / "a.safetensors", written, lambda _: None)
    content = (tmp_path / "a.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert length % 8 == 0
    assert {
        entry.name: header[entry.name]["data_offsets"][0] % entry.dtype.itemsize for entry in written
    } == dict.fromkeys(model.state_dict(), 0)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_a_precision_can_be_chosen(precision: str, dtype: torch.dtype) -> None:
    model, plan, _ = small_plan(torch.float32)
    found = {entry.name: value_of(entry).dtype for entry in entries(model, plan, precision)}  # type: ignore[arg-type]
    assert found == dict.fromkeys(model.state_dict(), dtype) | {"router.weight": torch.float32}


def test_a_number_too_large_for_its_precision_is_refused(tmp_path: Path) -> None:
    model, plan, values = small_plan(torch.float32)
    values["layer.weight"][1, 1] = 7e4
    with pytest.raises(
        DataError, match=r"layer.weight: expected numbers that fit torch.float16, found larger ones; write --dtype bf16"
    ):
        write_tensors(tmp_path / "a", entries(model, plan, "fp16"), lambda _: None)


def test_weights_of_other_kinds_are_refused() -> None:
    model, plan, _ = small_plan(torch.float64)
    with pytest.raises(
        DataError, match=r"a.bin: layer.weight: expected floating-point numbers of 16 or 32 bits, found torch.float64"
    ):
        entries(model, plan, None)


def test_what_is_drawn_is_drawn_as_torch_draws_it_and_the_same_every_time() -> None:
    first, second = (draw(small_plan()[0], ("fresh.weight", "fresh.bias")) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert 0.1 < float(first["fresh.weight"].std()) < float(first["fresh.weight"].abs().max()) <= 3**-0.5


def test_a_draw_leaves_the_generator_of_others_alone() -> None:
    model, _, _ = small_plan()
    before = torch.random.get_rng_state()
    draw(model, ("fresh.weight",))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"heads": 4}, "config.json: heads: expected 8 as in preset big, found 4"),
        ({"text_config": {"act": "gelu"}}, "config.json: text_config.act: expected silu as in preset big, found gelu"),
        ({"scaling": {"factor": 2}}, "config.json: scaling: expected None as in preset big, found {'factor': 2}"),
    ],
)
def test_numbers_that_shapes_do_not_tell_are_compared(
    tmp_path: Path, document: dict[str, object], message: str
) -> None:
    numbers = (ConfigNumber("heads", 8), ConfigNumber("act", "silu", "text_config"), ConfigNumber("scaling", None))
    check_numbers(tmp_path, numbers, "big")
    for fine in ({"heads": 8, "text_config": {"act": "silu"}, "scaling": None, "other": 1}, {"text_config": 3}):
        (tmp_path / "config.json").write_text(json.dumps(fine))
        check_numbers(tmp_path, numbers, "big")
    (tmp_path / "config.json").write_text(json.dumps(document))
    with pytest.raises(DataError) as caught:
        check_numbers(tmp_path, numbers, "big")
    assert str(caught.value).endswith(message)


BIG = load_preset("medplib-7b")
LLAMA = {"num_attention_heads": 32, "rms_norm_eps": 1e-05, "hidden_act": "silu", "rope_scaling": None}
EXPERTS = {"num_experts": [2] * 32, "top_k_experts": 1, "use_residual": False, "moe_layers_idx": list(range(32))}
CLIP = {"num_attention_heads": 16, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-05}


@pytest.mark.parametrize(
    ("numbers", "document", "wrong", "message"),
    [
        (
            language_numbers(BIG),
            LLAMA | {"mm_vision_select_layer": -2, "mm_projector_type": "mlp2x_gelu", "tie_word_embeddings": False},
            {"mm_projector_type": "linear"},
            "mm_projector_type: expected mlp2x_gelu",
        ),
        (
            language_numbers(BIG),
            {"text_config": LLAMA | {"num_key_value_heads": 32}, "vision_feature_layer": -2},
            {"vision_feature_layer": -1},
            "vision_feature_layer: expected -2",
        ),
        (language_numbers(BIG), LLAMA, {"num_key_value_heads": 8}, "num_key_value_heads: expected 32"),
        (tower_numbers(BIG), {"vision_config": CLIP}, {"vision_config": CLIP | {"hidden_act": "gelu"}}, "quick_gelu"),
        (tower_numbers(BIG), CLIP, {"num_attention_heads": 12}, "num_attention_heads: expected 16"),
        (expert_numbers(BIG), {"moe": EXPERTS}, {"moe": EXPERTS | {"moe_layers_idx": [0]}}, "moe.moe_layers_idx: exp"),
    ],
)
def test_published_configurations_fit_the_7b_preset_and_others_do_not(
    tmp_path: Path,
    numbers: tuple[ConfigNumber, ...],
    document: dict[str, object],
    wrong: dict[str, object],
    message: str,
) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(document))
    check_numbers(tmp_path, numbers, BIG.name)
    file.write_text(json.dumps(document | wrong))
    with pytest.raises(DataError, match=message):
        check_numbers(tmp_path, numbers, BIG.name)
