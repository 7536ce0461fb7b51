"""Manifests: the same bytes wherever the same files are prepared, written once, reused while no file changes."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data import manifest as manifest_module
from harness.data.integrity import Integrity
from harness.data.manifest import Prepared, read_manifest, read_report
from harness.data.phantoms.writers.samed2d import write_samed2d
from harness.data.releases import images
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import ReleaseAbsentError, ReleaseRequest
from harness.errors import DataError, SpecError
from harness.records import Sample
from harness.tasks.prepare import prepare_release
from harness.tasks.spec import PlugIn, Release

LISTING = "SAMed2Dv1/SAMed2D_v1.json"
SAMED2D = Release(reader="samed2d", split="all")
VQA_RAD = Release(reader="vqa_rad")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small SA-Med2D folder of 4 images."""
    write_samed2d(tmp_path / "data", seed=5, patients=4, slices=1)
    return tmp_path / "data"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[ReleaseRequest]:
    """Requests of the preparations that read the release, as against those that remember."""
    made: list[ReleaseRequest] = []
    read = manifest_module._read_release

    def noted(reader: Any, request: ReleaseRequest, *rest: Any) -> tuple[str, int]:
        made.append(request)
        return read(reader, request, *rest)

    monkeypatch.setattr(manifest_module, "_read_release", noted)
    return made


def prepared(root: Path, cache: Path, release: Release = SAMED2D, **changes: Any) -> Prepared:
    return prepare_release(release, **{"dataset": "demo", "window": None, "roots": [root], "cache": cache} | changes)


def write_vqa_rad(root: Path, qids: list[int]) -> None:
    (root / "vqa_rad/images").mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((2, 3), dtype=np.uint8)).save(root / "vqa_rad/images/a.jpg")
    records = [{"qid": qid, "image_name": "a.jpg", "question": "q", "answer": "yes"} for qid in qids]
    for name in ("testset", "trainset"):
        (root / f"vqa_rad/{name}.json").write_text(json.dumps(records))


def tree(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def test_the_digest_is_that_of_the_manifests_bytes(root: Path, cache: Path) -> None:
    made = prepared(root, cache)
    assert hashlib.sha256(made.manifest.read_bytes()).hexdigest() == made.digest
    assert made.manifest == cache / "manifests" / made.digest / "manifest.jsonl"
    assert made.integrity == cache / "manifests" / made.digest / "integrity.json"
    assert (made.reader.name, made.root, made.derived) == ("samed2d", root, cache / "derived")


def test_the_manifest_holds_a_header_and_the_samples(root: Path, cache: Path) -> None:
    made = prepared(root, cache, window=(0.0, 400.0))
    header = json.loads(made.manifest.read_text().splitlines()[0])
    assert header == {
        "schema": 1,
        "reader": "samed2d",
        "reader_version": made.reader.version,
        "dataset": "demo",
        "split": "all",
        "subset": None,
        "where": {},
        "options": {"level": "category"},
        "window": [0.0, 400.0],
    }
    samples = list(read_manifest(made.manifest))
    assert len(samples) == made.samples > 4
    request = ReleaseRequest(dataset="demo", split="all")
    files = ReleaseFiles(root=root, derived=cache)
    assert samples == [sample for _, sample in made.reader.read(files, request, Integrity())]


def test_a_copy_elsewhere_has_the_same_digest_and_report(root: Path, cache: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "far away" / "copy"
    shutil.copytree(root, elsewhere)
    for path in elsewhere.rglob("*"):
        os.utime(path, (1, 1))
    (elsewhere / "SAMed2Dv1/images/unlisted.png").write_bytes(b"")
    (root / "SAMed2Dv1/images/unlisted.png").write_bytes(b"")
    first, second = prepared(root, cache), prepared(elsewhere, tmp_path / "other cache")
    assert first.digest == second.digest
    assert first.integrity.read_bytes() == second.integrity.read_bytes()
    assert json.loads(first.integrity.read_text())["counts"] == {"unlisted_file": 1}
    assert str(tmp_path) not in first.manifest.read_text() + first.integrity.read_text()


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "other"},
        {"window": (0.0, 1.0)},
        {"release": Release(reader="samed2d", split="all", options={"level": "instance"})},
        {"release": Release(reader="samed2d", split="all", where={"modality": ("mr",)})},
    ],
)
def test_another_request_is_another_manifest(root: Path, cache: Path, changes: dict[str, Any]) -> None:
    assert prepared(root, cache, **changes).digest != prepared(root, cache).digest


def test_a_default_written_out_is_the_same_manifest(root: Path, cache: Path) -> None:
    spelt = Release(reader="samed2d", split="all", options={"level": "category"})
    assert prepared(root, cache, spelt).digest == prepared(root, cache).digest


def test_every_split_has_its_manifest(tmp_path: Path, cache: Path) -> None:
    write_vqa_rad(tmp_path / "data", [1, 2])
    ids = {
        split: [
            sample.id
            for sample in read_manifest(
                prepared(tmp_path / "data", cache, Release(reader="vqa_rad", split=split)).manifest
            )
        ]
        for split in ("train", "test")
    }
    assert ids == {split: [f"demo/{split}/1", f"demo/{split}/2"] for split in ("train", "test")}


def test_the_first_root_that_holds_the_release_is_read(root: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert prepared(root, cache, roots=[tmp_path / "empty", root]).root == root


def test_an_absent_release_or_split_is_an_error_of_its_own(root: Path, cache: Path) -> None:
    with pytest.raises(ReleaseAbsentError, match=f"expected vqa_rad/ below a data root, looked in: {root}"):
        prepared(root, cache, VQA_RAD)
    with pytest.raises(ReleaseAbsentError, match="found the splits all, not 'test'"):
        prepared(root, cache, Release(reader="samed2d"))
    assert not cache.exists()


def test_what_the_reader_cannot_do_is_said_before_reading(root: Path, cache: Path) -> None:
    with pytest.raises(SpecError, match=r"release.options.level: expected 'category' or 'instance', found 'pixel'"):
        prepared(root, cache, Release(reader="samed2d", split="all", options={"level": "pixel"}))


def test_an_unchanged_release_is_not_read_again(root: Path, cache: Path, readings: list[ReleaseRequest]) -> None:
    first = prepared(root, cache)
    assert prepared(root, cache) == first
    assert prepared(root, cache, dataset="other") != first
    assert len(readings) == 2


def test_links_to_the_same_root_share_the_memory(
    root: Path, cache: Path, tmp_path: Path, readings: list[ReleaseRequest]
) -> None:
    (tmp_path / "link").symlink_to(root)
    assert prepared(root, cache) == prepared(tmp_path / "link", cache)
    assert len(readings) == 1


def change_image(root: Path) -> None:
    path = next((root / "SAMed2Dv1/images").iterdir())
    with Image.open(path) as image:
        changed = image.convert("L").point(lambda value: 255 - value)
    changed.save(path)


def remove_mask(root: Path) -> None:
    next((root / "SAMed2Dv1/masks").iterdir()).unlink()


def touch_listing(root: Path) -> None:
    path = root / LISTING
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))


def add_image(root: Path) -> None:
    (root / "SAMed2Dv1/images/new.png").write_bytes(b"new")


@pytest.mark.parametrize("change", [change_image, remove_mask, touch_listing, add_image])
def test_a_changed_release_is_read_again(root: Path, cache: Path, readings: list[ReleaseRequest], change: Any) -> None:
    before = prepared(root, cache)
    change(root)
    after = prepared(root, cache)
    assert len(readings) == 2
    assert (after.digest == before.digest) == (change in (touch_listing, add_image))
    prepared(root, cache)
    assert len(readings) == 2


def test_a_file_that_was_missing_and_came_is_read(root: Path, cache: Path) -> None:
    mask = next((root / "SAMed2Dv1/masks").iterdir())
    content = mask.read_bytes()
    mask.unlink()
    assert json.loads(prepared(root, cache).integrity.read_text())["cannot_be_asked"] == 1
    mask.write_bytes(content)
    assert json.loads(prepared(root, cache).integrity.read_text())["cannot_be_asked"] == 0


@pytest.mark.parametrize("part", ["manifest.jsonl", "integrity.json"])
def test_a_damaged_cache_is_made_again(root: Path, cache: Path, part: str) -> None:
    first = prepared(root, cache)
    path = first.manifest.with_name(part)
    content = path.read_bytes()
    if part == "manifest.jsonl":
        path.write_bytes(content[:-20])
    else:
        path.unlink()
    assert prepared(root, cache).digest == first.digest
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", ["", "{", '{"digest": "x"}\n', "[]\n"])
def test_a_damaged_index_is_made_again(root: Path, cache: Path, readings: list[ReleaseRequest], content: str) -> None:
    first = prepared(root, cache)
    (index,) = (cache / "prepared").iterdir()
    index.write_text(content)
    assert prepared(root, cache) == first
    assert len(readings) == 2


def test_nothing_is_written_below_the_data_root(root: Path, cache: Path) -> None:
    before = tree(root)
    for path in (root, *root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        prepared(root, cache)
    finally:
        for path in (root, *root.rglob("*")):
            path.chmod(0o755)
    assert tree(root) == before


def test_only_finished_things_stay_in_the_cache(root: Path, cache: Path) -> None:
    made = prepared(root, cache)
    assert {path.name for path in cache.iterdir()} == {"manifests", "prepared", "derived"}
    assert {path.name for path in made.manifest.parent.iterdir()} == {"manifest.jsonl", "integrity.json"}


class CutShortError(Exception):
    """Ends a preparation where a kill would."""


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The image and mask files that were opened, in order."""
    opened: list[str] = []
    for name in ("examine_image", "read_stored_mask"):
        real = getattr(images, name)

        def noted(data: bytes, *, where: str, real: Any = real, **more: Any) -> Any:
            opened.append(where)
            return real(data, where=where, **more)

        monkeypatch.setattr(images, name, noted)
    return opened


def cut_short(root: Path, cache: Path, after: int) -> None:
    def progress(samples: int) -> None:
        if samples == after:
            raise CutShortError

    with pytest.raises(CutShortError):
        prepared(root, cache, progress=progress)


def test_a_preparation_that_was_interrupted_inspects_no_file_twice(
    root: Path, cache: Path, tmp_path: Path, decoded: list[str]
) -> None:
    whole = prepared(root, tmp_path / "whole")
    everything = list(decoded)
    decoded.clear()
    for after in (3, 5):
        cut_short(root, cache, after)
    resumed = prepared(root, cache)
    assert (resumed.digest, decoded) == (whole.digest, everything)
    assert len(set(everything)) == len(everything) > 5
    assert resumed.integrity.read_bytes() == whole.integrity.read_bytes()
    assert [path.name for path in (cache / "prepared").iterdir()] == [
        path.name for path in (tmp_path / "whole/prepared").iterdir()
    ]


def test_a_file_that_changed_since_the_interruption_is_inspected_again(
    root: Path, cache: Path, tmp_path: Path, decoded: list[str]
) -> None:
    cut_short(root, cache, 3)
    first = root / decoded[0]
    Image.fromarray(255 - np.asarray(Image.open(first))).save(first)
    resumed = prepared(root, cache)
    assert decoded.count(decoded[0]) == 2
    assert resumed.digest == prepared(root, tmp_path / "whole").digest


def test_after_an_interrupted_preparation_the_index_names_every_file(
    root: Path, cache: Path, readings: list[ReleaseRequest]
) -> None:
    cut_short(root, cache, 5)
    prepared(root, cache)
    prepared(root, cache)
    assert len(readings) == 2
    change_image(root)
    prepared(root, cache)
    assert len(readings) == 3


def test_what_a_killed_preparation_left_is_removed_by_the_next(root: Path, cache: Path) -> None:
    cut_short(root, cache, 3)
    (kept,) = (cache / "prepared").glob("*.looked.jsonl")
    left, foreign = (cache / f".partial-{key}-x" for key in (kept.name[:16], "0" * 16))
    for folder in (left, foreign):
        folder.mkdir()
    prepared(root, cache)
    assert (left.exists(), foreign.exists()) == (False, True)


def test_a_cache_below_the_data_root_is_refused(root: Path) -> None:
    with pytest.raises(SpecError, match=f"the cache lies below the data root {root}, .*; set MEDGROUND_CACHE"):
        prepared(root, root / "cache")
    assert not (root / "cache").exists()


def test_a_cache_that_cannot_be_written_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="file/cache: the cache cannot be written: Not a directory; make room or set"):
        prepared(root, tmp_path / "file" / "cache")


def test_an_id_that_occurs_twice_names_both_places(tmp_path: Path, cache: Path) -> None:
    write_vqa_rad(tmp_path / "data", [1, 2, 1])
    message = (
        r"demo/test/1: expected every sample id once, found it at vqa_rad/testset.json\[0\] "
        r"and again at vqa_rad/testset.json\[2\]; remove one of the two"
    )
    with pytest.raises(DataError, match=message):
        prepared(tmp_path / "data", cache, VQA_RAD)
    assert list((cache / "manifests").iterdir()) == []


def test_a_selection_that_keeps_nothing_is_an_error(root: Path, cache: Path, tmp_path: Path) -> None:
    nothing = Release(reader="samed2d", split="all", where={"modality": ("pet",)})
    with pytest.raises(
        DataError, match=r"demo: expected samples in split 'all', found none, release.where keeps none of \d+"
    ):
        prepared(root, cache, nothing)
    write_vqa_rad(tmp_path / "empty", [])
    with pytest.raises(DataError, match=r"demo: expected samples in split 'test', found none$"):
        prepared(tmp_path / "empty", cache, VQA_RAD)


def test_progress_counts_samples_and_a_reuse_counts_once(root: Path, cache: Path) -> None:
    seen: list[int] = []
    made = prepared(root, cache, progress=seen.append)
    assert seen == list(range(1, made.samples + 1))
    prepared(root, cache, progress=seen.append)
    assert seen[made.samples :] == [made.samples]


def test_samples_are_written_as_they_come(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    original = manifest_module._checked

    def noted(samples: Iterator[tuple[str, Sample]], *rest: Any) -> Iterator[Sample]:
        def reading() -> Iterator[tuple[str, Sample]]:
            for item in samples:
                order.append("read")
                yield item

        for sample in original(reading(), *rest):
            yield sample
            order.append("written")

    monkeypatch.setattr(manifest_module, "_checked", noted)
    made = prepared(root, cache)
    assert order == ["read", "written"] * made.samples


def test_a_reader_of_the_tasks_own_is_found_beside_it(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "data" / "Toy").mkdir(parents=True)
    code = """
from harness.records import Sample
from harness.data.releases.reader import Reader

def read(files, request, integrity):
    yield "here", Sample(id=f"{request.dataset}/all/1")

READER = Reader(name="toy", version=1, folders=("Toy",), strata=(), splits=lambda root: ("all",), read=read, obtain="")
"""
    (tmp_path / "own.py").write_text(code)
    release = Release(reader="own.py:READER", split="all", plug_in=PlugIn(reference="own.py:READER", sha256="1"))
    made = prepared(tmp_path / "data", cache, release, folder=tmp_path)
    assert [sample.id for sample in read_manifest(made.manifest)] == ["demo/all/1"]


def test_an_edited_reader_reads_again(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "data" / "Toy").mkdir(parents=True)
    ids = []
    for name in ("first", "second"):
        code = f"""
from harness.records import Sample
from harness.data.releases.reader import Reader

def read(files, request, integrity):
    yield "here", Sample(id="{name}")

READER = Reader(name="toy", version=1, folders=("Toy",), strata=(), splits=lambda root: ("all",), read=read, obtain="")
"""
        (tmp_path / "own.py").write_text(code)
        release = Release(reader="own.py:READER", split="all", plug_in=PlugIn(reference="own.py:READER", sha256=name))
        ids += [
            sample.id for sample in read_manifest(prepared(tmp_path / "data", cache, release, folder=tmp_path).manifest)
        ]
    assert ids == ["first", "second"]


def test_a_manifest_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"gone.jsonl: cannot be read: No such file or directory; run `harness prepare`"
    ):
        next(read_manifest(tmp_path / "gone.jsonl"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"m.jsonl:1: expected a manifest's header, found ''; prepare the release again"),
        ("[]\n", r"m.jsonl:1: expected a manifest's header, found '\[\]\\n'; prepare the release again"),
        ('{"schema": 9}\n', r"m.jsonl:1: expected schema 1, found 9; prepare the release again"),
        ('{"schema": 1}\n{"id": "a"}\n{"id": \n', r"m.jsonl:3: expected a sample, found '\{\"id\": \\n'; run `harness"),
        ('{"schema": 1}\n{"name": "a"}\n', r"m.jsonl:2: expected a sample, found"),
        ('{"schema": 1}\n[]\n', r"m.jsonl:2: expected a sample, found"),
    ],
)
def test_a_manifest_of_another_form_is_named_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "m.jsonl").write_text(content)
    with pytest.raises(DataError, match=message):
        list(read_manifest(tmp_path / "m.jsonl"))


def test_a_report_that_is_gone_is_an_error_of_the_data(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"integrity\.json: cannot be read: No such file or directory; run `harness prepare`"
    ):
        read_report(tmp_path / "integrity.json")
