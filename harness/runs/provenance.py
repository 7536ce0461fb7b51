"""The provenance of a run's numbers: the command, the versions and the hardware of each session."""

import os
import platform
import subprocess
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from harness.models.secrets import masked_words
from harness.paths import without_home
from harness.records import Json

# Packages whose version may move a number or the speed of a run.
PACKAGES = (
    "medground",
    "numpy",
    "scipy",
    "pycocotools",
    "pyarrow",
    "pillow",
    "scikit-image",
    "ray",
    "torch",
    "transformers",
)


def session_record(command: Sequence[str], *, gpus: int, secrets: Sequence[str] = ()) -> dict[str, Json]:
    """Return one line of `sessions.jsonl`: the command, versions and hardware, without user, host and secrets.

    Args:
        command: The words of the command line.
        gpus: GPUs of this machine.
        secrets: Secrets among the model's arguments.
    """
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": [masked_words(without_home(word), secrets) for word in command],
        "git": _git_commit(),
        "python": platform.python_version(),
        "packages": _versions(),
        "hardware": {"machine": platform.machine(), "cpus": os.cpu_count(), "gpus": gpus},
    }


def _git_commit() -> str | None:
    """Return the commit of the harness's own checkout, `-dirty` added if it was changed; None for a wheel."""
    here = Path(__file__).parents[1]

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, timeout=10, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        # Not of the working folder: the harness may be run inside a repository of the user's.
        commit = git("rev-parse", "HEAD")
        return (commit + ("-dirty" if git("status", "--porcelain", "--", str(here)) else "")) or None
    except (OSError, subprocess.TimeoutExpired):
        return None


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
