"""Shards the language model over the processes with FSDP2, for models that do not fit a single GPU.

Every decoder layer, experts included, is sharded; a process gathers a layer when it needs it and frees it afterwards.
States on disk hold whole tensors, so that any number of processes can resume from them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from harness.records import Json
from reference_model.checkpoints.training_state import Progress, load_step, save_step
from reference_model.distributed.processes import Processes
from reference_model.modeling.language import LanguageModel


def shard(language: LanguageModel, processes: Processes) -> None:
    """Shard the decoder layers over the processes, in place.

    The parameters are replaced by DTensors of the same names. Embeddings, norm and head stay whole.
    """
    # Embeddings and head are called from outside `forward`, where nothing would gather them.
    mesh = init_device_mesh(processes.device.type, (processes.count,))
    for layer in language.layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    # The common root of the layers: it prefetches the next layer during computation and frees the last one.
    others = {parameter for parameter in language.parameters() if not is_sharded(parameter)}
    fully_shard(language, mesh=mesh, ignored_params=others)


def is_sharded(value: Tensor) -> bool:
    """Return whether a tensor, of any shape and dtype, is sharded over the processes."""
    return isinstance(value, DTensor)


def gathered(value: Tensor) -> Tensor:
    """Return the whole tensor, in its shape and dtype; all processes must call this together."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def clip_gradients(parameters: Sequence[nn.Parameter], largest: float) -> None:
    """Scale all gradients so that their common norm, over all processes, is at most `largest`."""
    gradients = [one.grad for one in parameters if one.grad is not None]
    groups = [[one for one in gradients if is_sharded(one) == sharded] for sharded in (False, True)]
    # Sharded and whole tensors get separate norms: torch cannot stack the two kinds.
    norms = [gathered(get_total_norm(group)) for group in groups if group]
    if norms:
        total = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))
        for sharded in (False, True):
            clip_grads_with_norm_([one for one in parameters if is_sharded(one) == sharded], largest, total)


def save_whole(
    folder: Path,
    progress: Progress,
    trained: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    processes: Processes,
) -> None:
    """Write the state of a stage as `training_state.save_step` does; the first process writes, all take part."""
    if any(is_sharded(parameter) for parameter in trained.values()):
        trained, optimizer = _copies(trained, optimizer, kept=processes.first)
    if processes.first:
        save_step(folder, progress, trained, optimizer)


def load_whole(
    state: Path, settings: Mapping[str, Json], trained: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> int:
    """Load a state as `training_state.load_step` does, whether or not the parameters are sharded."""
    if not any(is_sharded(parameter) for parameter in trained.values()):
        return load_step(state, settings, trained, optimizer)
    copies = {name: nn.Parameter(torch.empty(parameter.shape)) for name, parameter in trained.items()}
    stand_in = torch.optim.AdamW(copies.values())
    step = load_step(state, settings, copies, stand_in)
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(_spread(copies[name].detach(), parameter))
            found = stand_in.state[copies[name]]
            optimizer.state[parameter] = {quantity: _spread(value, parameter) for quantity, value in found.items()}
    return step


def gathered_copies(tensors: Mapping[str, Tensor], *, kept: bool) -> dict[str, Tensor]:
    """Return whole copies of tensors on the CPU, in their shapes and dtypes, by name.

    Args:
        tensors: Tensors that may be sharded over the processes.
        kept: Whether this process keeps the copies; all processes take part, and the others return nothing.
    """
    # One tensor after the other, so that no GPU has to hold all of them.
    copies: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        value = gathered(tensor.detach())
        if kept:
            copies[name] = value.cpu()
    return copies


def _copies(
    trained: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer, *, kept: bool
) -> tuple[dict[str, nn.Parameter], torch.optim.Optimizer]:
    """Return whole copies of parameters and optimizer."""
    values = gathered_copies(trained, kept=kept)
    copies = {name: nn.Parameter(value) for name, value in values.items()}
    stand_in = torch.optim.AdamW(copies.values() or [torch.empty(0)])  # torch refuses an optimizer without parameters
    for name, parameter in trained.items():
        state = gathered_copies(optimizer.state.get(parameter, {}), kept=kept)
        if kept:
            stand_in.state[copies[name]] = state
    return copies, stand_in


def _spread(value: Tensor, parameter: nn.Parameter) -> Tensor:
    """Return a whole tensor sharded like a parameter; the optimizer's step count, a scalar, is returned unchanged."""
    if value.ndim < parameter.ndim:
        return value
    value = value.to(parameter.device)
    if not isinstance(parameter, DTensor):
        return value
    return distribute_tensor(value, parameter.device_mesh, parameter.placements)
