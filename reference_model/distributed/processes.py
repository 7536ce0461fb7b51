"""Several processes that train one model together.

Every process holds the model, trains on its share of the rows of a step and averages its gradients with the others.
accelerate chooses the device and the backend: gloo between CPUs, nccl between GPUs.
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

# How long processes wait for one another: the first may have to prepare a large release before the others can continue,
# and torch's default limit is half an hour at most.
LONGEST_WAIT = timedelta(hours=12)
# Most gradient values per all-reduce: few messages, and a buffer of 64 MiB in single precision.
BUCKET = 1 << 24
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """One process and its communication with the others; by default a single process.

    Attributes:
        number: The rank of this process, from 0.
        count: The number of processes.
        device: The device of this process.
    """

    number: int = 0
    count: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.number == 0

    def own(self, parts: int) -> range:
        """Return the numbers of the parts of this process; `parts` is a multiple of `count`."""
        each = parts // self.count
        return range(self.number * each, (self.number + 1) * each)

    def wait(self) -> None:
        """Return when all processes have called this."""
        if self.count > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()

    @contextmanager
    def first_ahead(self) -> Iterator[None]:
        """Run the body in the first process, then in the others, which find its results on disk."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()

    def total(self, values: Sequence[float]) -> list[float]:
        """Return the sums over all processes, number by number."""
        if self.count == 1:
            return list(values)
        # In double precision, so that counts of tokens stay whole numbers.
        summed = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(summed)
        found: list[float] = summed.tolist()
        return found

    def as_first_says(self, flag: bool) -> bool:
        """Return the flag of the first process, in all processes."""
        # Clocks differ: if each decided for itself whether a state is due, some would wait forever.
        return self.total([float(flag and self.first)])[0] > 0

    def average_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replace every gradient by its mean over all processes; a missing gradient counts as zeros.

        A parameter without a gradient in any process gets none, so that the optimizer skips it as in a single
        process.

        Args:
            parameters: The same in all processes and in the same order, of any shape and dtype.
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
    """Yield the tensors in order, in groups of at least one tensor and otherwise at most `BUCKET` values."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(one.numel() for one in bucket) + tensor.numel() > BUCKET:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


def choose_device(wanted: str | None, count: int) -> str:
    """Return `cuda` or `cpu`: the wanted device, by default a GPU if available.

    Raises:
        SpecError: `cuda` is wanted without a GPU, or there are fewer GPUs than processes.
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
    """Join the process group described by the launcher's environment variables, and leave it at the end.

    Args:
        device: `cpu` or `cuda`.
        count: The number of processes; with 1 the environment is not read.
    """
    if count == 1:
        yield Processes(device=torch.device(device))
        return
    from accelerate import PartialState  # takes seconds to import, and a single process does not need it

    state = PartialState(cpu=device == "cpu", timeout=LONGEST_WAIT)
    yield Processes(number=state.process_index, count=state.num_processes, device=state.device)
    # Not after an error: the others may be waiting for a message that will never come.
    state.destroy_process_group()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """The arguments that all started processes share."""

    job: Callable[..., None]
    arguments: tuple[Any, ...]
    count: int
    port: int
    threads: int


def launch(job: Callable[..., None], arguments: tuple[Any, ...], count: int) -> None:
    """Run a job in several processes of this machine, and end all of them when one fails.

    Args:
        job: A module-level function, which joins the others with `joined`.
        arguments: The arguments of the job, which must be picklable.
        count: The number of processes.
    Raises:
        HarnessError: The first one that a process raised.
        InterruptedRunError: A process was killed.
    """
    errors = multiprocessing.get_context("spawn").SimpleQueue()
    # If every process used all cores, they would slow one another down.
    threads = max(1, torch.get_num_threads() // count)
    with socket.socket() as one:  # port 0: the system chooses a free port
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    start = _Start(job=job, arguments=arguments, count=count, port=port, threads=threads)
    # "spawn": a forked process would inherit torch's locks in whatever state they are, without its threads.
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
            "the same command resumes from the last checkpoint"
        ) from None
    finally:
        for process in started.processes:
            process.terminate()


def _run_as_one(number: int, start: _Start, errors: Any) -> None:
    """Run the job in a newly started process."""
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
    """End this process as soon as its parent is gone, for whatever reason."""
    # An orphan would run on: nobody ends it, and SIGINT may be ignored, as in background jobs of shell scripts.
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)
