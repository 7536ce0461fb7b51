"""The integrity page: what it says, what it shows, what it refuses to open, and that it is safe to open itself."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from harness.data.integrity import FINDINGS, Finding, Integrity
from harness.data.releases.images import ImageFiles
from harness.errors import DataError
from harness.reports import integrity_page
from harness.reports.integrity_page import (
    IMAGE_KINDS,
    MASK_KINDS,
    OUTLINE,
    PAIR_KINDS,
    SIDE,
    THUMBNAILS,
    kinds_of,
    render,
)

DIGEST = "d" * 64


@pytest.fixture
def album(tmp_path: Path) -> ImageFiles:
    """An image of 40 x 60 pixels, its mask, and a mask of another size."""
    Image.new("RGB", (60, 40), (0, 0, 200)).save(tmp_path / "image.png")
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[10:30, 20:40] = 1
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.fromarray(mask[:20]).save(tmp_path / "cut.png")
    return ImageFiles(root=tmp_path, derived=tmp_path / "derived")


def report(*findings: Finding) -> Integrity:
    return Integrity(findings=list(findings), samples=1234)


def shown(album: ImageFiles, finding: Finding) -> list[NDArray[np.uint8]]:
    """The pictures of one finding, as (H, W, 3)."""
    (kind,) = kinds_of(report(finding), album)
    (offender,) = kind.offenders
    return [decoded(thumbnail.uri) for thumbnail in offender.thumbnails]


def decoded(uri: str) -> NDArray[np.uint8]:
    content = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_a_mask_is_an_outline_on_its_image(album: ImageFiles) -> None:
    (picture,) = shown(album, Finding("inverted_mask", "mask.png", "", "image.png"))
    assert max(picture.shape[:2]) == SIDE
    outline = (picture == OUTLINE).all(axis=2)
    rows, columns = np.nonzero(outline)
    scale = SIDE / 60
    assert (rows.min(), rows.max()) == pytest.approx((10 * scale, 30 * scale), abs=1.5)
    assert (columns.min(), columns.max()) == pytest.approx((20 * scale, 40 * scale), abs=1.5)
    assert not outline[picture.shape[0] // 2, SIDE // 2]
    assert (picture[2, 2] == (0, 0, 200)).all()


def test_a_mask_of_another_size_stands_beside_its_image(album: ImageFiles) -> None:
    image, mask = shown(album, Finding("size_mismatch", "cut.png", "", "image.png"))
    assert (image == (0, 0, 200)).all()
    assert (mask == OUTLINE).all(axis=2).any()


def test_a_mask_without_a_known_image_stands_alone(album: ImageFiles) -> None:
    (mask,) = shown(album, Finding("full_mask", "mask.png"))
    assert (mask == OUTLINE).all(axis=2).mean() == pytest.approx(20 * 20 / (40 * 60), abs=0.03)


def test_near_duplicates_stand_side_by_side(album: ImageFiles) -> None:
    assert len(shown(album, Finding("near_duplicate", "image.png", "", "image.png"))) == 2


def test_a_speck_is_still_visible(album: ImageFiles) -> None:
    mask = np.zeros((2000, 2000), dtype=np.uint8)
    mask[700, 900] = 1
    Image.fromarray(mask).save(album.root / "speck.png")
    (picture,) = shown(album, Finding("unknown_class", "speck.png"))
    assert (picture == OUTLINE).all(axis=2).sum() == 1


@pytest.mark.parametrize(
    "finding",
    [
        Finding("missing_file", "image.png"),
        Finding("empty_mask", "gone.png", "", "image.png"),
        Finding("exif_rotation", "../outside.png"),
        Finding("train_test_overlap", "testset.json[3]"),
        Finding("near_duplicate", "image.png", "", "gone.png"),
    ],
)
def test_what_cannot_be_shown_stays_in_words(album: ImageFiles, finding: Finding) -> None:
    Image.new("RGB", (4, 4)).save(album.root.parent / "outside.png")
    assert shown(album, finding) == []
    assert finding.where.rpartition("/")[2] in render(report(finding), album, "demo", DIGEST)


def test_only_a_few_offenders_are_opened_whatever_was_found(album: ImageFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    content = ImageFiles._content

    def counted(self: ImageFiles, path: str) -> bytes:
        opened.append(path)
        return content(self, path)

    monkeypatch.setattr(ImageFiles, "_content", counted)
    kinds = sorted(MASK_KINDS | PAIR_KINDS | IMAGE_KINDS)
    findings = [
        Finding(kind, "image.png" if kind not in MASK_KINDS else "mask.png", f"{number:04}", "image.png")
        for kind in kinds
        for number in range(500)
    ]
    page = render(report(*findings), album, "demo", DIGEST)
    assert len(kinds) < page.count("<img") <= THUMBNAILS
    assert len(opened) <= 2 * THUMBNAILS
    assert page.count("and 488 more; integrity.json lists them all.") == len(kinds)
    assert len(page) < 500_000


def test_every_kind_that_is_shown_exists() -> None:
    assert set(FINDINGS) >= MASK_KINDS | PAIR_KINDS | IMAGE_KINDS
    assert not MASK_KINDS & (PAIR_KINDS | IMAGE_KINDS)


def test_counts_and_repairs_come_with_what_they_mean(album: ImageFiles) -> None:
    integrity = report(Finding("empty_mask", "mask.png", "", "image.png"), Finding("missing_file", "gone.png"))
    integrity.checked["train_test_overlap"] = 203
    integrity.selected = (9000, 1234)
    for number in range(4):
        integrity.repair("answer_type_blank", f"test.json[{number}]")
    page = render(integrity, album, "demo", DIGEST)
    text = " ".join(re.sub(r"<[^>]*>", "", page).split())
    assert "samples1,234" in text.replace(" ", "")
    assert "selects 1,234 of 9,000 samples" in text
    assert "mask without a foreground pixel" in text
    assert "4answer_type_blankfor example test.json[0], test.json[1], test.json[2]" in text
    assert "No train_test_overlap (test image that also occurs in train) among 203 checked." in text


def test_a_clean_release_says_so(album: ImageFiles) -> None:
    page = render(report(), album, "demo", DIGEST)
    assert "None: every file that the release lists is present" in page
    assert "<img" not in page


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_names_from_a_release_cannot_become_markup(album: ImageFiles) -> None:
    evil = '"><script>alert(1)</script><img src=x onerror=alert(1)>/a.png'
    integrity = report(Finding("missing_file", evil, evil, evil))
    integrity.repair(evil, evil)
    parser = _Tags()
    parser.feed(render(integrity, album, evil, DIGEST))
    assert not {"script", "img", "link", "iframe"} & {tag for tag, _ in parser.tags}
    assert not [attributes for _, attributes in parser.tags for name in attributes if name.startswith("on")]


def test_the_page_forbids_scripts_and_asks_no_server(album: ImageFiles) -> None:
    page = render(report(Finding("full_mask", "mask.png", "", "image.png")), album, "demo", DIGEST)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:;" in page
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page


def test_the_page_does_not_depend_on_order_or_place(album: ImageFiles, tmp_path: Path) -> None:
    findings = [
        Finding("full_mask", "mask.png", "", "image.png"),
        Finding("missing_file", "b"),
        Finding("missing_file", "a"),
    ]
    first = render(report(*findings), album, "demo", DIGEST)
    assert render(report(*reversed(findings)), album, "demo", DIGEST) == first
    assert str(tmp_path) not in first


def test_an_album_tells_of_a_file_that_is_gone(album: ImageFiles) -> None:
    with pytest.raises(
        DataError, match=r"^gone\.png: expected a file of the release, found none; run `harness prepare`"
    ):
        album.image("gone.png")


def test_the_derived_folder_is_looked_in_too(album: ImageFiles) -> None:
    album.derived.mkdir()
    (album.root / "image.png").rename(album.derived / "image.png")
    assert album.image("image.png").shape == (40, 60, 3)


def test_thumbnails_are_small(album: ImageFiles) -> None:
    Image.new("RGB", (900, 30)).save(album.root / "wide.png")
    thumbnail = integrity_page._fitted(Image.open(album.root / "wide.png"))
    assert thumbnail.size == (SIDE, 4)
