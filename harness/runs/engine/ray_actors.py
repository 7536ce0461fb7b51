"""The Ray actors: workers, each in its own process, and the library that sends media to nodes without the files."""

import os
import platform
import shutil
import tempfile
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.imaging.volumes import packed
from harness.runs.engine.devices import device_record
from harness.runs.engine.worker import Finished, Worker, WorkerSetup

# Environment variable of a node with data roots of its own, separated as in PATH.
NODE_ROOTS = "MEDGROUND_DATA_ROOT"


class MediaLibrary:
    """The actor beside the driver that sends files of the release to nodes that have none."""

    def __init__(self, roots: tuple[Path, ...]) -> None:
        self.roots = [root.resolve() for root in roots]

    def read(self, path: str) -> bytes | None:
        """Return the bytes of a file below a root, or an archive of a folder of slices; None if there is neither."""
        for root in self.roots:
            file = (root / path).resolve()  # a path from another process must not leave the root
            if file.is_relative_to(root) and file.is_file():
                return file.read_bytes()
            if file.is_relative_to(root) and file.is_dir():
                return packed(file)
        return None


class Node:
    """The actor that holds one worker in a process of its own.

    It searches media below the node's own `MEDGROUND_DATA_ROOT`, then at the driver's paths, which may be on a shared
    file system, and last asks the driver's library for them.
    """

    def __init__(self, setup: WorkerSetup, library: Any) -> None:
        import ray

        own = [Path(root) for root in os.environ.get(NODE_ROOTS, "").split(os.pathsep) if root]
        spool = Path(tempfile.gettempdir()) / f"medground-media-{uuid.uuid4().hex}"

        def fetch(path: str) -> bytes | None:
            content: bytes | None = ray.get(library.read.remote(path))
            if content is not None:
                spool.mkdir(mode=0o700, exist_ok=True)
            return content

        self.spool = spool
        self.worker = Worker(replace(setup, roots=(*own, *setup.roots), spool=spool), fetch=fetch)

    def is_up(self) -> None:
        """Do nothing: a return says that the actor has a process, and is about to load."""

    def load(self) -> dict[str, Any]:
        """Load the model; return the versions that this process runs and its `device`, or the failure as `error`.

        The failure is returned, not raised: an exception whose class cannot be pickled would arrive as another one.
        """
        try:
            self.worker.load()
        except HarnessError as error:
            return {"error": str(error)}
        return {**versions(), "device": device_record(self.worker.setup.device)}

    def answer(self, requests: list[str]) -> list[Finished]:
        """Answer one batch."""
        return self.worker.answer(requests)

    def close(self) -> None:
        """Let the model end what it started, and remove the files that the driver sent."""
        self.worker.close()
        shutil.rmtree(self.spool, ignore_errors=True)


def versions() -> dict[str, str]:
    """Return the versions that must agree between driver and workers, by name."""
    from importlib import metadata

    return {name: metadata.version(name) for name in ("medground", "ray")} | {"python": platform.python_version()}
