"""Which device each copy of a model gets: settled before one is loaded, and said of each worker."""

import sys
from collections.abc import Sequence
from math import inf
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.errors import SpecError
from harness.records import Resources
from harness.runs.engine import devices
from harness.runs.engine.devices import (
    NodeResources,
    Wanted,
    device_of,
    device_record,
    gpus_here,
    seen_here,
    settled,
)

ONE_OF_FOUR = [NodeResources(cpus=16, gpus=4)]
TWO_OF_ONE = [NodeResources(cpus=4, gpus=1), NodeResources(cpus=4, gpus=1)]
CPUS_ONLY = [NodeResources(cpus=8, gpus=0)]


def share(
    nodes: Sequence[NodeResources],
    *,
    gpus: float | None = None,
    cpus: float = 1,
    option: float | None = None,
    workers: int | None = None,
) -> tuple[int, float]:
    wanted = Wanted(resources=Resources(cpus=cpus, gpus=gpus), gpus_per_worker=option, workers=workers)
    count, resources = settled(wanted, nodes, "Ray sees what it sees")
    assert resources.gpus is not None
    return count, resources.gpus


@pytest.mark.parametrize(
    ("nodes", "more", "expected"),
    [
        # A model that can use a GPU gets one, and as many copies as there are GPUs.
        (ONE_OF_FOUR, {}, (4, 1)),
        (TWO_OF_ONE, {}, (2, 1)),
        (CPUS_ONLY, {}, (1, 0)),
        (CPUS_ONLY, {"workers": 3}, (3, 0)),
        (ONE_OF_FOUR, {"workers": 2}, (2, 1)),
        ([NodeResources(cpus=2, gpus=4)], {}, (2, 1)),
        # A model that has no use for one stays on the CPU.
        (ONE_OF_FOUR, {"gpus": 0}, (1, 0)),
        (ONE_OF_FOUR, {"gpus": 0, "workers": 8}, (8, 0)),
        # More than one, or a part of one.
        (ONE_OF_FOUR, {"gpus": 2}, (2, 2)),
        (ONE_OF_FOUR, {"option": 0.5}, (4, 0.5)),
        (ONE_OF_FOUR, {"option": 0.1, "workers": 40, "cpus": 0.1}, (40, 0.1)),
        # The option is stronger than the model.
        (ONE_OF_FOUR, {"gpus": 2, "option": 0}, (1, 0)),
        (ONE_OF_FOUR, {"gpus": 0, "option": 1}, (4, 1)),
        ([NodeResources(cpus=inf, gpus=0)], {"workers": 99}, (99, 0)),
    ],
)
def test_copies_and_gpus_are_settled(
    nodes: Sequence[NodeResources], more: dict[str, float], expected: tuple[int, float]
) -> None:
    assert share(nodes, **more) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("nodes", "more", "message"),
    [
        (
            CPUS_ONLY,
            {"option": 1},
            "--gpus-per-worker 1: Ray sees what it sees; --gpus-per-worker 0 runs a model on the CPU",
        ),
        (CPUS_ONLY, {"option": 0.5}, "--gpus-per-worker 0.5: Ray sees what it sees; --gpus-per-worker 0 runs"),
        (CPUS_ONLY, {"gpus": 1}, "the model asks for 1 GPUs a copy: Ray sees what it sees; --gpus-per-worker 0 runs"),
        # No node holds a copy, though the cluster has as many GPUs in all.
        (TWO_OF_ONE, {"option": 2, "workers": 1}, "--gpus-per-worker 2: Ray sees what it sees; expected at most 1"),
        (TWO_OF_ONE, {"gpus": 2}, "the model asks for 2 GPUs a copy: Ray sees what it sees; expected at most 1"),
        (TWO_OF_ONE, {"cpus": 5}, "--workers 1 with 5 CPUs and 1 GPU each: Ray sees what it sees, room for 0."),
        (
            TWO_OF_ONE,
            {"workers": 3},
            "--workers 3 with 1 CPU and 1 GPU each: Ray sees what it sees, room for 2. Lower --workers; "
            "--gpus-per-worker 0 runs a model on the CPU.",
        ),
        (TWO_OF_ONE, {"workers": 5, "option": 0.5}, "room for 4. Lower --workers or --gpus-per-worker; --gpus-per-w"),
        (CPUS_ONLY, {"workers": 9}, "--workers 9 with 1 CPU each: Ray sees what it sees, room for 8. Lower --workers."),
    ],
)
def test_what_no_machine_has_is_refused(nodes: Sequence[NodeResources], more: dict[str, float], message: str) -> None:
    with pytest.raises(SpecError) as raised:
        share(nodes, **more)  # type: ignore[arg-type]
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("visible", "count"), [("0,1", 2), ("", 0), ("-1", 0), ("GPU-8f7a , GPU-13bc", 2), ("0,,1", 2)]
)
def test_the_gpus_that_this_process_may_use_are_counted(
    monkeypatch: pytest.MonkeyPatch, visible: str, count: int
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus_here() == count
    assert seen_here(count).endswith(f"GPU{'' if count == 1 else 's'} (CUDA_VISIBLE_DEVICES={visible!r})")


def test_without_a_word_in_the_environment_devices_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("nvidia0", "nvidia11", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.setattr(devices, "Path", lambda _: tmp_path)
    assert gpus_here() == 2
    assert seen_here(2) == "this machine has 2 GPUs (/dev/nvidia*)"
    assert seen_here(0) == "this machine has 0 GPUs (no /dev/nvidia0)"


def test_a_worker_says_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_of(Resources(gpus=0.5)) == "cuda:0"
    assert device_of(Resources(gpus=0)) == "cpu"
    assert device_record("cpu") == {"device": "cpu", "gpus": [], "gpu": None}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert device_record("cuda:0") == {"device": "cuda:0", "gpus": ["3"], "gpu": None}
    cuda = SimpleNamespace(is_available=lambda: True, get_device_name=lambda _: "NVIDIA H200")
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert device_record("cuda:0") == {"device": "cuda:0", "gpus": ["3"], "gpu": "NVIDIA H200"}
