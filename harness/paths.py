"""Where the harness keeps what it can make again: manifests, drawn releases, digests, its copy of WordNet."""

import os
from pathlib import Path


def default_cache() -> Path:
    """Return the cache folder: `$MEDGROUND_CACHE`, else `~/.cache/medground`. It need not exist yet."""
    return Path(os.environ.get("MEDGROUND_CACHE") or Path.home() / ".cache" / "medground")


def packaged_folder() -> Path:
    """Return the folder of the tasks that come with the harness, installed or in its repository."""
    here = Path(__file__).parent
    installed = here / "task_files"
    return installed if installed.is_dir() else here.parent / "tasks"
