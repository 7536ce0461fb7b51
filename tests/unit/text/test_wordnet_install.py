"""How WordNet comes into the cache; the sources are stood in for, so nothing is downloaded."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError
from harness.text import wordnet, wordnet_install
from harness.text.wordnet import WordNetFolder
from tests.support.tiny_word_net import write_tiny


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The cache of a machine without any WordNet."""
    monkeypatch.setattr("nltk.data.path", [])
    monkeypatch.setattr(wordnet, "DEBIAN", tmp_path / "debian")
    return tmp_path / "cache"


def refuse(folder: Path) -> WordNetFolder:
    raise DataError(f"no network from {folder.name[:8]}")


def bring(folder: Path) -> WordNetFolder:
    return WordNetFolder("Debian", write_tiny(folder / "unpacked"))


def test_what_is_there_is_left_alone(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny(wordnet.DEBIAN)
    monkeypatch.setattr(wordnet_install, "_from_nltk", refuse)
    said: list[str] = []
    assert wordnet_install.set_up(bare, said.append) == WordNetFolder("Debian", wordnet.DEBIAN)
    assert said == [f"WordNet: is already at {wordnet.DEBIAN} (Debian); nothing done"]
    assert not bare.exists()


def test_the_second_source_is_asked_where_the_first_fails(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordnet_install, "_from_nltk", refuse)
    monkeypatch.setattr(wordnet_install, "_from_debian", bring)
    said: list[str] = []
    place = wordnet_install.set_up(bare, said.append)
    assert place == WordNetFolder("cache", bare / "wordnet") == wordnet.find(bare)
    assert said == [f"WordNet: brought to {place.path} from Debian's package wordnet-base"]
    assert [path.name for path in bare.iterdir()] == ["wordnet"]


def test_an_incomplete_copy_is_replaced(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (write_tiny(bare / "wordnet") / "data.noun").unlink()
    monkeypatch.setattr(wordnet_install, "_from_nltk", bring)
    wordnet_install.set_up(bare, lambda _text: None)
    assert wordnet.find(bare) == WordNetFolder("cache", bare / "wordnet")


def test_every_source_that_fails_is_named(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordnet_install, "_from_nltk", refuse)
    monkeypatch.setattr(wordnet_install, "_from_debian", refuse)
    with pytest.raises(DataError) as error:
        wordnet_install.set_up(bare, lambda _text: None)
    assert str(error.value) == (
        f"WordNet could not be brought to {bare}; nltk's download: no network from wordnet-; Debian's package "
        f"wordnet-base: no network from wordnet-. Copy its files data.*, index.* and *.exc to {bare / 'wordnet'}, or "
        "install Debian's package wordnet-base"
    )
    assert list(bare.iterdir()) == []


def test_nltks_downloader_is_asked_quietly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def download(_self: Any, name: str, **options: Any) -> bool:
        assert (name, options["quiet"], options["raise_on_error"]) == ("wordnet", True, True)
        write_tiny(Path(options["download_dir"]) / "corpora" / "wordnet")
        return True

    monkeypatch.setattr("nltk.downloader.Downloader.download", download)
    assert wordnet_install._from_nltk(tmp_path).path == tmp_path / "corpora" / "wordnet"
    monkeypatch.setattr("nltk.downloader.Downloader.download", lambda *_words, **_options: True)
    with pytest.raises(DataError, match="nothing came, or not all of its files"):
        wordnet_install._from_nltk(tmp_path / "empty")
    assert capsys.readouterr() == ("", "")


def test_debians_package_is_unpacked_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, ...]] = []

    def run(words: tuple[str, ...], *, cwd: Path, **_options: Any) -> subprocess.CompletedProcess[str]:
        ran.append(words)
        if words[0] == "apt-get":
            (cwd / "wordnet-base_3.0_all.deb").write_bytes(b"")
        else:
            write_tiny(cwd / "unpacked" / "usr" / "share" / "wordnet")
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(wordnet_install.subprocess, "run", run)
    assert wordnet_install._from_debian(tmp_path).is_complete()
    assert ran == [
        ("apt-get", "download", "wordnet-base"),
        ("dpkg-deb", "--extract", "wordnet-base_3.0_all.deb", "unpacked"),
    ]


def test_the_error_of_a_failed_command_holds_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sh -c ended with 3: no such package"):
        wordnet_install._run("sh", "-c", "echo no such package >&2; exit 3", folder=tmp_path)
