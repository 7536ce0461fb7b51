"""The folders of the harness: its cache and the task files that come with it.

The cache holds only what can be made again: manifests, releases of synthetic patients, digests, a copy of WordNet.
"""

import os
from pathlib import Path

from harness.errors import SpecError


def default_cache() -> Path:
    """Return the cache folder, which need not exist yet.

    It is `$MEDGROUND_CACHE`, or else `$XDG_CACHE_HOME/medground`, or else `~/.cache/medground`.

    Raises:
        SpecError: Neither variable is set and this user has no home, as in a container with an unknown user id.
    """
    if own := os.environ.get("MEDGROUND_CACHE"):
        return Path(own)
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if shared.is_absolute():  # the XDG specification has relative paths ignored
        return shared / "medground"
    home = home_folder()
    if home is None:
        raise SpecError("the cache has no place: this user has no home; set MEDGROUND_CACHE to a folder, or HOME")
    return home / ".cache" / "medground"


def home_folder() -> Path | None:
    """Return the user's home; None if there is none, as for a user id without a name where HOME is not set."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def lend_home() -> None:
    """Let the cache be the home of a user who has none: several libraries, nltk among them, cannot be imported without.

    Nothing happens if the user has a home, or no place for the cache either, which is said where the cache is needed.
    """
    own, shared = os.environ.get("MEDGROUND_CACHE"), os.environ.get("XDG_CACHE_HOME", "")
    if (own or Path(shared).is_absolute()) and home_folder() is None:
        os.environ["HOME"] = str(default_cache())


def without_home(text: str) -> str:
    """Return a text with the user's home, which holds their name, written as `~`: for what leaves this machine."""
    home = str(home_folder() or "")
    # A user without a home of their own, as in many containers, has "/", which is part of every path.
    return text.replace(home, "~") if len(home) > 1 else text


def packaged_folder() -> Path:
    """Return the folder of the task files that come with the harness."""
    here = Path(__file__).parent
    # The wheel packs `tasks/` into the package under this name; in a checkout it lies beside the package.
    installed = here / "task_files"
    return installed if installed.is_dir() else here.parent / "tasks"
