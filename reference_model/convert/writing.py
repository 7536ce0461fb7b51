"""Writes weights tensor by tensor, so that only one tensor at a time is in memory."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import torch
from torch import Tensor, nn

from harness.errors import DataError, together
from reference_model.convert.tensor_map import Move, TensorMap, drawn_by
from reference_model.modeling.moe import Router

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: Mapping[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# The seed of randomly initialised tensors, so that the same files give the same bytes.
SEED = 0
_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}

# Called with the size in bytes of every tensor that is written.
Advance = Callable[[int], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorEntry:
    """A tensor of the file that is written: its name, its source, and its dtype in the file."""

    name: str
    made_of: Move | Tensor
    dtype: torch.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor."""
        return tuple(self.made_of.shape)

    @property
    def size(self) -> int:
        """The size of the tensor in the file, in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def entries(model: nn.Module, plan: TensorMap, precision: Precision | None) -> tuple[TensorEntry, ...]:
    """Return the tensors of the file, the widest numbers first.

    Args:
        model: On torch's meta device; layers with randomly initialised tensors are allocated.
        plan: The source of every tensor of the model.
        precision: The dtype of the tensors; None: each as stored. Routers are always in single precision, and buffers,
            which are frequencies of encoded positions, as stored.

    Raises:
        DataError: A tensor is not floating point of 16 or 32 bits.
    """
    faults = [
        f"{move.stored.file}: {name}: expected floating-point numbers of 16 or 32 bits, found {move.stored.dtype}"
        for name, move in plan.moves.items()
        if move.stored.dtype not in _NAMES
    ]
    if faults:
        raise together(faults, DataError)
    made_of: dict[str, Move | Tensor] = {**plan.moves, **draw(model, plan.drawn)}
    buffers = {name for name, _ in model.named_buffers()}
    exact = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, Router)}
    found = []
    for name in model.state_dict():
        source = made_of[name]
        dtype = source.dtype if isinstance(source, Tensor) else source.stored.dtype
        if name in exact:
            dtype = torch.float32
        elif precision is not None and name not in buffers:
            dtype = DTYPES[precision]
        found.append(TensorEntry(name=name, made_of=source, dtype=dtype))
    # The widest dtype first, so that every tensor is aligned to its width.
    return tuple(sorted(found, key=lambda entry: -entry.dtype.itemsize))


def draw(model: nn.Module, names: Iterable[str]) -> dict[str, Tensor]:
    """Return tensors of a model, float32, as their modules initialise themselves; always the same values."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        for owner in dict.fromkeys(drawn_by(model, name) for name in names):
            assert owner is not None, "make_plan refuses other tensors"
            layer: Any = model.get_submodule(owner).to_empty(device="cpu")
            layer.reset_parameters()
    return {name: model.get_parameter(name).detach() for name in names}


def write_tensors(path: Path, written: Sequence[TensorEntry], advance: Advance) -> None:
    """Write a safetensors file.

    Args:
        path: The file.
        written: The tensors, in the order of the file.
        advance: Called with the size of every tensor, in bytes, after it is written.

    Raises:
        DataError: A value overflows the dtype in the file.
    """
    with path.open("wb") as file:
        _write_header(file, written)
        for entry in written:
            file.write(value_of(entry).flatten().view(torch.uint8).numpy().data)
            advance(entry.size)


def value_of(entry: TensorEntry) -> Tensor:
    """Return the tensor of an entry, contiguous, in its shape and dtype.

    Raises:
        DataError: A value overflows the dtype, or has no logarithm.
    """
    made_of = entry.made_of
    if isinstance(made_of, Tensor):
        value = made_of
    else:
        value = made_of.stored.read()
        if made_of.more:
            value = torch.cat([value, *(stored.read() for stored in made_of.more)])
        if made_of.rows is not None:
            value = grown(value[: made_of.rows], entry.shape[0])
        elif made_of.first is not None:
            value = value[made_of.first : made_of.first + entry.shape[0]]
        elif made_of.logarithm:
            if not bool((value > 0).all()):
                raise DataError(f"{entry.name}: expected positive numbers, of which to take logarithms")
            value = value.float().log()
    found = value.to(entry.dtype).contiguous()
    if found.dtype != value.dtype and not bool(found.isfinite().all()):
        raise DataError(f"{entry.name}: expected numbers that fit {entry.dtype}, found larger ones; write --dtype bf16")
    return found


def grown(weight_VD: Tensor, rows: int) -> Tensor:
    """Return a vocabulary grown to `rows` rows, (rows, D) of the same dtype; new rows are the mean of the others."""
    # As LLaVA initialises its image tokens. In single precision, as the mean runs over 32000 rows.
    mean_D = weight_VD.mean(dim=0, dtype=torch.float32).to(weight_VD.dtype)
    return torch.cat((weight_VD, mean_D.expand(rows - len(weight_VD), -1)))


def _write_header(file: BinaryIO, written: Sequence[TensorEntry]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for entry in written:
        place = [start, start + entry.size]
        header[entry.name] = {"dtype": _NAMES[entry.dtype], "shape": entry.shape, "data_offsets": place}
        start += entry.size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the tensors after the header to 8 bytes
    file.write(len(text).to_bytes(8, "little") + text)
