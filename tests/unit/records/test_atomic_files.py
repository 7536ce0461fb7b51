"""Files replaced in one step: the new content whole, or the old file untouched."""

import errno
import os
from pathlib import Path

import pytest

from harness.errors import InterruptedRunError
from harness.records.atomic_files import (
    disk_error,
    make_folder,
    replacing,
    sync_folder,
    write_atomically,
    write_bytes_atomically,
)


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_replaced_and_nothing_else_is_left(durable: bool, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("old")
    write_atomically(path, "是", durable=durable)
    assert path.read_bytes() == "是".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_refused_write_leaves_the_old_file_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cells.json"
    path.write_text("old")

    def refuse(_self: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(
        InterruptedRunError,
        match=r"cells.json: cannot be written: No space left on device. .* run the same command again",
    ):
        write_bytes_atomically(path, b"new", temporary=tmp_path / "cells.tmp", durable=True)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_without_a_reason_of_the_system_keeps_its_own_words(tmp_path: Path) -> None:
    assert "cannot be written: broken pipe to nowhere." in str(disk_error(tmp_path, OSError("broken pipe to nowhere")))


def test_a_durable_file_and_new_folders_are_synced_with_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def noted(number: int) -> None:
        synced.append(Path(f"/proc/self/fd/{number}").readlink().relative_to(tmp_path).as_posix())
        fsync(number)

    monkeypatch.setattr(os, "fsync", noted)
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert synced == [".", "a"]
    write_atomically(tmp_path / "a" / "b" / "run.json", "{}")
    assert synced[2:] == ["a/b/.run.json.tmp", "a/b"]
    write_atomically(tmp_path / "a" / "status.json", "{}", durable=False)
    assert len(synced) == 4


def _stopped_half_way(path: Path) -> None:
    with replacing(path) as file:
        file.write(b"half")
        raise InterruptedRunError("stopped half-way")


def test_an_exception_while_a_file_is_written_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "plan"
    path.write_text("old")
    with pytest.raises(InterruptedRunError, match="stopped half-way"):
        _stopped_half_way(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("number", "passes"), [(errno.EINVAL, True), (errno.EACCES, True), (errno.EIO, False)])
def test_a_file_system_that_cannot_sync_folders_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, passes: bool
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    if passes:
        sync_folder(tmp_path)
    else:
        with pytest.raises(OSError, match="Input/output error"):
            sync_folder(tmp_path)
