"""Where the harness keeps what it can make again: manifests, drawn releases, digests, its copy of WordNet."""

import os
from pathlib import Path


def default_cache() -> Path:
    """Return the cache folder: `$MEDGROUND_CACHE`, else `~/.cache/medground`. It need not exist yet."""
    return Path(os.environ.get("MEDGROUND_CACHE") or Path.home() / ".cache" / "medground")
