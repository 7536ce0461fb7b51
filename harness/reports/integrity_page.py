"""The integrity report as a page: the findings, their meaning, and images of the first offenders of each kind."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from harness.data.integrity import FINDINGS, Finding, Integrity
from harness.data.manifest import Prepared, read_report
from harness.data.releases.files import replace_file
from harness.data.releases.images import ImageFiles
from harness.errors import DataError
from harness.imaging.windowing import Window
from harness.reports.html import environment

NAME = "integrity.html"
# Findings of one kind that the page lists; integrity.json holds all.
LISTED = 12
# Most images on a page. No others are opened, so the page of a large release takes no longer.
THUMBNAILS = 30
# Pixels of a thumbnail's longer edge.
SIDE = 128
# A light line with a dark edge on both sides is visible on any grey.
OUTLINE = (255, 196, 0)
HALO = (20, 20, 20)

# Kinds of findings whose place is a mask, shown as an outline on its image.
MASK_KINDS = frozenset({"empty_mask", "full_mask", "inverted_mask", "size_mismatch", "unknown_class"})
# Kinds whose place is an image, shown beside the image that it is compared with.
PAIR_KINDS = frozenset({"near_duplicate"})
# Kinds whose place is an image; for all other kinds there is nothing to show.
IMAGE_KINDS = frozenset({"exif_rotation", "no_mask", "train_test_overlap"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """An image on the page: a PNG as a data URI, its size in pixels, and its content in words."""

    uri: str
    width: int
    height: int
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Offender:
    """A finding and its images; none if it cannot be shown or the page has enough."""

    finding: Finding
    thumbnails: tuple[Thumbnail, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """All findings of one kind, as the page shows them.

    Attributes:
        name, meaning: As in `FINDINGS`.
        count: Number of findings.
        checked: Number of things that were checked; None if that number means nothing.
        offenders: The first of them, by place.
    """

    name: str
    meaning: str
    count: int
    checked: int | None
    offenders: tuple[Offender, ...]

    @property
    def more(self) -> int:
        """Findings that the page does not list."""
        return self.count - len(self.offenders)


def write_page(prepared: Prepared, title: str, window: Window | None) -> Path:
    """Write `integrity.html` beside the integrity report and return its path.

    The page opens from the file system and asks nothing of any server. It holds no time and no absolute path, so the
    same release gives the same page wherever it is stored. At most `THUMBNAILS` images of the release are opened.

    Args:
        prepared: The release and its report.
        title: The name of the task that reads the release.
        window: Grey window with which it was prepared; None for none.
    Raises:
        DataError: The report cannot be read, or the page cannot be written.
    """
    path = prepared.integrity.with_name(NAME)
    images = ImageFiles(root=prepared.root, derived=prepared.derived, window=window)
    page = render(read_report(prepared.integrity), images, title, prepared.digest)
    try:
        replace_file(path, page.encode())
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}; make room or set MEDGROUND_CACHE") from error
    return path


def render(integrity: Integrity, images: ImageFiles, title: str, digest: str) -> str:
    """Return the page of a report; `digest` is the manifest's."""
    kinds = kinds_of(integrity, images)
    return (
        environment()
        .get_template(NAME)
        .render(
            title=title,
            digest=digest,
            integrity=integrity,
            kinds=kinds,
            found=sum(kind.count for kind in kinds),
            clean=[
                (kind, FINDINGS[kind], n)
                for kind, n in sorted(integrity.checked.items())
                if kind not in integrity.counts
            ],
            repairs=[(name, count, integrity.examples[name]) for name, count in integrity.repairs.items()],
        )
    )


def kinds_of(integrity: Integrity, images: ImageFiles) -> tuple[Kind, ...]:
    """Return the kinds found, most frequent first, each with its first offenders and as many images as the others."""
    counts = integrity.counts
    firsts: dict[str, list[Finding]] = {}
    for finding in sorted(integrity.findings):
        listed = firsts.setdefault(finding.kind, [])
        if len(listed) < LISTED:
            listed.append(finding)
    shown = sum(kind in MASK_KINDS | PAIR_KINDS | IMAGE_KINDS for kind in counts)
    # Divided by at least 3, so that a single kind does not fill the page with images of one fault.
    painter = _Painter(images, each=THUMBNAILS // max(shown, 3))
    return tuple(
        Kind(
            name=kind,
            meaning=FINDINGS[kind],
            count=count,
            checked=integrity.checked.get(kind),
            offenders=painter.offenders(firsts[kind]),
        )
        for kind, count in counts.items()
    )


@dataclass(frozen=True, slots=True)
class _Painter:
    """Opens offenders and draws them, at most `each` images per kind."""

    images: ImageFiles
    each: int = field(kw_only=True)

    def offenders(self, findings: Sequence[Finding]) -> tuple[Offender, ...]:
        room = self.each
        offenders = []
        for finding in findings:
            thumbnails = self._thumbnails(finding) if room > 0 else ()
            if len(thumbnails) > room:  # half a pair shows nothing
                thumbnails, room = (), 0
            room -= len(thumbnails)
            offenders.append(Offender(finding=finding, thumbnails=thumbnails))
        return tuple(offenders)

    def _thumbnails(self, finding: Finding) -> tuple[Thumbnail, ...]:
        """Return the images of a finding; a file that cannot be opened gives none, and its finding stays in words."""
        try:
            if finding.kind in MASK_KINDS:
                return self._mask(finding)
            if finding.kind in PAIR_KINDS:
                return self._image(finding.where, "the image"), self._image(finding.image, "the image it looks like")
            if finding.kind in IMAGE_KINDS:
                return (self._image(finding.where, "the image"),)
        except DataError:
            pass
        return ()

    def _image(self, path: str, words: str) -> Thumbnail:
        return thumbnail(_fitted(Image.fromarray(self.images.image(path))), words)

    def _mask(self, finding: Finding) -> tuple[Thumbnail, ...]:
        """Return the mask as an outline on its image, or beside it if the two differ in size."""
        mask = self.images.mask(finding.where)
        if not finding.image:
            return (_silhouette(mask),)
        image = self.images.image(finding.image)
        if image.shape[:2] != mask.shape:
            return self._image(finding.image, "the image"), _silhouette(mask)
        return (_outlined(image, mask),)


def _outlined(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Thumbnail:
    """Return an image, (H, W, 3), with the outline of a mask, (H, W)."""
    drawn = np.array(_fitted(Image.fromarray(image)))
    small = _shrunk(mask, drawn.shape[:2])
    inner = small & ~ndimage.binary_erosion(small)  # what lies outside the image counts as background
    halo = ndimage.binary_dilation(inner) & ~inner
    drawn[halo] = HALO
    drawn[inner] = OUTLINE
    words = "the image with the outline of its mask" if mask.any() else "the image; its mask has nothing to outline"
    return thumbnail(Image.fromarray(drawn), words)


def _silhouette(mask: NDArray[np.bool_]) -> Thumbnail:
    """Return a mask, (H, W), as light on dark."""
    small = _shrunk(mask, np.asarray(_fitted(Image.fromarray(mask))).shape[:2])
    drawn = np.array([HALO, OUTLINE], dtype=np.uint8)[small.astype(np.intp)]
    return thumbnail(Image.fromarray(drawn), "the mask alone")


def _fitted(image: Image.Image) -> Image.Image:
    """Return an image whose longer side is `SIDE`."""
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    # NEAREST keeps the pixels of a small image apart, and is all that an image of single bits allows.
    return image.resize(size, Image.Resampling.NEAREST if scale > 1 or image.mode == "1" else Image.Resampling.BOX)


def _shrunk(mask: NDArray[np.bool_], size: Sequence[int]) -> NDArray[np.bool_]:
    """Return a mask, (H, W), at another size: the cells of which it covers at least a fifth, or else all it touches."""
    grey = Image.fromarray(mask.astype(np.float32)).resize((size[1], size[0]), Image.Resampling.BOX)
    covered = np.asarray(grey)
    cells: NDArray[np.bool_] = covered >= 0.2
    return cells if cells.any() else covered > 0


def thumbnail(image: Image.Image, words: str) -> Thumbnail:
    """Return an image as a PNG in a data URI, with its content in `words`."""
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    uri = "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
    return Thumbnail(uri=uri, width=image.width, height=image.height, words=words)
