"""Digests of weights: by bytes, remembered while nothing about the file has moved."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.records import file_digests
from harness.records.file_digests import WeightsDigests

LONG_AGO = 1_600_000_000


def write(path: Path, content: bytes, *, age: int = LONG_AGO) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (age, age))
    return path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose bytes are read."""
    names: list[str] = []

    def counted(path: Path) -> str:
        names.append(path.name)
        return sha256(path.read_bytes())

    monkeypatch.setattr(file_digests, "sha256_file", counted)
    return names


def test_a_file_counts_by_its_bytes(tmp_path: Path) -> None:
    assert WeightsDigests().of(write(tmp_path / "a.bin", b"a")) == sha256(b"a")


def test_a_folder_counts_by_names_and_bytes_wherever_it_lies(tmp_path: Path) -> None:
    for folder in ("one", "elsewhere/two"):
        write(tmp_path / folder / "deep/a.bin", b"a")
        write(tmp_path / folder / "b.bin", b"b")
    digests = WeightsDigests()
    whole = digests.of(tmp_path / "one")
    assert digests.of(tmp_path / "elsewhere/two") == whole
    write(tmp_path / "one/b.bin", b"c")
    assert digests.of(tmp_path / "one") != whole
    write(tmp_path / "one/b.bin", b"b").rename(tmp_path / "one/c.bin")
    assert digests.of(tmp_path / "one") != whole


def test_what_lies_beside_a_model_does_not_count(tmp_path: Path) -> None:
    write(tmp_path / "a" / "model.safetensors", b"1")
    alone = WeightsDigests().of(tmp_path / "a")
    write(tmp_path / "a" / ".cache" / "huggingface" / "model.metadata", b"2026-11-29")
    write(tmp_path / "a" / ".git" / "HEAD", b"main")
    assert WeightsDigests().of(tmp_path / "a") == alone
    write(tmp_path / "a" / "tokenizer" / "vocab.json", b"{}")
    assert WeightsDigests().of(tmp_path / "a") != alone


def test_a_snapshot_of_the_hub_counts_by_its_commit(tmp_path: Path, reads: list[str]) -> None:
    snapshots = tmp_path / "models--org--name" / "snapshots"
    write(snapshots / ("a" * 40) / "config.json", b"1")
    found = WeightsDigests().of(snapshots / ("a" * 40))
    write(snapshots / ("a" * 40) / "model.safetensors", b"2")
    assert WeightsDigests().of(snapshots / ("a" * 40)) == found
    for other in (snapshots / ("b" * 40), tmp_path / "models--org--other" / "snapshots" / ("a" * 40)):
        write(other / "config.json", b"1")
        assert WeightsDigests().of(other) != found
    assert reads == []
    write(tmp_path / "runs" / "snapshots" / ("a" * 40) / "config.json", b"1")
    WeightsDigests().of(tmp_path / "runs" / "snapshots" / ("a" * 40))
    assert reads == ["config.json"]


def test_an_unchanged_file_is_read_once(tmp_path: Path, reads: list[str]) -> None:
    file = write(tmp_path / "a.bin", b"a")
    for _ in range(2):
        assert WeightsDigests(tmp_path / "memory").of(file) == sha256(b"a")
    assert reads == ["a.bin"]


def test_without_a_memory_every_file_is_read(tmp_path: Path, reads: list[str]) -> None:
    file = write(tmp_path / "a.bin", b"a")
    for _ in range(2):
        WeightsDigests().of(file)
    assert reads == ["a.bin", "a.bin"]


@pytest.mark.parametrize(("content", "age"), [(b"bb", LONG_AGO), (b"b", LONG_AGO + 1)], ids=["size", "mtime"])
def test_a_file_that_moved_is_read_again(content: bytes, age: int, tmp_path: Path) -> None:
    digests = WeightsDigests(tmp_path / "memory")
    digests.of(write(tmp_path / "a.bin", b"a"))
    assert digests.of(write(tmp_path / "a.bin", content, age=age)) == sha256(content)


def test_another_file_in_the_same_place_is_read_again(tmp_path: Path) -> None:
    digests = WeightsDigests(tmp_path / "memory")
    digests.of(write(tmp_path / "a.bin", b"a"))
    write(tmp_path / "b.bin", b"b").replace(tmp_path / "a.bin")
    assert digests.of(tmp_path / "a.bin") == sha256(b"b")


def test_a_file_that_may_still_be_written_is_not_remembered(tmp_path: Path, reads: list[str]) -> None:
    (tmp_path / "a.bin").write_bytes(b"a")
    for _ in range(2):
        WeightsDigests(tmp_path / "memory").of(tmp_path / "a.bin")
    assert reads == ["a.bin", "a.bin"]


@pytest.mark.parametrize("damage", ["{", "[]", '{"state": 1}'])
def test_a_damaged_memory_is_written_anew(damage: str, tmp_path: Path) -> None:
    digests, file = WeightsDigests(tmp_path / "memory"), write(tmp_path / "a.bin", b"a")
    digests.of(file)
    (entry,) = (tmp_path / "memory").iterdir()
    entry.write_text(damage)
    assert digests.of(file) == sha256(b"a")
    assert json.loads(entry.read_text())["sha256"] == sha256(b"a")


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no file or folder .*/none, which the model names as its weights"):
        WeightsDigests().of(tmp_path / "none")
