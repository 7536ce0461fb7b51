"""Writes the weights of a plan tensor by tensor, so that no more than one of them is in memory."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import torch
from torch import Tensor, nn

from harness.errors import DataError, together
from reference_model.convert.tensor_map import Move, TensorMap
from reference_model.modeling.moe import Router

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: Mapping[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Of what is drawn at random.
SEED = 0
_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}

Told = Callable[[int], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorEntry:
    """A tensor of the file that is written: its name, what it is made of, and its precision."""

    name: str
    made_of: Move | Tensor
    dtype: torch.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor."""
        return tuple(self.made_of.shape)

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return math.prod(self.shape) * self.dtype.itemsize


def entries(model: nn.Module, plan: TensorMap, precision: Precision | None) -> tuple[TensorEntry, ...]:
    """Return what is written, the widest numbers first, so that all lie at multiples of their width.

    Args:
        model: On torch's meta device; layers with tensors that are drawn get memory.
        plan: For all its tensors.
        precision: Of the numbers; None: each as it is stored. Routers are in single precision in any case.
    Raises:
        DataError: A file holds other numbers than floating-point ones of 16 or 32 bits.
    """
    names = list(model.state_dict())
    if faults := [fault for name, move in plan.moves.items() if (fault := _no_weights(name, move))]:
        raise together(faults, DataError)
    made_of: dict[str, Move | Tensor] = {**plan.moves, **draw(model, plan.drawn)}
    exact = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, Router)}
    chosen = {name: torch.float32 if name in exact else _precision(made_of[name], precision) for name in names}
    found = (TensorEntry(name=name, made_of=made_of[name], dtype=chosen[name]) for name in names)
    return tuple(sorted(found, key=lambda entry: -entry.dtype.itemsize))


def _precision(made_of: Move | Tensor, wanted: Precision | None) -> torch.dtype:
    if wanted is not None:
        return DTYPES[wanted]
    return made_of.dtype if isinstance(made_of, Tensor) else made_of.stored.dtype


def draw(model: nn.Module, names: Iterable[str]) -> dict[str, Tensor]:
    """Return tensors of a model drawn as torch draws layers of their kind, in single precision, the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        for owner in dict.fromkeys(name.rpartition(".")[0] for name in names):
            layer: Any = model.get_submodule(owner).to_empty(device="cpu", recurse=False)
            layer.reset_parameters()
    return {name: model.get_parameter(name).detach() for name in names}


def write_tensors(path: Path, written: Sequence[TensorEntry], told: Told) -> None:
    """Write a safetensors file.

    Args:
        path: Of the file.
        written: Its tensors.
        told: Is given the bytes of every tensor once it is written.
    Raises:
        DataError: A number does not fit the precision it shall have.
    """
    with path.open("wb") as file:
        _write_header(file, written)
        for entry in written:
            file.write(value_of(entry).flatten().view(torch.uint8).numpy().data)
            told(entry.size)


def value_of(entry: TensorEntry) -> Tensor:
    """Return the tensor of an entry, contiguous.

    Raises:
        DataError: A number does not fit its precision.
    """
    made_of = entry.made_of
    if isinstance(made_of, Tensor):
        value = made_of
    else:
        value = made_of.stored.read()
        if made_of.rows is not None:
            value = grown(value[: made_of.rows], entry.shape[0])
    found = value.to(entry.dtype).contiguous()
    if found.dtype != value.dtype and not bool(found.isfinite().all()):
        raise DataError(f"{entry.name}: expected numbers that fit {entry.dtype}, found larger ones; write --dtype bf16")
    return found


def grown(weight_VD: Tensor, rows: int) -> Tensor:
    """Return a vocabulary of `rows` rows; the new ones are the mean of the others, as LLaVA makes its image tokens."""
    mean_D = weight_VD.mean(dim=0, dtype=torch.float32).to(weight_VD.dtype)
    return torch.cat((weight_VD, mean_D.expand(rows - len(weight_VD), -1)))


def _no_weights(name: str, move: Move) -> str:
    """Return why a stored tensor cannot be weights; empty if it can."""
    if move.stored.dtype in _NAMES:
        return ""
    return f"{move.stored.file}: {name}: expected floating-point numbers of 16 or 32 bits, found {move.stored.dtype}"


def _write_header(file: BinaryIO, written: Sequence[TensorEntry]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for entry in written:
        place = [start, start + entry.size]
        header[entry.name] = {"dtype": _NAMES[entry.dtype], "shape": entry.shape, "data_offsets": place}
        start += entry.size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
