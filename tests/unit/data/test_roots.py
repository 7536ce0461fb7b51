"""Data roots: real folders in the order given, or synthetic patients written once per version, seed and family."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.data import phantoms
from harness.data.phantoms import families
from harness.data.roots import DataRoots, data_roots
from harness.errors import DataError, SpecError


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Replace the writer of SLAKE's family; return the seeds it is called with."""
    seeds: list[int] = []

    def write(root: Path, seed: int) -> None:
        seeds.append(seed)
        (root / "slake").mkdir()

    changed = tuple(replace(one, write=write) if one.name == "slake" else one for one in families.FAMILIES)
    monkeypatch.setattr(families, "FAMILIES", changed)
    return seeds


def test_real_folders_keep_their_order_and_serve_every_reader(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
    roots = data_roots((str(tmp_path / "b"), str(tmp_path / "a")), tmp_path / "cache")
    assert (roots.kind, roots.roots) == ("real", (tmp_path / "b", tmp_path / "a"))
    assert roots.of("slake") == roots.of("m3d_cap") == roots.roots
    assert not (tmp_path / "cache").exists()


def test_every_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        data_roots((str(tmp_path), str(tmp_path / "x"), str(tmp_path / "y")), tmp_path)
    assert str(caught.value) == "\n".join(f"--data-root {tmp_path / name}: no such folder" for name in "xy")


@pytest.mark.parametrize(("given", "seed"), [("phantom", 0), ("phantom:", 0), ("phantom:7", 7)])
def test_phantoms_have_a_seed_and_lie_below_the_cache(tmp_path: Path, given: str, seed: int) -> None:
    roots = data_roots((given,), tmp_path)
    assert roots == DataRoots(roots=(tmp_path / "phantoms",), kind="phantom", seed=seed)
    assert not (tmp_path / "phantoms").exists(), "nothing is written before a reader asks"


@pytest.mark.parametrize("given", ["phantom:-1", "phantom:1.5", "phantom:x"])
def test_other_seeds_are_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(SpecError, match=f"--data-root {given}: expected phantom:SEED with a whole number, found"):
        data_roots((given,), tmp_path)


def test_a_family_is_written_once_a_seed_into_a_folder_of_its_own(tmp_path: Path, written: list[int]) -> None:
    first, other = (data_roots((given,), tmp_path) for given in ("phantom:3", "phantom:4"))
    (root,) = first.of("slake")
    assert root == tmp_path / "phantoms" / f"v{phantoms.VERSION}-seed3-slake"
    assert (root / "slake").is_dir()
    assert first.of("slake") == (root,)
    assert other.of("slake") != (root,)
    assert written == [3, 4]
    assert sorted(path.name for path in (tmp_path / "phantoms").iterdir()) == [
        f"v{phantoms.VERSION}-seed{seed}-slake" for seed in (3, 4)
    ]


def test_patients_that_another_process_wrote_meanwhile_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "phantoms" / f"v{phantoms.VERSION}-seed0-slake"

    def write(root: Path, _seed: int) -> None:
        (root / "mine").mkdir()
        (target / "theirs").mkdir(parents=True)

    changed = tuple(replace(one, write=write) if one.name == "slake" else one for one in families.FAMILIES)
    monkeypatch.setattr(families, "FAMILIES", changed)
    assert data_roots(("phantom",), tmp_path).of("slake") == (target,)
    assert [path.name for path in target.iterdir()] == ["theirs"]


def test_no_data_root_names_both_ways(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected a folder with the releases, or `phantom`"):
        data_roots((), tmp_path)


def test_a_missing_data_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"--data-root .*absent: no such folder"):
        data_roots((str(tmp_path / "absent"),), tmp_path)


def test_phantom_and_real_data_do_not_mix(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="phantom data cannot be combined with other data roots"):
        data_roots(("phantom", str(tmp_path)), tmp_path)


def test_a_phantom_seed_is_a_number(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected phantom:SEED with a whole number, found 'x'"):
        data_roots(("phantom:x",), tmp_path)


def test_phantoms_are_written_once_a_seed_when_a_reader_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def draw(root: Path, *, seed: int) -> None:
        drawn.append(seed)
        (root / "SAMed2Dv1").mkdir()

    monkeypatch.setattr("harness.data.phantoms.families.write_phantoms", draw)
    first, again, other = (data_roots((name,), tmp_path) for name in ("phantom", "phantom:0", "phantom:1"))
    assert first == again
    assert first.kind == "phantom"
    assert drawn == []
    assert first.of("samed2d") == again.of("mecovqa") != other.of("samed2d")
    assert drawn == [0, 1]


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    roots = data_roots(["phantom"], tmp_path / "file")
    with pytest.raises(
        DataError, match=r"phantoms: the cache, where synthetic patients are kept, cannot be written: Not"
    ):
        roots.of("slake")
