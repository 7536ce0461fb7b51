"""Where WordNet is found and how it is read; with a tiny one that needs no package, and with this machine's."""

import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError
from harness.text import wordnet as places
from harness.text.wordnet import FILES, WordNetFolder, find, identity, open_word_net
from tests.support.tiny_word_net import write_tiny


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any WordNet: an empty nltk data path, no Debian files, an empty cache."""
    monkeypatch.setattr("nltk.data.path", [str(tmp_path / "nltk_data")])
    monkeypatch.setattr(places, "DEBIAN", tmp_path / "usr" / "share" / "wordnet")
    return tmp_path


def test_nothing_is_found_where_there_is_none(nowhere: Path) -> None:
    assert find(nowhere / "cache") is None


def test_places_are_tried_in_order_and_in_place(nowhere: Path) -> None:
    cache = nowhere / "cache"
    write_tiny(nowhere / "usr" / "share" / "wordnet")
    assert find(cache) == WordNetFolder("Debian", nowhere / "usr" / "share" / "wordnet")
    write_tiny(cache / "wordnet")
    assert find(cache) == WordNetFolder("cache", cache / "wordnet")
    archived(nowhere)
    assert find(cache) == WordNetFolder("nltk data", nowhere / "nltk_data" / "corpora" / "wordnet.zip")
    write_tiny(nowhere / "nltk_data" / "corpora" / "wordnet")
    assert find(cache) == WordNetFolder("nltk data", nowhere / "nltk_data" / "corpora" / "wordnet")


def archived(folder: Path) -> WordNetFolder:
    """Return a tiny WordNet as nltk's download leaves it: an archive."""
    files = write_tiny(folder / "source")
    path = folder / "nltk_data" / "corpora" / "wordnet.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name in FILES:
            archive.write(files / name, f"wordnet/{name}")
    return WordNetFolder("nltk data", path)


def test_an_incomplete_or_torn_copy_is_passed_over(nowhere: Path) -> None:
    copy = write_tiny(nowhere / "cache" / "wordnet")
    (copy / "noun.exc").unlink()
    place = archived(nowhere)
    place.path.write_bytes(b"torn")
    assert find(nowhere / "cache") is None


@pytest.mark.parametrize("archive", [False, True])
def test_synonyms_are_one_word_lemmas_of_all_synsets(nowhere: Path, archive: bool) -> None:
    place = archived(nowhere) if archive else WordNetFolder("cache", write_tiny(nowhere / "cache" / "wordnet"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = open_word_net(place)
    assert found.synonyms("tumour") == {"tumor", "tumour", "neoplasm"}
    assert found.synonyms("Tumorz") == found.synonyms("tumors") == found.synonyms("tumor")
    assert found.synonyms("big") == {"big"}
    assert found.synonyms("liver") == frozenset()
    assert found.synonyms("tumour") is found.synonyms("tumour")


def test_identity_is_of_the_bytes_wherever_they_lie(nowhere: Path) -> None:
    folder, archive = WordNetFolder("cache", write_tiny(nowhere / "one")), archived(nowhere)
    assert identity(folder) == identity(archive)
    assert identity(folder)["wordnet"] == "3.0"
    other = WordNetFolder("cache", write_tiny(nowhere / "two"))
    (other.path / "verb.exc").write_text("went go\n")
    assert identity(other)["digest"] != identity(folder)["digest"]


def test_files_that_are_no_wordnet_are_refused(nowhere: Path) -> None:
    place = WordNetFolder("cache", write_tiny(nowhere / "cache" / "wordnet"))
    (place.path / "index.noun").write_text("tumor n many\n")
    with pytest.raises(
        DataError, match=r"expected the files of WordNet 3\.0, got WordNetError: .*put a whole copy there"
    ):
        open_word_net(place)


def test_this_machines_wordnet_knows_medical_synonyms(word_net: Any) -> None:
    assert {"neoplasm", "tumor"} <= word_net.synonyms("tumour")
