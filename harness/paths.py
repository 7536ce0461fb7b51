"""The folders of the harness: its cache and the task files that come with it.

The cache holds only what can be made again: manifests, releases of synthetic patients, digests, a copy of WordNet.
"""

import os
from pathlib import Path


def default_cache() -> Path:
    """Return the cache folder, `$MEDGROUND_CACHE` or else `~/.cache/medground`; it need not exist yet."""
    return Path(os.environ.get("MEDGROUND_CACHE") or Path.home() / ".cache" / "medground")


def packaged_folder() -> Path:
    """Return the folder of the task files that come with the harness."""
    here = Path(__file__).parent
    # The wheel packs `tasks/` into the package under this name; in a checkout it lies beside the package.
    installed = here / "task_files"
    return installed if installed.is_dir() else here.parent / "tasks"
