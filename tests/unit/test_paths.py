"""Where the cache and the packaged tasks lie."""

from pathlib import Path

import pytest

from harness.paths import default_cache, packaged_folder


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
    if value is not None:
        monkeypatch.setenv("MEDGROUND_CACHE", value)
    assert default_cache() == tmp_path / ".cache" / "medground"


def test_the_packaged_folder_holds_task_files() -> None:
    assert list((packaged_folder() / "samed2d").glob("*.yaml"))
