"""The connection to Ray: environment variables, the log, and a check of the cluster's resources."""

import contextlib
import importlib.util
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from harness.errors import SpecError
from harness.records import Resources

# Environment variables that Ray reads when it is imported.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Under `uv run` Ray would copy the working folder and restart the workers in it: relative paths break.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # Lines about scheduling, which Ray prints on stdout after ten seconds of waiting.
    "RAY_SCHEDULER_EVENTS": "0",
    # Leave CUDA_VISIBLE_DEVICES as it is for actors without GPUs; Ray warns that this will be its default.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
# Without it Ray replaces 127.0.0.1 by the machine's own address and listens on all interfaces.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """Where to run on Ray, with how many workers and which resources.

    Attributes:
        address: `local`, or the address of a running cluster.
        workers: Copies of the model.
        resources: CPUs and GPUs of one copy.
        timeout: Seconds per sample.
        max_deaths: Number of actors that may die, or be killed for not returning, before the run stops.
        log: File for the output of Ray.
        batch_invariant: Whether a batch may be split when it is put back the first time.
    """

    address: str
    workers: int
    resources: Resources
    timeout: float
    max_deaths: int
    log: Path
    batch_invariant: bool


def ray_is_installed() -> bool:
    """Say whether ray can be imported, without importing it."""
    return importlib.util.find_spec("ray") is not None


def gpus_here() -> int:
    """Return how many NVIDIA GPUs this process can see, without loading a library: importing torch takes seconds."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    return sum(path.name.removeprefix("nvidia").isdigit() for path in Path("/dev").glob("nvidia*"))


def first_lines(text: str) -> str:
    """Return the first 300 characters of a text as one line; Ray's messages have many lines."""
    return " ".join(text.split())[:300]


@contextlib.contextmanager
def connected(options: ClusterOptions) -> Iterator[Any]:
    """Yield the ray module, connected; everything Ray prints goes to the log.

    Raises:
        SpecError: ray is not installed, or the cluster cannot be reached or lacks the resources.
    """
    for name, value in (QUIET | (LOOPBACK if options.address == "local" else {})).items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise SpecError("--ray: ray is not installed; pip install 'medground[ray]', or use --ray off") from None
    options.log.parent.mkdir(parents=True, exist_ok=True)
    # Ray's thread for errors of workers prints on sys.stdout whatever its options say; results go there, too.
    with options.log.open("a", encoding="utf-8") as log, contextlib.redirect_stdout(log):
        if ray.is_initialized():
            _check_resources(ray, options)
            yield ray  # a connection that others made stays open
            return
        with _sigterm_kept():
            try:
                _connect(ray, options, log)
                _check_resources(ray, options)
                yield ray
            finally:
                ray.shutdown()


@contextlib.contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Put back the handler of SIGTERM, which Ray replaces by its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _connect(ray: Any, options: ClusterOptions, log: TextIO) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
    try:
        with contextlib.redirect_stderr(log):
            if options.address == "local":
                cpus = max(os.cpu_count() or 1, round(options.workers * options.resources.cpus))
                # Without the address Ray would attach to any cluster that already runs on this machine.
                ray.init(address="local", num_cpus=cpus, _node_ip_address="127.0.0.1", **quiet)
            else:
                del quiet["include_dashboard"]
                ray.init(address=options.address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise SpecError(
            f"--ray {options.address}: cannot connect: {first_lines(str(error))}; see {options.log}"
        ) from error


def _check_resources(ray: Any, options: ClusterOptions) -> None:
    # Asked first, because an actor that no node can hold stays pending for ever.
    cluster = ray.cluster_resources()
    for name, each in (("GPU", options.resources.gpus), ("CPU", options.resources.cpus)):
        wanted, available = each * options.workers, cluster.get(name, 0.0)
        if wanted > available:
            raise SpecError(
                f"--workers {options.workers} with {each:g} {name}s each need {wanted:g} {name}s; the cluster has "
                f"{available:g}. Lower --workers{' or --gpus-per-worker' if name == 'GPU' else ''}."
            )
