"""Where the cache and the packaged tasks lie."""

import os
from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.paths import default_cache, home_folder, lend_home, packaged_folder, without_home


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEDGROUND_CACHE", str(tmp_path / "kept"))
    assert default_cache() == tmp_path / "kept"
    assert not default_cache().exists()


@pytest.mark.parametrize("value", ["", None])
def test_without_a_word_of_the_environment_it_is_below_home(
    value: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MEDGROUND_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("MEDGROUND_CACHE", value)
    assert default_cache() == tmp_path / ".cache" / "medground"


@pytest.mark.parametrize(
    ("shared", "expected"),
    [
        ("/scratch/me", "/scratch/me/medground"),
        ("relative", "/home/me/.cache/medground"),
        ("", "/home/me/.cache/medground"),
    ],
)
def test_it_lies_in_the_cache_of_the_desktop_where_that_is_an_absolute_path(
    shared: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("MEDGROUND_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", shared)
    assert default_cache() == Path(expected)


def test_a_user_without_a_home_is_told_to_name_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.delenv("MEDGROUND_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert home_folder() is None
    assert without_home("/data/x") == "/data/x"
    with pytest.raises(SpecError, match="this user has no home; set MEDGROUND_CACHE to a folder, or HOME"):
        default_cache()


def test_the_cache_is_lent_as_a_home_only_to_a_user_without_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("MEDGROUND_CACHE", str(tmp_path))
    lend_home()
    assert os.environ["HOME"] == "/home/me"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("harness.paths.home_folder", lambda: None)
    lend_home()
    assert os.environ["HOME"] == str(tmp_path)
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("MEDGROUND_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    lend_home()
    assert "HOME" not in os.environ


def test_the_home_of_a_user_is_left_out_unless_it_is_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert without_home("--out=/home/me/runs") == "--out=~/runs"
    monkeypatch.setenv("HOME", "/")
    assert without_home("/data/x") == "/data/x"


def test_the_packaged_folder_holds_task_files() -> None:
    assert list((packaged_folder() / "samed2d").glob("*.yaml"))
