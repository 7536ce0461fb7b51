"""Data roots that are prepared in several processes: the same bytes as one after the other, and only where it helps."""

from pathlib import Path

import pytest

from harness.data.phantoms.families import write_phantoms
from harness.data.roots import DataRoots
from harness.errors import DataError
from reference_model.distributed import prepare_data
from reference_model.distributed.prepare_data import prepare_ahead
from reference_model.training.data import SetSpec, read_sets
from tests.unit.reference_model.small_training import Noted

WANTED = (SetSpec(task="vqa_rad"), SetSpec(task="mecovqa_g"))


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> list[DataRoots]:
    """Three data roots with other patients each."""
    folder = tmp_path_factory.mktemp("roots")
    for seed in range(3):
        write_phantoms(folder / str(seed), seed=seed, patients=4, slices=1)
    return [DataRoots(roots=(folder / str(seed),), kind="real") for seed in range(3)]


def content(cache: Path) -> dict[str, bytes]:
    """Return the bytes of all files below a cache, by path."""
    return {str(path.relative_to(cache)): path.read_bytes() for path in cache.rglob("*") if path.is_file()}


def test_several_processes_leave_the_bytes_that_one_leaves(
    roots: list[DataRoots], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_data, "SLOW_SECONDS", 0.0)
    noted = Noted()
    prepare_ahead(WANTED, roots, tmp_path / "several", noted, cores=2)
    read_sets(WANTED, roots, tmp_path / "one", Noted())
    several, one = content(tmp_path / "several"), content(tmp_path / "one")
    assert len([name for name in one if name.endswith("manifest.jsonl")]) == 6
    assert several == one
    assert noted.lines == [f"preparing the data of the training: {ready} of 3 data roots are ready" for ready in (2, 3)]


@pytest.mark.parametrize("cores", [1, 2])
def test_roots_that_are_there_start_no_process(
    roots: list[DataRoots], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr(prepare_data, "_on_all_cores", lambda *_: pytest.fail("started processes"))
    monkeypatch.setattr(prepare_data, "SLOW_SECONDS", 0.0 if cores == 1 else 60.0)
    prepare_ahead(WANTED, roots, tmp_path, Noted(), cores=cores)
    prepare_ahead(WANTED, roots[:1], tmp_path, Noted(), cores=cores)


def test_a_root_without_a_release_is_left_to_its_reader(roots: list[DataRoots], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    absent = DataRoots(roots=(tmp_path / "empty",), kind="real")
    prepare_ahead(WANTED, [roots[0], absent], tmp_path / "cache", Noted(), cores=2)
    with pytest.raises(DataError, match="empty"):
        read_sets(WANTED, [roots[0], absent], tmp_path / "cache", Noted())
