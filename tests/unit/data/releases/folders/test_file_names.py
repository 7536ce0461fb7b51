"""Names of files: what is hidden or no image, and which file a name in another form means."""

import unicodedata
from pathlib import Path

import pytest

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.folders.file_names import (
    FileNames,
    Named,
    PassedOver,
    check_encoding,
    is_hidden,
    report_repairs,
    split_suffix,
)
from harness.errors import DataError

NFC = unicodedata.normalize("NFC", "Müller.png")
NFD = unicodedata.normalize("NFD", "Müller.png")


@pytest.mark.parametrize(
    ("path", "hidden"),
    [
        ("a.png", False),
        ("._a.png", True),
        (".DS_Store", True),
        ("__MACOSX/a.png", True),
        (".git/a", True),
        ("a.b", False),
    ],
)
def test_names_that_begin_with_a_dot_and_macos_copies_are_hidden(path: str, hidden: bool) -> None:
    assert is_hidden(path) is hidden


@pytest.mark.parametrize(
    ("name", "stem", "suffix"),
    [
        ("A.NII.GZ", "A", ".NII.GZ"),
        ("a.b.PNG", "a.b", ".PNG"),
        ("f.d/a", "f.d/a", ""),
        ("a.tar.gz", "a.tar", ".gz"),
        (".hidden", ".hidden", ""),
    ],
)
def test_the_suffix_of_a_compressed_volume_is_one(name: str, stem: str, suffix: str) -> None:
    assert split_suffix(name) == (stem, suffix)


def test_files_that_are_not_images_are_reported_once_per_kind() -> None:
    beside, integrity = PassedOver(), Integrity()
    for path in ("f/._b.png", "f/._a.png", "f/Thumbs.db", "f/x.json", "f/README", "f/.g/y.json"):
        beside.add(path, below="f")
    beside.add(".f/z.json", below=".f")
    beside.report(integrity)
    assert [(one.kind, one.where, one.detail) for one in sorted(integrity.findings)] == [
        ("passed_over", ".f/z.json", "2 files: *.json"),
        ("passed_over", "f/._a.png", "3 files: hidden"),
        ("passed_over", "f/README", "1 file: without a suffix"),
        ("passed_over", "f/Thumbs.db", "1 file: *.db"),
    ]


def names(root: Path, *files: str) -> FileNames:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return FileNames(ReleaseFiles(root=root, derived=root))


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        (f"m/{NFD}", f"m/{NFC}"),
        (f"m/{NFC}", f"m/{NFD}"),
        ("m/a.PNG", "m/a.png"),
        ("m/A.png", "m/a.png"),
        ("m/case.NII.GZ", "m/case.nii.gz"),
        (f"m/{NFD[:-3]}PNG", f"m/{NFC}"),
        (f"{NFD}/a.png", f"{NFC}/a.png"),
        ("Masks/a.png", "masks/a.png"),
    ],
)
def test_a_name_in_another_form_is_found_and_listed_as_a_repair(tmp_path: Path, there: str, wanted: str) -> None:
    found = names(tmp_path, there).all_of([wanted])
    assert found == {wanted: Named(there)}
    integrity = Integrity()
    report_repairs(found, integrity)
    assert integrity.repairs == {"file_name": 1}
    assert integrity.examples["file_name"] == [f"{there} for {wanted.rpartition('/')[2]}"]


def test_the_name_itself_comes_first_and_is_no_repair(tmp_path: Path) -> None:
    wanted = ["m/a.png", "m/A.png", f"m/{NFC}", f"m/{NFD}"]
    found = names(tmp_path, *wanted).all_of(wanted)
    assert found == {path: Named(path) for path in wanted}
    integrity = Integrity()
    report_repairs(found, integrity)
    assert integrity.repairs == {}


def test_the_smaller_difference_comes_first(tmp_path: Path) -> None:
    found = names(tmp_path, "m/a.PNG", "m/A.png").all_of(["m/a.png"])
    assert found["m/a.png"] == Named("m/a.PNG")


def test_two_files_that_could_be_meant_are_refused(tmp_path: Path) -> None:
    found = names(tmp_path, "m/CASE.png", "m/Case.png").all_of(["m/case.png"])["m/case.png"]
    assert not found.found
    assert found.detail == "expected one file that differs from it in form only, found CASE.png and Case.png"
    folders = names(tmp_path, "MM/a.png", "Mm/a.png").all_of(["mm/a.png"])["mm/a.png"]
    assert folders.detail == "expected one file that differs from it in form only, found MM and Mm"


def test_a_file_that_is_that_of_another_image_is_refused(tmp_path: Path) -> None:
    found = names(tmp_path, "m/a.png", "m/Bb.png").all_of(["m/a.png", "m/A.png", "m/bb.png", "m/BB.png"])
    assert found["m/a.png"] == Named("m/a.png")
    said = "m/a.png differs from it in form only, but may also belong to m/a.png"
    assert found["m/A.png"] == Named("m/A.png", found=False, detail=said)
    assert found["m/bb.png"].detail == "m/Bb.png differs from it in form only, but may also belong to m/BB.png"
    assert not found["m/BB.png"].found


def test_a_missing_file_names_the_nearest_or_what_lacks(tmp_path: Path) -> None:
    look = names(tmp_path, "m/case_001.png", "m/._case_01.png")
    found = look.all_of(["m/case_01.png", "m/zzz.png", "n/a.png"])
    assert found["m/case_01.png"] == Named("m/case_01.png", found=False, detail="did you mean 'case_001.png'?")
    assert found["m/zzz.png"].detail == "no file in m has a similar name"
    assert found["n/a.png"].detail == "there is no folder n"
    many = look.all_of([f"m/case_{number}.png" for number in range(20)])
    assert sum(bool(named.detail) for named in many.values()) == 8  # two were looked for above


def test_a_folder_that_links_elsewhere_is_found_by_its_name(tmp_path: Path) -> None:
    look = names(tmp_path, "real/Ab.png")
    (tmp_path / "m").symlink_to(tmp_path / "real")
    found = look.all_of(["m/ab.png", "m/zzz.png"])
    assert found["m/ab.png"] == Named("m/Ab.png")
    assert found["m/zzz.png"].detail == "no file in m has a similar name"


def test_a_name_that_is_not_text_is_refused() -> None:
    check_encoding("m/Müller.png")
    message = r"m/M\\xfcller.png: expected a file name in UTF-8, found other bytes; rename it, e.g. with convmv"
    with pytest.raises(DataError, match=message):
        check_encoding(b"m/M\xfcller.png".decode("utf-8", "surrogateescape"))
