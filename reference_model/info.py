"""Describes a preset by its modules, shapes and parameter counts, without allocating weights."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch

from reference_model.config import AnyConfig
from reference_model.modeling.build import AnyModel, build_model

_NUMBER = re.compile(r"\.\d+(?=\.)")


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """All parameters of one name and shape; `*` in the name stands for the numbers of layers and experts."""

    name: str
    shape: tuple[int, ...]
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleInfo:
    """One part of the model.

    Attributes:
        name: The attribute of the model.
        kind: The name of its class.
        parameters: How many numbers it holds.
        tensors: All its parameters; those that share a name and a shape are listed once.
    """

    name: str
    kind: str
    parameters: int
    tensors: tuple[TensorInfo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetInfo:
    """The parts of a preset and the sum of their parameters."""

    preset: str
    modules: tuple[ModuleInfo, ...]
    parameters: int


def describe(config: AnyConfig) -> PresetInfo:
    """Return the modules, shapes and parameter counts of a configuration; no weights are allocated."""
    with torch.device("meta"):  # shapes alone: the 7B preset would take 47 GB
        model = build_model(config)
    modules = tuple(_modules(model))
    return PresetInfo(preset=config.name, modules=modules, parameters=sum(module.parameters for module in modules))


def as_json(info: PresetInfo) -> dict[str, object]:
    """Return the description as JSON values."""
    return asdict(info)


def as_text(info: PresetInfo) -> str:
    """Return the description as a table: the parts, and below each its tensors as `count x shape`."""
    lines = []
    for module in info.modules:
        lines.append(f"{module.name:<60} {module.parameters:>16,}  {module.kind}")
        for tensor in module.tensors:
            shape = f"({', '.join(map(str, tensor.shape))})"
            lines.append(f"  {tensor.name:<66} {f'{tensor.count} x' if tensor.count > 1 else '':>8}  {shape}")
    lines.append(f"{info.preset:<60} {info.parameters:>16,}")
    return "\n".join(lines)


def _modules(model: AnyModel) -> Iterator[ModuleInfo]:
    for name, module in model.named_children():
        shapes = Counter((_NUMBER.sub(".*", key), tuple(p.shape)) for key, p in module.named_parameters())
        yield ModuleInfo(
            name=name,
            kind=type(module).__name__,
            parameters=sum(parameter.numel() for parameter in module.parameters()),
            tensors=tuple(TensorInfo(name=key, shape=shape, count=n) for (key, shape), n in shapes.items()),
        )
