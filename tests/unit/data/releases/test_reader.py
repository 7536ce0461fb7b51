"""A reader: finding its data root, checking a request, and the table of all readers."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.data.releases import READERS
from harness.data.releases.reader import Free, Reader, ReleaseAbsentError, ReleaseRequest
from harness.errors import SpecError


def a_reader(**changes: Any) -> Reader:
    values: dict[str, Any] = {
        "name": "toy",
        "version": 1,
        "folders": ("Toy", "Images"),
        "strata": (),
        "splits": lambda _: ("train", "test"),
        "read": lambda *_: iter(()),
        "obtain": "Ask the authors.",
        "options": {"level": ("category", "instance")},
    }
    return Reader(**values | changes)


def asked(**changes: Any) -> ReleaseRequest:
    return ReleaseRequest(**{"dataset": "d", "split": "test"} | changes)


def test_the_first_root_with_all_folders_is_taken(tmp_path: Path) -> None:
    for folder in ("a/Toy", "b/Toy", "b/Images", "c/Toy", "c/Images"):
        (tmp_path / folder).mkdir(parents=True)
    assert a_reader().find_root([tmp_path / name for name in "abc"]) == tmp_path / "b"


def test_an_absent_release_names_folders_roots_and_a_way_to_get_it(tmp_path: Path) -> None:
    roots = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(ReleaseAbsentError) as caught:
        a_reader().find_root(roots)
    expected = f"toy: expected Toy/ and Images/ below a data root, looked in: {roots[0]}, {roots[1]}. Ask the authors."
    assert str(caught.value) == expected


def test_of_two_folders_either_may_be_there(tmp_path: Path) -> None:
    reader = a_reader(folders=("Toy_npy|Toy", "Images"))
    (tmp_path / "Images").mkdir()
    with pytest.raises(ReleaseAbsentError, match="toy: expected Toy_npy/ or Toy/ and Images/ below a data root"):
        reader.find_root([tmp_path])
    (tmp_path / "Toy").mkdir()
    assert reader.find_root([tmp_path]) == tmp_path


def test_no_root_at_all_is_said() -> None:
    with pytest.raises(ReleaseAbsentError, match="looked in: no data root was given"):
        a_reader().find_root([])


def test_an_unknown_split_lists_the_splits(tmp_path: Path) -> None:
    a_reader().check_split(tmp_path, "test")
    with pytest.raises(ReleaseAbsentError, match=r"found the splits train, test, not 'dev'\. Ask the authors"):
        a_reader().check_split(tmp_path, "dev")
    with pytest.raises(ReleaseAbsentError, match="found the splits none, not 'dev'"):
        a_reader(splits=lambda _: ()).check_split(tmp_path, "dev")


def test_subsets_are_checked() -> None:
    a_reader().check(asked())
    a_reader(subsets=("region", "grounding")).check(asked(subset="region"))
    with pytest.raises(SpecError, match=r"release.subset: reader toy expects none, found 'region'"):
        a_reader().check(asked(subset="region"))
    with pytest.raises(SpecError, match="expects 'region' or 'grounding', found None"):
        a_reader(subsets=("region", "grounding")).check(asked())


def test_options_are_checked_and_have_defaults() -> None:
    toy = a_reader()
    toy.check(asked(options={"level": "instance"}))
    assert toy.option(asked(options={"level": "instance"}), "level") == "instance"
    assert toy.option(asked(), "level") == "category"
    with pytest.raises(SpecError, match=r"release.options.levle: reader toy has the options level \(did you mean"):
        toy.check(asked(options={"levle": "instance"}))
    with pytest.raises(SpecError, match=r"release.options.level: expected 'category' or 'instance', found 'pixel'"):
        toy.check(asked(options={"level": "pixel"}))


def test_free_options_are_checked_by_the_reader() -> None:
    name = Free(default="x", fault=lambda value: "" if isinstance(value, str) else f"expected text, found {value!r}")
    toy = a_reader(options={"name": name, "level": ("category", "instance")})
    toy.check(asked(options={"name": "anything"}))
    assert toy.option(asked(), "name") == "x"
    assert toy.defaults == {"name": "x", "level": "category"}
    with pytest.raises(SpecError, match=r"release.options.name: expected text, found \[1\]"):
        toy.check(asked(options={"name": [1]}))


def test_options_may_name_the_folders(tmp_path: Path) -> None:
    toy = a_reader(options={"folder": ("a", "b")})
    assert toy.fitted(asked()) is toy
    fitted = a_reader(fit=lambda request: a_reader(folders=(request.options["folder"],)))
    (tmp_path / "b").mkdir()
    assert fitted.fitted(asked(options={"folder": "b"})).find_root([tmp_path]) == tmp_path


def test_every_reader_stands_under_its_own_name() -> None:
    assert {name: reader.name for name, reader in READERS.items()} == {name: name for name in READERS}
    assert set(READERS) >= {"vqa_rad", "samed2d", "mecovqa"}


def test_the_table_of_readers_loads_no_heavy_library() -> None:
    probe = "import sys, harness.data.releases; print(sorted({'numpy', 'PIL', 'pandas', 'pyarrow'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
