"""WordNet: its place on this machine, its version, and its synonyms. Nothing in this module writes a file.

It is searched in nltk's data path, in the harness's cache (where `harness doctor --fix` puts it) and in the folder of
Debian's package wordnet-base. In each place it is read through nltk's reader.
"""

import hashlib
import io
import re
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.errors import DataError

DEBIAN = Path("/usr/share/wordnet")
FOLDER = "wordnet"  # both below the cache and inside nltk's archive

_PARTS = ("noun", "verb", "adj", "adv")
# The files that synonyms need. nltk's reader also asks for `lexnames`, which Debian's package lacks; see `reader`.
FILES = tuple(pattern.format(part) for part in _PARTS for pattern in ("data.{}", "index.{}", "{}.exc"))

_LEXICOGRAPHER_FILES = 45  # WordNet 3.0, man page lexnames(5WN)
_VERSION = re.compile(rb"WordNet (\d+(?:\.\d+)?) Copyright")


@dataclass(frozen=True, slots=True)
class WordNetFolder:
    """A complete WordNet on this machine.

    Attributes:
        origin: `nltk data`, `cache` or `Debian`.
        path: The folder that holds its files, or nltk's zip archive.
    """

    origin: str
    path: Path

    def read(self, name: str) -> bytes:
        """Return the bytes of one of its files."""
        if self.path.suffix != ".zip":
            return (self.path / name).read_bytes()
        with zipfile.ZipFile(self.path) as archive:
            return archive.read(f"{FOLDER}/{name}")

    def is_complete(self) -> bool:
        """Return whether all `FILES` are there; a damaged archive counts as empty."""
        if self.path.suffix != ".zip":
            return all((self.path / name).is_file() for name in FILES)
        try:
            with zipfile.ZipFile(self.path) as archive:
                return {f"{FOLDER}/{name}" for name in FILES} <= set(archive.namelist())
        except (OSError, zipfile.BadZipFile):
            return False


def find(cache_folder: Path) -> WordNetFolder | None:
    """Return the first complete WordNet in nltk's data path, the cache or Debian's folder; None without any."""
    return next((place for place in _places(cache_folder) if place.is_complete()), None)


def _places(cache_folder: Path) -> Iterator[WordNetFolder]:
    import nltk.data

    for folder in nltk.data.path:
        corpora = Path(folder).expanduser() / "corpora"
        yield WordNetFolder("nltk data", corpora / FOLDER)
        yield WordNetFolder("nltk data", corpora / f"{FOLDER}.zip")
    yield WordNetFolder("cache", cache_folder / FOLDER)
    yield WordNetFolder("Debian", DEBIAN)


@cache
def identity(place: WordNetFolder) -> dict[str, str]:
    """Return the provenance of a METEOR score: the version that WordNet states and a digest of `FILES`.

    The digest is computed from names and bytes, so that it does not depend on the files' place.
    """
    digest = hashlib.sha256()
    for name in sorted(FILES):
        digest.update(f"{name} {hashlib.sha256(place.read(name)).hexdigest()}\n".encode())
    version = _VERSION.search(place.read("data.adj"))
    return {"wordnet": version.group(1).decode() if version else "unknown", "digest": digest.hexdigest()}


class WordNet:
    """Synonyms as nltk's METEOR uses them; each word is searched in WordNet once."""

    def __init__(self, reader: Any) -> None:
        self.reader = reader
        self._known: dict[str, frozenset[str]] = {}

    def synonyms(self, word: str) -> frozenset[str]:
        """Return all one-word lemmas of all synsets of `word`, as spelt in WordNet; empty for an unknown word.

        Inflected words are found by WordNet's own rules and exception lists. Lemmas of several words are left out.
        """
        found = self._known.get(word)
        if found is None:
            names = (name for synset in self.reader.synsets(word) for name in synset.lemma_names())
            found = self._known[word] = frozenset(name for name in names if "_" not in name)
        return found


@cache
def open_word_net(place: WordNetFolder) -> WordNet:
    """Return the WordNet at `place`, which is read once per process.

    Raises:
        DataError: The files cannot be read as WordNet.
    """
    import nltk.data
    from nltk.corpus.reader.wordnet import WordNetError

    if place.origin != "nltk data" and str(place.path) not in nltk.data.path:
        nltk.data.path.append(str(place.path))  # nltk reads only files below its data path
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nltk warns that other languages are missing, and we use none
            return WordNet(_reader(place))
    except (OSError, ValueError, WordNetError) as error:
        raise DataError(
            f"WordNet at {place.path}: expected the files of WordNet 3.0, got {type(error).__name__}: {error}; "
            "put a whole copy there or remove it"
        ) from error


def _reader(place: WordNetFolder) -> Any:
    """Return nltk's reader of the files at `place`."""
    from nltk.corpus.reader.wordnet import WordNetCorpusReader
    from nltk.data import ZipFilePathPointer

    class Reader(WordNetCorpusReader):  # type: ignore[misc] # nltk has no types
        """nltk's reader without the files that synonyms do not need: `lexnames` and `index.sense`."""

        def open(self, file: str) -> Any:
            if file != "lexnames":
                return super().open(file)
            # A table of the same form takes its place; synonyms do not depend on the names in it.
            numbers = range(_LEXICOGRAPHER_FILES)
            return io.StringIO("".join(f"{number:02d}\tfile{number:02d}\t1\n" for number in numbers))

        def map_wn(self, version: str = FOLDER) -> None:
            """Do nothing: no other version of WordNet is used, and the map would need `index.sense`."""

    root = ZipFilePathPointer(str(place.path), f"{FOLDER}/") if place.path.suffix == ".zip" else str(place.path)
    return Reader(root, None)
