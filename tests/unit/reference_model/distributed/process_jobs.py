"""What the tests let several processes do; every process imports it by name."""

import copy
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from harness.errors import SpecError
from reference_model.distributed.processes import joined

LONG = 120.0
"""Seconds that a process would sleep were it not ended."""


def talk_and_train(makes: list[Callable[..., Any]], number: int) -> None:
    """Check what processes tell each other, then run one stage of every run, to its end or until it is cut short."""
    with joined("cpu", 2) as processes:
        assert processes.total([1.0, processes.number]) == [2.0, 1.0]
        assert processes.as_first_says(processes.first)
        assert not processes.as_first_says(not processes.first)
        both, one, none = (torch.nn.Parameter(torch.zeros(2)) for _ in range(3))
        both.grad = torch.full((2,), float(processes.number))
        one.grad = torch.ones(2) if processes.first else None
        processes.average_gradients([both, one, none])
        assert [None if p.grad is None else p.grad.tolist() for p in (both, one, none)] == [[0.5] * 2, [0.5] * 2, None]
        check_muon_of_spread_matrices()
        for make in makes:
            with suppress(KeyboardInterrupt):
                make(processes=processes, notice=print).stages([number])


def check_muon_of_spread_matrices() -> None:
    """Check that a spread matrix gets the step of the whole one, up to the 16 bits in which Muon computes it."""
    # Imported here: most jobs need none of them, and every process that a test starts would take the time.
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    from reference_model.distributed.fsdp import gathered
    from reference_model.training.optimizers import MuonAndAdamW

    torch.manual_seed(0)
    whole, x_BD = torch.nn.Linear(8, 6), torch.randn(5, 8)
    spread = copy.deepcopy(whole)
    begun = whole.weight.detach().clone()
    fully_shard(spread, mesh=init_device_mesh("cpu", (2,)))
    for module in (whole, spread):
        optimizer = MuonAndAdamW([module.weight], {"bias": module.bias})
        module(x_BD).square().mean().backward()
        optimizer.param_groups[0]["lr"] = 1.0
        optimizer.step()
    torch.testing.assert_close(gathered(spread.weight.detach()), whole.weight.detach(), atol=1e-2, rtol=0.0)
    assert (whole.weight.detach() - begun).abs().max() > 0.1


def tell_and_sleep(folder: Path) -> None:
    """Leave the number of this process in a folder, and wait for nothing."""
    (folder / str(os.getpid())).touch()
    time.sleep(LONG)


def refuse_in_one() -> None:
    """Raise what a user can mend in one process, while the other waits for it."""
    if os.environ["RANK"] == "1":
        raise SpecError("process 1 does not want to")
    time.sleep(LONG)


def be_killed_in_one() -> None:
    """Be killed in one process, while the other waits for it."""
    if os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(LONG)


def fail_in_one() -> None:
    """Fail in one process as only a fault of ours does."""
    if os.environ["RANK"] == "1":
        raise ZeroDivisionError("a fault of ours")
    time.sleep(LONG)
