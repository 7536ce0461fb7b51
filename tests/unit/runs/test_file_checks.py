"""Digests of whole files: damage is said before a file is read, and a replaced file is never refused."""

import json
from pathlib import Path

import pytest

from harness.runs.file_checks import DamagedFileError, FileChecks


def test_a_changed_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    checks, path = FileChecks(tmp_path), tmp_path / "scores" / "a.parquet"
    path.parent.mkdir()
    path.write_bytes(b"abc")
    checks.check(path)  # nothing is listed yet
    checks.seal([path])
    checks.check(path)
    path.write_bytes(b"abd")
    message = r"a\.parquet: is damaged or was changed: its bytes are not those that were written last; mend it"
    with pytest.raises(DamagedFileError, match=message):
        checks.check(path, "mend it")
    path.unlink()
    path.mkdir()
    with pytest.raises(DamagedFileError, match=r"a\.parquet: cannot be read \(Is a directory\); run the same command"):
        checks.check(path)
    path.rmdir()
    checks.check(path)  # a missing file is its reader's affair
    checks.seal([path])
    assert checks.read() == {}


def test_a_file_that_is_replaced_is_listed_anew(tmp_path: Path) -> None:
    checks, path = FileChecks(tmp_path), tmp_path / "run.json"
    for text in ("one", "two"):
        checks.replace(path, text)
        checks.check(path)
    assert path.read_text() == "two"
    assert checks.read().keys() == {"run.json"}


def test_a_damaged_list_is_said_and_begun_anew(tmp_path: Path) -> None:
    checks, path = FileChecks(tmp_path), tmp_path / "run.json"
    checks.replace(path, "one")
    content = json.loads(checks.path.read_text())
    content["files"]["run.json"] = "0" * 64
    checks.path.write_text(json.dumps(content))
    with pytest.raises(DamagedFileError, match=r"digests\.json: is damaged \(ValueError: its bytes are not those"):
        checks.check(path)
    checks.seal([path])
    checks.check(path)
