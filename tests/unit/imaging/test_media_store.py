"""Media at the model's door: found by digest on this node, decoded once, fetched from the driver where absent."""

import gc
import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from harness.errors import DataError
from harness.imaging import media_store as media_module
from harness.imaging.media_store import LocalMedia, MediaStore, with_handles
from harness.imaging.volumes import packed
from harness.records import Box, Crop, Media, MediaPart, Overlay, Request, TextPart, Turn, file_digests
from harness.records.codec import sha256_folder


def stored_image(folder: Path, name: str, value: int = 7, size: tuple[int, int] = (2, 3)) -> Media:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, dtype=np.uint8)).save(path)
    return Media(path=name, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), size=size)


def request_for(*media: Media) -> Request:
    parts = (*(MediaPart(media=item) for item in media), TextPart(text="What is it?"))
    return Request(key="k", messages=(Turn(role="user", parts=parts),))


def test_handles_open_verified_files(tmp_path: Path) -> None:
    record = stored_image(tmp_path, "images/a.png")
    request = with_handles(request_for(record), MediaStore(roots=[tmp_path]))
    (handle,) = request.images
    assert (handle.path, handle.size, handle.record) == (str(tmp_path / "images/a.png"), (2, 3), record)
    np.testing.assert_array_equal(handle.image(), np.full((2, 3, 3), 7, dtype=np.uint8))
    assert not handle.image().flags.writeable
    assert request.prompt == "What is it?"


def test_a_request_without_media_stays_itself() -> None:
    request = request_for()
    assert with_handles(request, MediaStore(roots=())) is request


def test_a_deep_image_is_read_through_its_window(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 500, 1000, 4000]], dtype=np.uint16)).save(tmp_path / "a.png")
    digest = hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    store = MediaStore(roots=[tmp_path])
    whole, narrow = (Media(path="a.png", sha256=digest, size=(1, 4), window=(0, high)) for high in (1000, 500))
    assert store.image(whole)[0, :, 0].tolist() == [0, 128, 255, 255]
    assert store.image(narrow)[0, :, 0].tolist() == [0, 255, 255, 255]


def test_the_first_root_whose_file_has_the_digest_is_taken(tmp_path: Path) -> None:
    record = stored_image(tmp_path / "good", "a.png")
    stored_image(tmp_path / "other", "a.png", value=9)
    store = MediaStore(roots=[tmp_path / "empty", tmp_path / "other", tmp_path / "good"])
    assert store.locate(record) == tmp_path / "good/a.png"


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    record = stored_image(tmp_path, "a.png")
    stored_image(tmp_path, "a.png", value=8)
    with pytest.raises(DataError, match=r"^a\.png: its bytes changed since it was prepared; run `harness prepare`"):
        with_handles(request_for(record), MediaStore(roots=[tmp_path]))


def test_a_missing_file_names_the_roots(tmp_path: Path) -> None:
    record = stored_image(tmp_path / "elsewhere", "a.png")
    roots = [tmp_path / "one", tmp_path / "two"]
    with pytest.raises(DataError, match=rf"^a\.png: found below none of {tmp_path}/one, {tmp_path}/two$"):
        MediaStore(roots=roots).locate(record)


def test_a_file_the_release_lacks_is_no_file_of_this_node() -> None:
    with pytest.raises(DataError, match=r"^a\.png: the release lacks this file or it cannot be read; see integrity"):
        MediaStore(roots=()).locate(Media(path="a.png", sha256=None))


def test_a_missing_file_is_fetched_once_and_kept(tmp_path: Path) -> None:
    record = stored_image(tmp_path / "driver", "images/a.png")
    asked: list[str] = []

    def fetch(path: str) -> bytes:
        asked.append(path)
        return (tmp_path / "driver" / path).read_bytes()

    spool = tmp_path / "spool"
    spool.mkdir()
    store = MediaStore(roots=[tmp_path / "node"], spool=spool, fetch=fetch)
    assert store.locate(record) == spool / f"{record.sha256}.png"
    shutil.rmtree(tmp_path / "driver")
    assert store.image(record).shape == (2, 3, 3)
    assert asked == ["images/a.png"]


def test_a_driver_with_other_or_missing_files_is_named(tmp_path: Path) -> None:
    record = stored_image(tmp_path / "elsewhere", "a.png")
    without = MediaStore(roots=[tmp_path / "node"], spool=tmp_path, fetch=lambda _: None)
    with pytest.raises(DataError, match=r"found below none of .*/node, and the driver has it neither$"):
        without.locate(record)
    other = MediaStore(roots=[tmp_path / "node"], spool=tmp_path, fetch=lambda _: b"other")
    with pytest.raises(DataError, match="its bytes changed since it was prepared"):
        other.locate(record)


def test_an_image_is_decoded_once_while_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [stored_image(tmp_path, f"{index}.png", value=index) for index in range(4)]  # 18 bytes each once decoded
    monkeypatch.setattr(media_module, "CACHE_BYTES", 40)
    store = MediaStore(roots=[tmp_path])
    first = store.image(records[0])
    assert store.image(records[0]) is first
    store.image(records[1])
    assert store.image(records[0]) is first
    store.image(records[2])
    assert sum(pixels.nbytes for pixels in store._decoded.values()) <= 40
    assert store.image(records[0]) is not first


def test_an_entry_larger_than_the_cache_is_its_only_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = stored_image(tmp_path, "a.png"), stored_image(tmp_path, "b.png", size=(9, 9))
    monkeypatch.setattr(media_module, "CACHE_BYTES", 40)
    store = MediaStore(roots=[tmp_path])
    store.image(small)
    assert store.image(large).shape == (9, 9, 3)
    assert len(store._decoded) == 1


def test_a_volume_is_read_and_kept(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 3, 4), dtype=np.int16))
    digest = hashlib.sha256((tmp_path / "a.npy").read_bytes()).hexdigest()
    record = Media(path="a.npy", sha256=digest, kind="volume", size=(2, 3, 4))
    store = MediaStore(roots=[tmp_path])
    (handle,) = with_handles(request_for(record), store).volumes
    assert (handle.volume().shape, handle.volume().dtype) == ((2, 3, 4), np.float32)
    assert handle.volume() is handle.volume()
    with pytest.raises(DataError, match=r"a\.npy: is a volume, not an image; ask for \.volume\(\)"):
        handle.image()


def test_an_image_is_no_volume(tmp_path: Path) -> None:
    handle = LocalMedia(stored_image(tmp_path, "a.png"), MediaStore(roots=[tmp_path]))
    with pytest.raises(DataError, match=r"a\.png: is an image, not a volume; ask for \.image\(\)"):
        handle.volume()


# --- cropped and painted images

CROP = Crop(corners=(2, 1, 12, 9), original=(10, 20))
GREEN = (0, 255, 0)
OUTLINE = Overlay(prompt=Box(corners=(3, 3, 6, 6)), style="outline", colour=GREEN, width=1, opacity=100)


def cropped_and_painted(folder: Path) -> Media:
    """An image of 10 x 20 equal pixels, cut to 8 x 10, with a box drawn on it."""
    return replace(stored_image(folder, "a.png", size=(10, 20)), size=(8, 10), crop=CROP, drawn=(OUTLINE,))


def test_image_path_and_size_are_of_what_is_shown(tmp_path: Path) -> None:
    (handle,) = with_handles(request_for(cropped_and_painted(tmp_path)), MediaStore(roots=[tmp_path])).images
    pixels = handle.image()
    assert (handle.size, pixels.shape, pixels.flags.writeable) == ((8, 10), (8, 10, 3), False)
    green = (pixels == GREEN).all(axis=2)
    assert green.sum() == 12
    assert (pixels[~green] == 7).all()
    with Image.open(handle.path) as written:
        assert written.format == "PNG"
        np.testing.assert_array_equal(np.asarray(written), pixels)


def test_the_path_of_an_image_as_stored_is_its_own_file(tmp_path: Path) -> None:
    handle = LocalMedia(stored_image(tmp_path, "a.png"), MediaStore(roots=[tmp_path], spool=tmp_path / "spool"))
    assert handle.path == str(tmp_path / "a.png")


def test_a_painted_image_is_written_once_into_the_spool_under_a_name_of_its_own(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    media = cropped_and_painted(tmp_path)
    store = MediaStore(roots=[tmp_path], spool=spool)
    path = Path(LocalMedia(media, store).path)
    written = path.stat().st_mtime_ns
    assert LocalMedia(media, MediaStore(roots=[tmp_path], spool=spool)).path == str(path)
    assert path.stat().st_mtime_ns == written
    other = replace(media, drawn=(replace(OUTLINE, width=2),))
    assert {path, Path(LocalMedia(other, store).path)} == set(spool.iterdir())


def test_without_a_spool_what_is_painted_goes_with_the_store(tmp_path: Path) -> None:
    store = MediaStore(roots=[tmp_path])
    path = Path(LocalMedia(cropped_and_painted(tmp_path), store).path)
    assert path.is_file()
    assert not path.is_relative_to(tmp_path)
    del store
    gc.collect()
    assert not path.exists()


def test_a_painted_image_that_cannot_be_written_names_the_folder(tmp_path: Path) -> None:
    spool = tmp_path / "gone" / "spool"
    store = MediaStore(roots=[tmp_path], spool=spool)
    with pytest.raises(DataError) as caught:
        str(LocalMedia(cropped_and_painted(tmp_path), store).path)
    assert str(caught.value) == (
        f"a.png: a slice, cropped, painted or turned, it cannot be written to {spool}: No such file or directory; "
        "make room there"
    )


def test_a_painted_image_whose_file_is_gone_is_a_fault_of_the_data(tmp_path: Path) -> None:
    media = cropped_and_painted(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"^a\.png: found below none of"):
        with_handles(request_for(media), MediaStore(roots=[tmp_path]))


def test_the_stored_image_and_each_way_it_is_shown_are_kept_apart(tmp_path: Path) -> None:
    media = cropped_and_painted(tmp_path)
    store = MediaStore(roots=[tmp_path])
    painted, cropped = store.image(media), store.image(replace(media, drawn=()))
    stored = store.image(replace(media, crop=None, drawn=(), size=(10, 20)))
    assert (painted.shape, cropped.shape, stored.shape) == ((8, 10, 3), (8, 10, 3), (10, 20, 3))
    assert (cropped == 7).all()
    assert (stored == 7).all()
    assert store.image(media) is painted


def test_a_volume_stored_as_x_y_z_is_turned_round(tmp_path: Path) -> None:
    stored = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    np.save(tmp_path / "a.npy", stored)
    digest = hashlib.sha256((tmp_path / "a.npy").read_bytes()).hexdigest()
    store = MediaStore(roots=[tmp_path])
    as_is = Media(path="a.npy", sha256=digest, kind="volume", size=(2, 3, 4))
    turned = replace(as_is, size=(4, 3, 2), axes="xyz")
    np.testing.assert_array_equal(store.volume(as_is), stored[0])
    np.testing.assert_array_equal(store.volume(turned), stored[0].T)
    assert store.volume(turned).flags.c_contiguous
    assert not store.volume(turned).flags.writeable


def scan(folder: Path, voxels: np.ndarray, **changes: object) -> Media:
    np.save(folder / "a.npy", voxels.astype(np.float32))
    digest = hashlib.sha256((folder / "a.npy").read_bytes()).hexdigest()
    media = Media(path="a.npy", sha256=digest, size=voxels.shape[1:], slice=1)
    return replace(media, **changes)  # type: ignore[arg-type]


def test_a_slice_is_an_image_through_the_window_of_its_volume(tmp_path: Path) -> None:
    voxels = np.array([[[0, 100]], [[200, 400]]])
    store = MediaStore(roots=[tmp_path], spool=tmp_path / "spool")
    handle = LocalMedia(scan(tmp_path, voxels, window=(0, 400)), store)
    assert handle.size == (1, 2)
    assert handle.image().tolist() == [[[128] * 3, [255] * 3]]
    with Image.open(handle.path) as written:
        np.testing.assert_array_equal(np.asarray(written), handle.image())
    assert LocalMedia(replace(handle.record, slice=0), store).image()[0, :, 0].tolist() == [0, 64]


def test_without_a_window_extreme_voxels_of_the_volume_do_not_count(tmp_path: Path) -> None:
    voxels = np.linspace(0, 1000, 2000).reshape(2, 20, 50)
    voxels[0, 0, 0], voxels[1, 0, 0] = -1e6, 1e6
    store = MediaStore(roots=[tmp_path])
    pixels = store.image(scan(tmp_path, voxels))
    assert int(pixels[0, 0, 0]) == 255
    low, high = np.percentile(voxels, (0.5, 99.5))
    expected = np.rint(np.clip((voxels[1].astype(np.float32) - low) / (high - low), 0, 1) * 255)
    assert np.abs(pixels[:, :, 0] - expected).max() <= 1


def test_of_a_large_volume_every_n_th_voxel_makes_the_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_module, "SLICE_VOXELS", 4)
    voxels = np.zeros((2, 2, 2))
    voxels[1, 0, 0], voxels[1, 1, 1] = 100.0, 1e9
    pixels = MediaStore(roots=[tmp_path]).image(scan(tmp_path, voxels))
    assert pixels[:, :, 0].tolist() == [[255, 0], [0, 255]]


def test_slices_share_one_decoding_and_a_volume_keeps_its_numbers(tmp_path: Path) -> None:
    media = scan(tmp_path, np.arange(24).reshape(2, 3, 4))
    store = MediaStore(roots=[tmp_path])
    store.image(media)
    (tmp_path / "a.npy").unlink()
    assert store.image(replace(media, slice=0)).shape == (3, 4, 3)
    np.save(tmp_path / "a.npy", np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    assert store.volume(replace(media, kind="volume", slice=None))[1, 2, 3] == 23.0


def slices(folder: Path, *greys: int) -> Media:
    folder.mkdir(parents=True)
    for number, grey in enumerate(greys, start=1):
        Image.new("L", (3, 2), grey).save(folder / f"{number}.png")
    return Media(path=folder.name, sha256=sha256_folder(folder), kind="volume", size=(len(greys), 2, 3))


def test_a_folder_of_slices_is_verified_as_a_whole(tmp_path: Path) -> None:
    media = slices(tmp_path / "series", 5, 9)
    assert MediaStore(roots=[tmp_path]).volume(media)[:, 0, 0].tolist() == [5.0, 9.0]
    Image.new("L", (3, 2), 6).save(tmp_path / "series/1.png")
    with pytest.raises(DataError, match="series: its bytes changed since it was prepared"):
        MediaStore(roots=[tmp_path]).volume(media)


def test_a_folder_of_slices_comes_from_the_driver_as_an_archive(tmp_path: Path) -> None:
    media = slices(tmp_path / "series", 5, 9)
    spool = tmp_path / "spool"
    spool.mkdir()
    store = MediaStore(roots=[tmp_path / "none"], spool=spool, fetch=lambda _: packed(tmp_path / "series"))
    assert store.volume(media)[:, 0, 0].tolist() == [5.0, 9.0]
    wrong = MediaStore(roots=[tmp_path / "none"], spool=spool, fetch=lambda _: b"something else")
    with pytest.raises(DataError, match="series: its bytes changed since it was prepared"):
        wrong.volume(media)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_the_file_of_a_turned_image_shows_what_the_image_shows(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.arange(60, dtype=np.uint8).reshape(4, 5, 3)).save(tmp_path / f"a.{suffix}", exif=exif)
    digest = hashlib.sha256((tmp_path / f"a.{suffix}").read_bytes()).hexdigest()
    handle = LocalMedia(Media(path=f"a.{suffix}", sha256=digest, size=(4, 5)), MediaStore(roots=[tmp_path]))
    with Image.open(handle.path) as image:
        shown = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(shown, handle.image())
    assert handle.path != str(tmp_path / f"a.{suffix}")
    assert handle.path == handle.path


def test_a_fetched_volume_keeps_both_parts_of_its_suffix(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 3, 4), dtype=np.int16), np.eye(4)), tmp_path / "a.b.nii.gz")
    content = (tmp_path / "a.b.nii.gz").read_bytes()
    record = Media(path="a.b.nii.gz", sha256=hashlib.sha256(content).hexdigest(), kind="volume", size=(4, 3, 2))
    spool = tmp_path / "spool"
    spool.mkdir()
    store = MediaStore(roots=[], spool=spool, fetch=lambda _: content)
    assert store.locate(record) == spool / f"{record.sha256}.nii.gz"
    assert store.volume(record).shape == (4, 3, 2)


def test_the_digest_of_a_large_file_is_remembered_between_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = stored_image(tmp_path, "a.png")
    os.utime(tmp_path / "a.png", (1_600_000_000, 1_600_000_000))
    monkeypatch.setattr(media_module, "REMEMBERED_BYTES", 1)
    MediaStore(roots=[tmp_path], digests=tmp_path / "digests").locate(record)
    monkeypatch.setattr(file_digests, "sha256_file", lambda path: pytest.fail(f"{path} was read again"))
    assert MediaStore(roots=[tmp_path], digests=tmp_path / "digests").locate(record) == tmp_path / "a.png"
    os.utime(tmp_path / "a.png", (1_600_000_001, 1_600_000_001))
    monkeypatch.setattr(file_digests, "sha256_file", lambda _: "0" * 64)
    with pytest.raises(DataError, match="its bytes changed since it was prepared"):
        MediaStore(roots=[tmp_path], digests=tmp_path / "digests").locate(record)
