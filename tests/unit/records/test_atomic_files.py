"""Files replaced in one step: the new content whole, or the old file untouched."""

from pathlib import Path

import pytest

from harness.errors import InterruptedRunError
from harness.records.atomic_files import disk_error, write_atomically, write_bytes_atomically


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
