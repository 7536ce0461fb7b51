"""The images and volumes of a release on this node: found, verified against their digests, and decoded on demand."""

import contextlib
import hashlib
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import DataError
from harness.imaging.windowing import Percentiles, limits, windowed
from harness.records import Crop, Media, MediaPart, Overlay, Request, Size, View
from harness.records.codec import digest, sha256_file, sha256_folder, to_json
from harness.records.file_digests import WeightsDigests

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The key of the cache: everything that decoded pixels depend on, and the form that they were decoded to.
Decoded = tuple[str, tuple[float, float] | None, Crop | None, tuple[Overlay, ...], str, int | None, View | None, str]

# Grey values of a volume that become 0 and 255 in its slices if its task names no window: the range that M3D's
# preparation of volumes takes.
SLICE_PERCENTILES = Percentiles((0.5, 99.5))
# The percentiles of a larger volume are taken of every n-th voxel, because those of all voxels would be slow.
SLICE_VOXELS = 1 << 22

# Asks the driver for the bytes of a file of the release by its relative path; None if the driver lacks it too.
Fetch = Callable[[str], bytes | None]

# Held for the moment in which the cache changes: the next batch is decoded in a thread. Not part of a store, because a
# handle must stay picklable.
_TURN = threading.Lock()
# The digest of a smaller file is computed sooner than it is remembered.
REMEMBERED_BYTES = 1 << 20
# Decoded pixels kept per process; a small cache is enough, since the samples of one image usually follow each other.
CACHE_BYTES = 256 * 1024 * 1024


@dataclass(slots=True, weakref_slot=True)
class MediaStore:
    """Finds, verifies and decodes the media of a release on this node.

    A file is searched below each root in turn and must have the digest of its record. If no root holds it, `fetch` asks
    the driver, and the bytes are kept in `spool`. Cropped and painted images are written there, too, when an adapter
    asks for their path; without a spool they go to a temporary folder that is removed with the store.

    Attributes:
        roots: Data roots on this node.
        spool: Folder for fetched and derived files.
        fetch: Asks the driver for a file.
        digests: Folder in which digests of files are remembered under path, size, modification time and inode; None
            remembers none.
        asked: The kinds of media, `image` and `volume`, that the adapter has had decoded here.
    """

    roots: Sequence[Path]
    spool: Path | None = None
    fetch: Fetch | None = None
    digests: Path | None = None
    asked: set[str] = field(default_factory=set)
    _verified: dict[str, Path] = field(default_factory=dict)
    _turns: dict[Path, bool] = field(default_factory=dict)
    _decoded: "dict[Decoded, NDArray[Any]]" = field(default_factory=dict)
    # The volume whose views were asked for last. Not in the cache, which a CT of 300 slices overfills, so that its 85
    # views would read it 85 times.
    _held: "tuple[object, NDArray[Any]] | None" = None
    _chosen: dict[object, list[int]] = field(default_factory=dict)

    def locate(self, media: Media) -> Path:
        """Return the verified local file of `media`.

        Raises:
            DataError: No root holds the file, or its bytes differ from those that were prepared.
        """
        if media.sha256 is None:
            raise DataError(f"{media.path}: the release lacks this file or it cannot be read; see integrity.json")
        if media.sha256 not in self._verified:
            self._verified[media.sha256] = self._find(media, media.sha256)
        return self._verified[media.sha256]

    def _find(self, media: Media, sha256: str) -> Path:
        # A pipe or a device in the place of a file counts as absent: reading it may never end.
        places = (root / media.path for root in self.roots)
        found = [path for path in places if path.is_file() or path.is_dir()]
        for path in found:
            if self._digest(path) == sha256:
                return path
        content = None
        if self.fetch is not None and self.spool is not None:
            content = self.fetch(media.path)
            if content is not None and hashlib.sha256(content).hexdigest() == sha256:
                # The suffix stays, because `read_volume` goes by it, and of `.nii.gz` all of it.
                name = Path(media.path)
                suffix = "".join(name.suffixes[-2:]) if name.suffix.lower() == ".gz" else name.suffix
                path = self.spool / f"{sha256}{suffix}"
                path.write_bytes(content)
                return path
            if content is not None:
                from harness.imaging.volumes import unpack

                # A volume that is a folder of slices travels as an archive.
                folder = self.spool / sha256
                if unpack(content, folder) and sha256_folder(folder) == sha256:
                    return folder
        if found or content is not None:
            raise DataError(f"{media.path}: its bytes changed since it was prepared; run `harness prepare` again")
        asked = ", and the driver has it neither" if self.fetch is not None else ""
        raise DataError(f"{media.path}: found below none of {', '.join(str(root) for root in self.roots)}{asked}")

    def _digest(self, path: Path) -> str:
        if path.is_dir():
            return sha256_folder(path)
        if self.digests is None or path.stat().st_size < REMEMBERED_BYTES:
            return sha256_file(path)
        return WeightsDigests(self.digests).of_file(path)

    def decode_ahead(self, media: Iterable[Media]) -> None:
        """Decode media that an adapter will ask for, of the kinds that it has asked for: it may read files by itself.

        What cannot be read is left to the adapter's own call, which says so.
        """
        room = CACHE_BYTES // 2  # else what the model is working on would be dropped
        for record in dict.fromkeys(media):
            if record.kind in self.asked and room > 0:
                with contextlib.suppress(Exception):
                    room -= (self.image(record) if record.kind == "image" else self.volume(record)).nbytes

    def path_of(self, media: Media) -> Path:
        """Return a local file of the media as shown: the release's own, or a PNG of the crop, overlay, slice or view.

        An image whose file has an EXIF rotation becomes a PNG without it, because most programs would turn the file,
        and `image` does not.

        Raises:
            DataError: As for `locate` and `image`, or the PNG cannot be written.
        """
        stored = self.locate(media)
        changed = media.crop is not None or media.drawn or media.slice is not None or media.view is not None
        if not changed and not self._turned(stored, media):
            return stored
        if self.spool is None:
            self.spool = Path(tempfile.mkdtemp(prefix="medground-media-"))
            weakref.finalize(self, shutil.rmtree, self.spool, ignore_errors=True)
        # Named by content: equal images under two paths share one file.
        path = self.spool / f"{digest(to_json(replace(media, path='')))}.png"
        if not path.exists():
            self._write(path, media)
        return path

    def _turned(self, stored: Path, media: Media) -> bool:
        """Return whether programs that heed EXIF would turn the file of an image."""
        if media.kind != "image" or stored.is_dir():
            return False
        if stored not in self._turns:
            from harness.imaging.images import stored_as

            self._turns[stored] = stored_as(stored.read_bytes()).turned
        return self._turns[stored]

    def _write(self, path: Path, media: Media) -> None:
        """Write the pixels as PNG under another name, then rename it: other processes see a whole file or none."""
        from PIL import Image

        image = Image.fromarray(self.image(media))
        partial = path.with_suffix(f".{os.getpid()}")
        try:
            # Only the user may read the folder, since it holds images of patients.
            path.parent.mkdir(mode=0o700, exist_ok=True)
            # Compressed lightly, since the file is temporary.
            image.save(partial, format="PNG", compress_level=1)
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            reason = error.strerror or error
            raise DataError(
                f"{media.path}: a slice, cropped, painted or turned, it cannot be written to {path.parent}: {reason}; "
                "make room there"
            ) from error

    def image(self, media: Media) -> "NDArray[np.uint8]":
        """Return the image as it is shown: uint8 (H, W, 3) RGB, read-only, decoded once while it stays in the cache.

        Raises:
            DataError: As for `locate`, or the file cannot be read.
        """
        if media.crop is not None or media.drawn:
            from harness.imaging.views import prompt_overlays

            stored = replace(media, crop=None, drawn=())
            return self._once(media, lambda: prompt_overlays.apply_crop_and_overlays(self.image(stored), media))
        if media.slice is not None:
            return self._once(media, lambda: self._slice_of_volume(media))
        if media.view is not None:
            return self._once(media, lambda: self._view_of_volume(media))
        from harness.imaging.images import read_image

        return self._once(
            media, lambda: read_image(self.locate(media).read_bytes(), window=media.window, where=media.path)
        )

    def _slice_of_volume(self, media: Media) -> "NDArray[np.uint8]":
        """Return one slice of a volume as uint8 (H, W, 3)."""
        import numpy as np

        assert media.slice is not None
        whole = replace(media, kind="volume", slice=None)
        # The whole volume is cached in 8 bits, because a request usually shows several of its slices.
        grey = self._once(whole, lambda: self._grey_volume(whole), "grey")
        return np.repeat(grey[media.slice, :, :, np.newaxis], 3, axis=2)

    def _view_of_volume(self, media: Media) -> "NDArray[np.uint8]":
        """Return slices of a volume by a recipe as uint8 (H, W, 3).

        Raises:
            DataError: The recipe's windows are in Hounsfield units, and the voxels are not.
        """
        from harness.imaging.views import slice_places, volume_views

        view = media.view
        assert view is not None
        whole = replace(media, kind="volume", size=view.original, view=None)
        # Which slices are not empty must not depend on the window of the task.
        plain = replace(whole, window=None)
        places = view.slices
        if view.of is not None:
            key = (media.sha256, media.axes, view.plane, view.of)
            if key not in self._chosen:
                grey = self._hold((plain, "grey"), lambda: self._grey_volume(plain))
                self._chosen[key] = slice_places.filled(list(volume_views.along(grey, view.plane)), view.of)
            places = tuple(self._chosen[key][place] for place in view.slices)
        if not view.windows:
            return volume_views.render(view, self._hold((whole, "grey"), lambda: self._grey_volume(whole)), places)

        def hounsfield() -> "NDArray[Any]":
            voxels = self._read_volume(plain)
            volume_views.check_hounsfield(voxels, media.path)
            return voxels

        return volume_views.render(view, self._hold((plain, "Hounsfield units"), hounsfield), places)

    def _hold(self, key: object, decode: "Callable[[], NDArray[Any]]") -> "NDArray[Any]":
        """Return the volume that is held under `key`, or decode and hold it in place of the last."""
        held = self._held  # once: an adapter may open images in several threads
        if held is None or held[0] != key:
            self._held = None  # two volumes at once may not fit in memory
            held = self._held = key, decode()
        return held[1]

    def _grey_volume(self, media: Media) -> "NDArray[np.uint8]":
        """Return a volume as uint8 (D, H, W), by the window of its record, else by SLICE_PERCENTILES."""
        import numpy as np

        voxels = self._read_volume(media)
        step = -(-voxels.size // SLICE_VOXELS)
        window = media.window or limits(SLICE_PERCENTILES, voxels.reshape(-1)[::step], media.path)
        return np.stack([windowed(pixels, window) for pixels in voxels])

    def volume(self, media: Media) -> "NDArray[np.float32]":
        """Return the volume as float32 (D, H, W), read-only, decoded once while it stays in the cache.

        Raises:
            DataError: As for `locate`, or the file cannot be read.
        """
        return self._once(media, lambda: self._read_volume(media))

    def _read_volume(self, media: Media) -> "NDArray[np.float32]":
        from harness.imaging.volumes import read_volume

        voxels = read_volume(self.locate(media)).voxels
        return voxels.T.copy() if media.axes == "xyz" else voxels

    def _once(self, media: Media, decode: "Callable[[], NDArray[Any]]", what: str = "") -> "NDArray[Any]":
        """Return the cached pixels, or decode and cache them; the pixels cached first are dropped first."""
        key = (media.sha256 or "", media.window, media.crop, media.drawn, media.axes, media.slice, media.view, what)
        with _TURN:
            found = self._decoded.get(key)
        if found is not None:
            return found
        pixels = decode()
        pixels.setflags(write=False)
        with _TURN:
            held = sum(kept.nbytes for kept in self._decoded.values())
            while self._decoded and held + pixels.nbytes > CACHE_BYTES:
                held -= self._decoded.pop(next(iter(self._decoded))).nbytes
            self._decoded[key] = pixels  # even if larger than the cache, which then holds nothing else
        return pixels


@dataclass(frozen=True, slots=True)
class LocalMedia:
    """The handle that an adapter gets for an image or volume: its record, and the store that can open it."""

    record: Media
    store: MediaStore

    @property
    def path(self) -> str:
        """A local file with the content of `image` or `volume`: the release's own, verified, or a PNG made from it."""
        return str(self.store.path_of(self.record))

    @property
    def size(self) -> Size:
        """(H, W) or (D, H, W) of the array that `image` or `volume` returns."""
        return self.record.size

    def image(self) -> "NDArray[np.uint8]":
        """Return the image as it is shown, cropped and painted: uint8 (H, W, 3) RGB, read-only.

        Raises:
            DataError: This is a volume, or the file cannot be read.
        """
        if self.record.kind != "image":
            raise DataError(f"{self.record.path}: is a volume, not an image; ask for .volume()")
        self.store.asked.add("image")
        return self.store.image(self.record)

    def volume(self) -> "NDArray[np.float32]":
        """Return the volume as float32 (D, H, W), read-only; `record` holds its spacing and affine.

        Raises:
            DataError: This is an image, or the file cannot be read.
        """
        if self.record.kind != "volume":
            raise DataError(f"{self.record.path}: is an image, not a volume; ask for .image()")
        self.store.asked.add("volume")
        return self.store.volume(self.record)


def with_handles(request: Request, store: MediaStore) -> Request:
    """Return the request with every media record replaced by a handle of `store`; each file is found and verified.

    Raises:
        DataError: A file is missing or its bytes changed.
    """
    found = request.media
    if not found:
        return request
    for media in found:
        store.locate(media.record)
    turns = []
    for turn in request.messages:
        parts = (
            MediaPart(media=LocalMedia(part.media.record, store)) if isinstance(part, MediaPart) else part
            for part in turn.parts
        )
        turns.append(replace(turn, parts=tuple(parts)))
    return replace(request, messages=tuple(turns))
