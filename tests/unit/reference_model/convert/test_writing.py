"""Weights are written one tensor at a time, each in its precision, and drawn if no file has them."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from harness.errors import DataError
from reference_model.convert.checkpoint_files import Stored
from reference_model.convert.tensor_map import Move, TensorMap
from reference_model.convert.writing import TensorEntry, draw, entries, grown, value_of, write_tensors
from reference_model.modeling.moe import Router


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_new_rows_of_a_vocabulary_are_the_mean_of_the_kept_ones(dtype: torch.dtype) -> None:
    weight_VD = torch.tensor([[1.0, 2.0], [3.0, 6.0]], dtype=dtype)
    found = grown(weight_VD, 4)
    assert found.dtype == dtype
    assert found.tolist() == [[1.0, 2.0], [3.0, 6.0], [2.0, 4.0], [2.0, 4.0]]


def test_rows_behind_the_base_are_left_out_before_a_vocabulary_grows() -> None:
    value = torch.tensor([[1.0], [3.0], [99.0]])
    stored = Stored(file=Path("a.bin"), shape=(3, 1), dtype=value.dtype, read=lambda: value)
    move = Move(option="--llava", stored=stored, shape=(4, 1), rows=2)
    assert value_of(TensorEntry(name="head", made_of=move, dtype=torch.float32)).tolist() == [
        [1.0],
        [3.0],
        [2.0],
        [2.0],
    ]
