"""The archive of a bundle: what would leave the folder, fill the disk or run code is refused before it is unpacked."""

import io
import os
import random
import zipfile
from pathlib import Path

import pytest

from harness.errors import DataError
from leaderboard.verification import archive
from leaderboard.verification.archive import unpack
from tests.support.bundle_mutations import RAW, pack, pack_all, read
from tests.support.good_bundle import BUNDLE

# A part of the reason that a person reads.
REASONS = {
    "path out of the folder": r"^\.\./evil\.txt: its name leads out of its folder",
    "path out in the middle": "its name leads out of its folder",
    "absolute path": "^/tmp/evil.txt: its name is an absolute path",
    "drive": "^C:/evil.txt: its name begins with a drive",
    "backslash": r"^blobs\\evil\.txt: its name holds a backslash, which is a separator on some systems",
    "dot in a path": "or is not in its plain form",
    "empty part of a path": "or is not in its plain form",
    "link": "^blobs/link: is a link",
    "link in place of a member": "^card.md: is a link",
    "device": "is a folder or a special file; expected plain files",
    "folder": "^blobs/: is a folder or a special file",
    "name twice": "is there twice",
    "names of one case": "is the same file as .* where case is ignored",
    "pickle": "looks like a pickle or an array, which can run code",
    "archive within": "is an archive within the archive",
    "stranger": "^readme.txt: is no member of a bundle; expected bundle.json, card.md, run.json, results.json",
    "target": "is no member of a bundle",
    "image": "is no member of a bundle",
    "name too long": "its name has 5,006 characters; expected 1 to 200",
    "control character": "its name holds control characters",
    "bomb": "is no member of a bundle",
    "bomb under a good name": "^results.json: shrinks by more than 100 to 1, as only a bomb does",
    "name that is not UTF-8": "its name is not UTF-8",
    "encrypted": "is encrypted",
    "packed by another method": "is packed by method 14; expected stored or deflated",
    "declared too small": "damaged|declare",
    "more members than there are": "^the archive has 30,000 members; expected at most 20,000",
    "huge form": r"the form for huge files \(zip64\), which a bundle never needs",
    "no archive": "^is no zip archive; expected what `harness bundle` writes",
    "nothing": "^is no zip archive",
}


@pytest.mark.parametrize("kind", REASONS)
def test_a_hostile_archive_is_refused_with_its_reason(kind: str, tmp_path: Path) -> None:
    path, folder = tmp_path / "bundle.zip", tmp_path / "work"
    folder.mkdir()
    path.write_bytes(RAW[kind](random.Random(3), BUNDLE.read_bytes()))
    with pytest.raises(DataError, match=REASONS[kind]):
        unpack(path, folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle.zip", "work"]
    assert not Path("/tmp/evil.txt").exists()


def test_names_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    path, folder = tmp_path / "bundle.zip", tmp_path / "work"
    folder.mkdir()
    path.write_bytes(RAW["path out of the folder"](random.Random(0), BUNDLE.read_bytes()))
    with pytest.raises(DataError):
        unpack(path, folder)
    assert list(folder.iterdir()) == []


def test_a_good_archive_is_unpacked_as_it_is(tmp_path: Path) -> None:
    names = unpack(BUNDLE, tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in names} == read(BUNDLE.read_bytes())


class Lying(zipfile.ZipFile):
    """An archive whose members have other sizes than it declares, which Python's reader does not let through itself."""

    says = b""

    def open(self, *_: object, **__: object) -> io.BytesIO:  # type: ignore[override]
        return io.BytesIO(self.says)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"# a card\n" * 99, r"^card\.md: unpacks to more than the 9 bytes that the archive declares"),
        (b"#", r"^card\.md: unpacks to 1 bytes; the archive declares 9"),
    ],
)
def test_a_member_has_the_size_that_is_declared(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    path.write_bytes(pack({"card.md": b"# a card\n"}))
    with Lying(path) as file:
        file.says = content
        with pytest.raises(DataError, match=reason):
            archive._unpack_member(file, file.infolist()[0], tmp_path / "work")


def test_the_sizes_of_all_members_are_bounded_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(archive, "MOST_UNPACKED_BYTES", 1000)
    with pytest.raises(DataError, match=r"unpacks to 4.*bytes; expected at most 1,000"):
        unpack(BUNDLE, tmp_path)


def test_a_member_is_bounded_by_its_kind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(archive.MOST_BYTES, "card.md", 10)
    with pytest.raises(DataError, match=r"card\.md: has 579 bytes; expected at most 10"):
        unpack(BUNDLE, tmp_path)


def test_only_the_first_faults_are_named(tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    path.write_bytes(pack_all([(zipfile.ZipInfo(f"../{number}"), b"x") for number in range(9)]))
    with pytest.raises(DataError) as caught:
        unpack(path, tmp_path / "work")
    assert len(str(caught.value).splitlines()) == archive.FAULTS_NAMED + 1
    assert str(caught.value).endswith("and more")


def test_an_archive_in_parts_is_refused(tmp_path: Path) -> None:
    content = bytearray(BUNDLE.read_bytes())
    content[content.rindex(b"PK\x05\x06") + 4] = 1
    path = tmp_path / "bundle.zip"
    path.write_bytes(content)
    with pytest.raises(DataError, match="the archive is one of several parts; expected a single file"):
        unpack(path, tmp_path)


def test_a_file_that_is_no_file_or_too_large_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(archive, "MOST_ARCHIVE_BYTES", 10)
    with pytest.raises(DataError, match="expected a file of at most 0 GiB"):
        unpack(BUNDLE, tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="expected a file of at most"):
        unpack(tmp_path / "pipe", tmp_path)


def test_an_archive_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read or unpacked: No such file"):
        unpack(tmp_path / "nowhere.zip", tmp_path)


@pytest.mark.parametrize("seed", range(6))
def test_a_flipped_bit_or_a_cut_never_raises_anything_else(seed: int, tmp_path: Path) -> None:
    for kind in ("bit flipped", "cut"):
        path, folder = tmp_path / f"{kind}.zip", tmp_path / kind
        folder.mkdir()
        path.write_bytes(RAW[kind](random.Random(seed), BUNDLE.read_bytes()))
        try:
            unpack(path, folder)
        except DataError:
            continue
        # A bit of a time or of an attribute changes nothing that is read.
        assert {name: (folder / name).read_bytes() for name in read(BUNDLE.read_bytes())} == read(BUNDLE.read_bytes())
