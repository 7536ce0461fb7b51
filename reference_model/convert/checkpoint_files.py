"""Opens checkpoints: names and shapes of tensors are read at once, their values one tensor at a time.

Torch files are read with `weights_only=True`, which runs no code from them, and are memory-mapped if they are zip
archives, the default format since torch 1.6.
"""

import json
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from harness.errors import DataError
from harness.records import Json

SAFETENSORS, TORCH = ".safetensors", (".bin", ".pth", ".pt")
# safetensors comes before torch's format: a folder may hold the same weights in both.
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_OPEN_CLIP = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_WHOLE = ("model.safetensors", "pytorch_model.bin", *_OPEN_CLIP)
# Keys under which training scripts keep weights: SAM-Med2D's `model`, Lightning's `state_dict`, DeepSpeed's `module`.
_WRAPPERS = ("model", "state_dict", "module")
# The dtypes of safetensors files that can be converted; `writing.entries` rejects tensors of others.
_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "F64": torch.float64}


class Unread:
    """Replaces an optimizer, whose state is not needed: SAM-Med2D's training script pickles the whole object."""


def _plain(*_: object) -> dict[object, object]:
    """Replace the `defaultdict` that an optimizer keeps."""
    return {}


_STAND_INS: list[Any] = [
    (Unread, "torch.optim.adam.Adam"),
    (Unread, "torch.optim.adamw.AdamW"),
    (Unread, "torch.optim.sgd.SGD"),
    (_plain, "collections.defaultdict"),
    dict,
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A tensor in a file.

    Attributes:
        file: The file that holds the tensor.
        shape: The shape of the tensor.
        dtype: Its dtype; uint8 stands for dtypes of safetensors that cannot be converted.
        read: Returns the tensor; a tensor of a safetensors file is read anew by every call.
    """

    file: Path
    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The tensors of a file or folder by name, and the names of other values in its files."""

    tensors: Mapping[str, Stored]
    beside: tuple[str, ...] = ()


def open_checkpoint(place: Path) -> Checkpoint:
    """Return the tensors of a checkpoint without reading their values.

    Args:
        place: A file of safetensors or of torch, or a folder with one such file, or with several and their index.

    Raises:
        DataError: A file is missing or torn, needs code to be run, or holds a tensor that another file holds, too.
    """
    tensors: dict[str, Stored] = {}
    beside: list[str] = []
    files, indexed = _files(place)
    for file in files:
        found = _open_safetensors(file) if file.suffix == SAFETENSORS else _open_torch(file)
        if twice := sorted(tensors.keys() & found.tensors.keys()):
            raise DataError(f"{file}: expected tensors that no other file of {place} holds, found {twice[0]} again")
        tensors.update(found.tensors)
        beside += found.beside
    if lacking := sorted(indexed - tensors.keys()):
        raise DataError(f"{place}: expected the {len(indexed)} tensors of its index, found no {lacking[0]}")
    return Checkpoint(tensors=tensors, beside=tuple(beside))


def read_object(file: Path) -> dict[str, Json]:
    """Return the object in a JSON file.

    Raises:
        DataError: The file cannot be read, or its value is not an object.
    """
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{file}: expected a JSON object, found {type(found).__name__}")
    return found


def _files(place: Path) -> tuple[list[Path], set[str]]:
    """Return the files of a checkpoint, and the names of its tensors if an index lists them."""
    if place.is_file():
        if place.suffix not in (SAFETENSORS, *TORCH):
            raise DataError(f"{place}: expected a file that ends in {SAFETENSORS} or {' or '.join(TORCH)}")
        return [place], set()
    for name in _INDEXES:
        if (place / name).is_file():
            return _indexed(place / name)
    for name in _WHOLE:
        if (place / name).is_file():
            return [place / name], set()
    raise DataError(f"{place}: expected a checkpoint, found none of {', '.join((*_INDEXES, *_WHOLE))}")


def _indexed(index: Path) -> tuple[list[Path], set[str]]:
    listed = read_object(index).get("weight_map")
    if not isinstance(listed, dict) or not all(isinstance(name, str) for name in listed.values()):
        raise DataError(f"{index}: expected a weight_map from tensors to files, found none")
    # Only the last part of a name: a downloaded index must not lead out of its folder.
    files = [index.with_name(Path(name).name) for name in dict.fromkeys(listed.values())]
    if missing := [file for file in files if not file.is_file()]:
        raise DataError(f"{missing[0]}: is named by {index.name} and not there; fetch all {len(files)} files")
    return files, set(listed)


def _open_safetensors(file: Path) -> Checkpoint:
    try:
        opened = safe_open(file, framework="pt")
        return Checkpoint(tensors={name: _lazy(opened, file, name) for name in opened.keys()})  # type: ignore[no-untyped-call]  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DataError(f"{file}: expected a whole safetensors file: {error}") from error


def _lazy(opened: Any, file: Path, name: str) -> Stored:
    # A separate function, so that every `read` binds its own name; a closure in a loop would use the last.
    known = opened.get_slice(name)
    dtype = _DTYPES.get(known.get_dtype(), torch.uint8)
    return Stored(file=file, shape=tuple(known.get_shape()), dtype=dtype, read=lambda: opened.get_tensor(name))


def _open_torch(file: Path) -> Checkpoint:
    try:
        with torch.serialization.safe_globals(_STAND_INS):
            found = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError as error:
        # torch names the refused class or function after "GLOBAL".
        _, _, named = str(error).partition("GLOBAL ")
        reason = f"code: {named.split(' ')[0]}" if named else "something else"
        raise DataError(
            f"{file}: expected tensors and plain values, found {reason}; code in a checkpoint is not run: "
            "save its tensors alone, best as safetensors, where you trust it"
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{file}: expected a whole torch file: {error}") from error
    return _unwrapped(found, file)


def _unwrapped(found: object, file: Path) -> Checkpoint:
    """Return the tensors of a state dict, or of the one inside a training state."""
    beside: tuple[str, ...] = ()
    if isinstance(found, Mapping):
        for wrapper in _WRAPPERS:
            if isinstance(found.get(wrapper), Mapping):
                beside = tuple(str(key) for key in found if key != wrapper)
                found = found[wrapper]
                break
    named = dict(_tensors(found))
    if not isinstance(found, Mapping) or not named:
        raise DataError(f"{file}: expected tensors by name, found {type(found).__name__} without any")
    beside += tuple(str(key) for key in found if key not in named)
    return Checkpoint(tensors={name: _kept(file, value) for name, value in named.items()}, beside=beside)


def _tensors(found: object) -> Iterator[tuple[str, Tensor]]:
    if isinstance(found, Mapping):
        for name, value in found.items():
            if isinstance(value, Tensor):
                yield str(name), value.detach()


def _kept(file: Path, value: Tensor) -> Stored:
    return Stored(file=file, shape=tuple(value.shape), dtype=value.dtype, read=lambda: value)
