"""Installation of WordNet into the harness's cache: from nltk's download, or else from Debian's package, unpacked."""

import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

from harness.errors import DataError
from harness.text import wordnet
from harness.text.wordnet import WordNetFolder

PACKAGE = "wordnet-base"
_SECONDS = 300  # for one command
_KNOWN_SYNONYMS = ("tumor", "neoplasm")  # a word and one of its synonyms, by which a new copy is checked


def set_up(cache_folder: Path, say: Callable[[str], None]) -> WordNetFolder:
    """Return the WordNet of this machine, after installing it into the cache if it is missing.

    Only the folder `wordnet` of the cache is written, in one step, with no more than the user's own rights.

    Args:
        cache_folder: The cache of the harness.
        say: Called with one line of text on what was done.
    Raises:
        DataError: No source could provide it; the message gives the reason of each.
    """
    there = wordnet.find(cache_folder)
    if there is not None:
        say(f"WordNet: is already at {there.path} ({there.origin}); nothing done")
        return there
    cache_folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for source, fetch in (("nltk's download", _from_nltk), (f"Debian's package {PACKAGE}", _from_debian)):
        with tempfile.TemporaryDirectory(dir=cache_folder, prefix="wordnet-") as folder:
            try:
                place = _keep(fetch(Path(folder)), cache_folder)
            except (OSError, ValueError, DataError, subprocess.SubprocessError) as error:
                failures.append(f"{source}: {error}")
                continue
        say(f"WordNet: brought to {place.path} from {source}")
        return place
    raise DataError(
        f"WordNet could not be brought to {cache_folder}; {'; '.join(failures)}. Copy its files data.*, index.* "
        f"and *.exc to {cache_folder / wordnet.FOLDER}, or install Debian's package {PACKAGE}"
    )


def _from_nltk(folder: Path) -> WordNetFolder:
    """Return the WordNet that nltk's own downloader puts into `folder`."""
    from nltk.downloader import Downloader

    with redirect_stderr(io.StringIO()):  # the downloader also prints the errors that it raises
        Downloader().download("wordnet", download_dir=str(folder), quiet=True, raise_on_error=True)
    corpora = folder / "corpora"
    found = (WordNetFolder("nltk data", path) for path in (corpora / wordnet.FOLDER, corpora / f"{wordnet.FOLDER}.zip"))
    return _complete(next((place for place in found if place.path.exists()), None))


def _from_debian(folder: Path) -> WordNetFolder:
    """Return the WordNet of Debian's package, downloaded and unpacked below `folder`."""
    # Unpacked rather than installed, which would need the rights of root.
    _run("apt-get", "download", PACKAGE, folder=folder)
    archive = next(folder.glob("*.deb"), None)
    if archive is None:
        raise DataError("apt-get download brought no package")
    _run("dpkg-deb", "--extract", archive.name, "unpacked", folder=folder)
    return _complete(WordNetFolder("Debian", folder / "unpacked" / wordnet.DEBIAN.relative_to("/")))


def _run(*words: str, folder: Path) -> None:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode:
        raise DataError(
            f"{' '.join(words[:2])} ended with {done.returncode}: {done.stderr.strip()[-200:] or 'no word'}"
        )


def _complete(place: WordNetFolder | None) -> WordNetFolder:
    if place is None or not place.is_complete():
        raise DataError("nothing came, or not all of its files")
    return place


def _keep(place: WordNetFolder, cache_folder: Path) -> WordNetFolder:
    """Copy `place` into the cache and return the copy, after checking that it can be read."""
    # Copied beside its final place first, so that an interrupted copy is never taken for WordNet.
    kept = WordNetFolder("cache", cache_folder / wordnet.FOLDER)
    with tempfile.TemporaryDirectory(dir=cache_folder, prefix="wordnet-") as folder:
        copy = Path(folder) / wordnet.FOLDER
        copy.mkdir()
        for name in wordnet.FILES:
            (copy / name).write_bytes(place.read(name))
        shutil.rmtree(kept.path, ignore_errors=True)
        copy.replace(kept.path)
    word, synonym = _KNOWN_SYNONYMS
    if synonym not in wordnet.open_word_net(kept).synonyms(word):
        raise DataError(f"{kept.path} does not know that {word} is a {synonym}")
    return kept
