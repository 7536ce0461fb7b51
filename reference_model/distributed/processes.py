"""Several processes that train one model together, as each of them sees the others.

Every process holds the model, measures its share of a step's rows and averages its gradients with those of the others.
accelerate finds the device and the way to talk: gloo between CPUs, nccl between GPUs.
"""

import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

from harness.errors import HarnessError, InterruptedRunError, SpecError

LONGEST_WAIT = timedelta(hours=12)
"""For one another: the first process may have a large release to prepare before any other can go on."""
BUCKET = 1 << 24
"""Numbers of gradients that are sent together: few messages, little memory beside the gradients."""
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """One of the processes, and how it reaches the others; by default it is alone.

    Attributes:
        number: Of this process, from 0.
        count: Of all of them.
        device: Of this process.
    """

    number: int = 0
    count: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and tells."""
        return self.number == 0

    def own(self, parts: int) -> range:
        """Return which of `parts`, a multiple of `count`, are measured here."""
        each = parts // self.count
        return range(self.number * each, (self.number + 1) * each)

    def wait(self) -> None:
        """Go on when all have come this far."""
        if self.count > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()

    @contextmanager
    def first_ahead(self) -> Iterator[None]:
        """Let the first process through before the others, which find on disk what it has prepared."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()

    def total(self, values: Sequence[float]) -> list[float]:
        """Return the sum over all processes of every number."""
        if self.count == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(summed)
        found: list[float] = summed.tolist()
        return found

    def as_first_says(self, flag: bool) -> bool:
        """Return what the first process says, in all of them."""
        return self.total([float(flag and self.first)])[0] > 0

    def average_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replace every gradient by its mean over all processes, one that is missing here counting as zeros.

        A parameter that no process has a gradient for keeps none, so that the optimizer leaves it alone as it does in
        one process.
        """
        if self.count == 1:
            return
        reached = self.total([float(parameter.grad is not None) for parameter in parameters])
        gradients = []
        for parameter, processes in zip(parameters, reached, strict=True):
            if processes:
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                gradients.append(parameter.grad)
        for bucket in _buckets(gradients):
            self._average(bucket)

    def _average(self, tensors: Sequence[Tensor]) -> None:
        sent = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(sent)
        sent /= self.count
        means = torch.split(sent, [tensor.numel() for tensor in tensors])
        for tensor, mean in zip(tensors, means, strict=True):
            tensor.copy_(mean.view_as(tensor))


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield the tensors in their order, so many at once as together hold `BUCKET` numbers, at least one."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(one.numel() for one in bucket) + tensor.numel() > BUCKET:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


def choose_device(wanted: str | None, count: int) -> str:
    """Return `cuda` or `cpu`: what is wanted, by default a GPU where there is one.

    Raises:
        SpecError: There is no GPU, or fewer than processes on this machine.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    device = wanted or ("cuda" if gpus else "cpu")
    if device == "cuda" and not gpus:
        raise SpecError("--device cuda: expected a GPU that torch can use, found none; leave the option out")
    if device == "cuda" and count > gpus:
        raise SpecError(
            f"--processes {count}: expected at most one for each of the {gpus} GPUs; start fewer, or take --device cpu"
        )
    return device


@contextmanager
def joined(device: str, count: int) -> Iterator[Processes]:
    """Join the other processes, which the environment of a launcher names, and leave them at the end.

    Args:
        device: `cpu` or `cuda`.
        count: Of all processes; with 1 the environment is not looked at.
    """
    if count == 1:
        yield Processes(device=torch.device(device))
        return
    from accelerate import PartialState  # takes seconds, and one process needs it not

    state = PartialState(cpu=device == "cpu", timeout=LONGEST_WAIT)
    yield Processes(number=state.process_index, count=state.num_processes, device=state.device)
    # Not where an error ends this process: the others may wait in a message that will never come.
    state.destroy_process_group()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """What a process is started with, beside its number."""

    job: Callable[..., None]
    arguments: tuple[Any, ...]
    count: int
    port: int
    threads: int


def launch(job: Callable[..., None], arguments: tuple[Any, ...], count: int) -> None:
    """Run a job in several processes of this machine, and end all of them when one fails.

    Args:
        job: A function of a module; it joins the others with `joined`.
        arguments: Of the job; pickle can send them.
        count: How many processes.
    Raises:
        HarnessError: The first that one of them raised.
        InterruptedRunError: One of them was killed.
    """
    errors = multiprocessing.get_context("spawn").SimpleQueue()
    threads = max(1, torch.get_num_threads() // count)
    start = _Start(job=job, arguments=arguments, count=count, port=_free_port(), threads=threads)
    started = start_processes(  # type: ignore[no-untyped-call]
        _run_as_one, args=(start, errors), nprocs=count, join=False, start_method="spawn"
    )
    try:
        while not started.join():
            pass
    except (ProcessRaisedException, ProcessExitedException) as error:
        if not errors.empty():
            raise errors.get() from None
        if isinstance(error, ProcessRaisedException):
            raise
        raise InterruptedRunError(
            f"process {error.error_index} of {count} was ended from outside ({error.signal_name or error.exit_code}); "
            "the same command goes on from the last state"
        ) from None
    finally:
        for process in started.processes:
            process.terminate()


def _run_as_one(number: int, start: _Start, errors: Any) -> None:
    """Run the job in a process that was just started."""
    places = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": start.count, "LOCAL_WORLD_SIZE": start.count}
    os.environ.update({name: str(value) for name, value in places.items()})
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(start.port), OMP_NUM_THREADS=str(start.threads))
    torch.set_num_threads(start.threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        start.job(*start.arguments)
    except HarnessError as error:
        errors.put(error)
        raise


def _end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, killed or not: nobody would hear of it any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
