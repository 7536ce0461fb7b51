"""Which device each copy of a model gets, decided before any is loaded, and what is recorded of it."""

import math
import os
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import SpecError
from harness.records import Json, Resources

VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class NodeResources:
    """The CPUs and GPUs of one machine."""

    cpus: float
    gpus: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a run asks for.

    Attributes:
        resources: The resources of one copy, as the model declares them.
        gpus_per_worker: `--gpus-per-worker`, which overrides the model's GPUs; None if it is not given.
        workers: Number of copies; None: one for each GPU, else one.
    """

    resources: Resources
    gpus_per_worker: float | None = None
    workers: int | None = None


def settled(wanted: Wanted, nodes: Sequence[NodeResources], seen: str) -> tuple[int, Resources]:
    """Return the number of copies and the resources of each, with its GPUs as a number.

    Args:
        wanted: What the run asks for.
        nodes: The machines; each copy runs on a single one.
        seen: What was found there, in words, such as `Ray sees 2 GPUs on 1 node`.
    Raises:
        SpecError: No machine has the GPUs that one copy needs, or the copies do not fit.
    """
    gpus = wanted.resources.gpus if wanted.gpus_per_worker is None else wanted.gpus_per_worker
    largest = max((node.gpus for node in nodes), default=0.0)
    if gpus is None:  # the model uses a GPU if there is one
        gpus = 1.0 if largest >= 1 else 0.0
    resources = replace(wanted.resources, gpus=gpus)
    if gpus > largest:
        asked = f"the model asks for {gpus:g} GPUs a copy"
        if wanted.gpus_per_worker is not None:
            asked = f"--gpus-per-worker {gpus:g}"
        remedy = f"expected at most {largest:g}" if largest else "--gpus-per-worker 0 runs a model on the CPU"
        raise SpecError(f"{asked}: {seen}; {remedy}")
    room = sum(_copies(node, resources) for node in nodes)
    workers = wanted.workers
    if workers is None:
        on_gpus = math.floor(sum(node.gpus for node in nodes) / max(gpus, 1.0)) if gpus else 1
        workers = max(1, min(on_gpus, int(min(room, on_gpus))))
    if workers > room:
        each = " and ".join(
            f"{number:g} {name}{'' if number == 1 else 's'}"
            for name, number in (("CPU", resources.cpus), ("GPU", gpus))
            if number
        )
        remedy = "; --gpus-per-worker 0 runs a model on the CPU" if gpus else ""
        raise SpecError(
            f"--workers {workers} with {each} each: {seen}, room for {room:g}. Lower --workers"
            f"{' or --gpus-per-worker' if wanted.gpus_per_worker else ''}{remedy}."
        )
    return workers, resources


def _copies(node: NodeResources, resources: Resources) -> float:
    """Return how many copies fit on one machine."""
    needs = ((node.gpus, resources.gpus), (node.cpus, resources.cpus))
    # With tolerance: ten copies with a tenth of a GPU each fit on one.
    shares = [has / need + 1e-9 for has, need in needs if need]
    return min((share if math.isinf(share) else math.floor(share) for share in shares), default=math.inf)


def gpus_here() -> int:
    """Return how many NVIDIA GPUs this process can see, without loading a library: importing torch takes seconds."""
    visible = os.environ.get(VISIBLE)
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    return sum(path.name.removeprefix("nvidia").isdigit() for path in Path("/dev").glob("nvidia*"))


def seen_here(gpus: int) -> str:
    """Return in words what `gpus_here` found, and where it looked."""
    visible = os.environ.get(VISIBLE)
    where = "no /dev/nvidia0" if not gpus else "/dev/nvidia*"
    where = where if visible is None else f"{VISIBLE}={visible!r}"
    return f"this machine has {gpus} GPU{'' if gpus == 1 else 's'} ({where})"


def device_of(resources: Resources) -> str:
    """Return the device that a copy loads onto: its first GPU, of those it can see, or the CPU."""
    return "cuda:0" if resources.gpus else "cpu"


def peak_memory() -> tuple[int, int]:
    """Return the most memory in bytes that this process, or one it started and that ended, has held, and its GPU.

    A model in a process of its own counts once that process has ended. The GPU's is what torch has allocated, else 0.
    """
    held = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    torch = sys.modules.get("torch")  # only where the model has imported it
    on_gpu = torch.cuda.max_memory_allocated() if torch is not None and torch.cuda.is_initialized() else 0
    return held * 1024, int(on_gpu)  # Linux counts in KiB


def device_record(device: str) -> dict[str, Json]:
    """Return what `sessions.jsonl` says of a worker's device: its name for the model, the GPUs and their model."""
    if device == "cpu":
        return {"device": device, "gpus": [], "gpu": None}
    visible = os.environ.get(VISIBLE, "0")
    name = None
    torch = sys.modules.get("torch")  # only where the model has imported it
    if torch is not None and torch.cuda.is_available():
        name = torch.cuda.get_device_name(0)
    return {"device": device, "gpus": [each.strip() for each in visible.split(",") if each.strip()], "gpu": name}
