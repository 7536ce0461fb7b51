"""The connection to Ray: environment variables, the log, and a check of the cluster's resources."""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from harness.errors import SpecError
from harness.runs.engine.deadlines import DEADLINES, Overdue
from harness.runs.engine.devices import NodeResources, Wanted, gpus_here, settled

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
# Bytes of a socket's path that Linux allows, and what Ray adds to its folder.
MOST_SOCKET, SOCKET_BELOW = 107, "/ray/session_2026-11-29_15-34-08_123456_{pid}/sockets/plasma_store"
MOST_PORT = 65_535
SECONDS_TO_ANSWER = 5.0
SECONDS_TO_CONNECT, SECONDS_TO_START = 10.0, 300.0
SHARED_MEMORY = Path("/dev/shm")
# The least that Ray allocates for its object store, by default there; with less it may take files instead, with next to
# nothing it does not start, and says so after a minute.
OBJECT_STORE_BYTES, LEAST_SHARED = 75 * 2**20, 8 * 2**20
# Without it Ray replaces 127.0.0.1 by the machine's own address and listens on all interfaces.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """Where to run on Ray, with how many workers and which resources.

    Attributes:
        address: `local`, or the address of a running cluster.
        wanted: Copies of the model, and CPUs and GPUs of each; numbers once the cluster is known.
        timeout: Seconds per sample.
        failures: Number of failures that are allowed.
        log: File for the output of Ray.
        batch_invariant: Whether a batch may be split when it is put back the first time.
    """

    address: str
    wanted: Wanted
    timeout: float
    failures: int
    log: Path
    batch_invariant: bool

    @property
    def workers(self) -> int:
        """Copies of the model; 1 until the cluster is known if their number depends on it."""
        return self.wanted.workers or 1

    @property
    def max_deaths(self) -> int:
        """Number of actors that may die, or be killed for not returning, before the run stops."""
        # A sample that no actor survives costs TRIES actors, and up to as many again before it is alone in its batch.
        return 10 + 4 * self.workers + 6 * self.failures


def ray_is_installed() -> bool:
    """Say whether ray can be imported, without importing it."""
    return importlib.util.find_spec("ray") is not None


def first_lines(text: str) -> str:
    """Return the first 300 characters of a text as one line; Ray's messages have many lines."""
    return " ".join(text.split())[:300]


@contextlib.contextmanager
def connected(options: ClusterOptions) -> Iterator[tuple[Any, ClusterOptions]]:
    """Yield the ray module, connected, and the options with what the cluster settles; what Ray prints goes to the log.

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
    check_address(options.address)
    # Ray's thread for errors of workers prints on sys.stdout whatever its options say; results go there, too.
    with options.log.open("a", encoding="utf-8") as log, contextlib.redirect_stdout(log):
        if ray.is_initialized():
            yield ray, _settled(ray, options)  # a connection that others made stays open
            return
        with _sigterm_kept():
            try:
                _connect(ray, options, log)
                yield ray, _settled(ray, options)
            finally:
                with _native_lines_in(log):
                    ray.shutdown()


@contextlib.contextmanager
def _native_lines_in(log: TextIO) -> Iterator[None]:
    """Send to the log what Ray's native code writes to stdout and stderr, which no option of Ray keeps away."""
    log.flush()
    kept: dict[int, int] = {}
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # a daemon without these files
            kept[descriptor] = os.dup(descriptor)
            os.dup2(log.fileno(), descriptor)
    try:
        with contextlib.redirect_stderr(log):
            yield
    finally:
        log.flush()
        for descriptor, copy in kept.items():
            os.dup2(copy, descriptor)
            os.close(copy)


def check_address(address: str) -> None:
    """Check that a local Ray can make its sockets, or that something listens at the address of a cluster.

    It is asked before anything is prepared; Ray itself would try for minutes.

    Raises:
        SpecError: It is no address, nothing answers there, the folder of temporary files has too long a path, or no
            shared memory is left.
    """
    if address == "local":
        folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
        length = len(os.fsencode(folder)) + len(SOCKET_BELOW.format(pid=os.getpid()))
        if length > MOST_SOCKET:
            raise SpecError(
                f"--ray local: {folder}: Ray's sockets below it would have paths of {length} bytes; expected at most "
                f"{MOST_SOCKET}; set RAY_TMPDIR to a shorter path, such as /tmp"
            )
        if SHARED_MEMORY.is_dir() and (free := shutil.disk_usage(SHARED_MEMORY).free) < LEAST_SHARED:
            raise SpecError(
                f"--ray local: {SHARED_MEMORY} has {free // 2**20} MiB left, where Ray's processes share memory; "
                f"expected at least {LEAST_SHARED // 2**20} MiB; make room there"
            )
        return
    plain = address.removeprefix("ray://")
    host, colon, port = plain.rpartition(":")
    if address == "auto" or "://" in plain:
        return
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port[:9]) > MOST_PORT:
        raise SpecError(f"--ray {address}: expected local, auto, off or HOST:PORT, such as 10.0.0.1:6379")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_ANSWER).close()
    except (OSError, UnicodeError) as error:
        reason = "no answer" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or str(error)
        raise SpecError(f"--ray {address}: cannot connect: {reason}; is a cluster running there?") from error


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
    far = options.address != "local"
    # A machine without a free core takes most of a minute to start Ray; a cluster that runs is there or is not.
    seconds = SECONDS_TO_CONNECT if far else SECONDS_TO_START
    late = Overdue(words=f"--ray {options.address}: no Ray within {seconds:g} s; see {options.log}", code=2)
    try:
        with _native_lines_in(log), DEADLINES.within(seconds, late, alone=False):
            if far:
                del quiet["include_dashboard"]
                ray.init(address=options.address, **quiet)
            else:
                cpus = max(os.cpu_count() or 1, round(options.workers * options.wanted.resources.cpus))
                # As many GPUs as the harness counts; where it finds none, Ray looks by other means.
                gpus = gpus_here() or None
                # Without the address Ray would attach to any cluster that already runs on this machine.
                ray.init(address="local", num_cpus=cpus, num_gpus=gpus, _node_ip_address="127.0.0.1", **quiet)
    # Of any class: a socket's path that is too long is an OSError, a full /dev/shm whatever the raylet died of.
    except Exception as error:
        remedy = "" if far else _remedy(str(error))
        raise SpecError(
            f"--ray {options.address}: cannot {'connect' if far else 'start'}: {first_lines(str(error))}{remedy}; see "
            f"{options.log}"
        ) from error


def _remedy(error: str) -> str:
    """Return what to do about an error of a Ray that starts on this machine; empty if the error says it itself."""
    if "AF_UNIX" in error or "107 bytes" in error:
        return ". Set RAY_TMPDIR to a shorter path, such as /tmp"
    free = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else OBJECT_STORE_BYTES
    if free < OBJECT_STORE_BYTES:
        return (
            f". {SHARED_MEMORY} has {free // 2**20} MiB left, Ray wants {OBJECT_STORE_BYTES // 2**20}: make room there"
        )
    return ""


def _settled(ray: Any, options: ClusterOptions) -> ClusterOptions:
    """Return the options with the number of workers and of the GPUs of each, by what the cluster has.

    Asked before anything starts, because an actor that no node can hold stays pending for ever.

    Raises:
        SpecError: There is no room for them.
    """
    alive = [node.get("Resources", {}) for node in ray.nodes() if node.get("Alive", True)]
    nodes = [NodeResources(cpus=each.get("CPU", 0.0), gpus=each.get("GPU", 0.0)) for each in alive]
    gpus, cpus = sum(node.gpus for node in nodes), sum(node.cpus for node in nodes)
    count = f"{len(nodes)} node{'' if len(nodes) == 1 else 's'}"
    seen = f"Ray sees {gpus:g} GPU{'' if gpus == 1 else 's'} and {cpus:g} CPUs on {count}"
    workers, resources = settled(options.wanted, nodes, seen)
    return replace(options, wanted=replace(options.wanted, workers=workers, resources=resources, gpus_per_worker=None))
