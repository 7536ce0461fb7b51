"""The archive of a bundle: everything is refused that could leave the work folder, fill the disk or run code.

The names and declared sizes are checked before a byte is unpacked, and the real sizes while it is. What is left is a
folder that holds the members of a bundle and nothing else.
"""

import errno
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from harness.errors import DataError
from harness.exports.bundles import layout

MOST_ARCHIVE_BYTES = 2 << 30
MOST_UNPACKED_BYTES = 4 << 30
MOST_MEMBERS = 20_000
# An entry of the directory takes 46 bytes and its name; Python keeps an object of about 1 KB for each.
MOST_DIRECTORY_BYTES = MOST_MEMBERS * 200
MOST_NAME = 200
# Deflate reaches 1,032. A line of predictions holds a digest, which does not shrink, so 100 is never reached in
# earnest; small files of repeated words may reach it, and do no harm.
MOST_RATIO = 100
RATIO_FROM_BYTES = 1 << 20
MOST_BYTES = {
    layout.INDEX: 8 << 20,
    layout.CARD: 1 << 20,
    layout.RUN: 4 << 20,
    layout.RESULTS: 16 << 20,
    layout.PANELS_FILE: 1 << 20,
    layout.PREDICTIONS: 2 << 30,
}
MOST_BLOB_BYTES = 32 << 20
MOST_JUDGE_BYTES = 1 << 30
BLOCK = 1 << 18
# Of the place that is unpacked to. Of a forged archive Python's reader raises others, such as EINVAL.
DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
FAULTS_NAMED = 5

END = b"PK\x05\x06"
END_BYTES = 22
MOST_COMMENT = 65_535
ENCRYPTED = 0x1
UTF8 = 0x800
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib", ".npy", ".npz", ".dill")
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst", ".whl", ".jar")
# The first bytes of files that no member may be: archives, and pickles of protocol 2 and later.
MAGIC = {
    b"PK\x03\x04": "an archive",
    b"\x1f\x8b": "an archive",
    b"BZh": "an archive",
    b"\xfd7zXZ": "an archive",
    b"7z\xbc\xaf": "an archive",
    b"Rar!": "an archive",
    **{bytes([0x80, protocol]): "a pickle" for protocol in range(2, 6)},
}
ZSTD = b"\x28\xb5\x2f\xfd"


def unpack(path: Path, folder: Path) -> list[str]:
    """Unpack a bundle into an empty folder, and return the names of its members.

    Args:
        path: The archive.
        folder: The folder; nothing is written elsewhere.
    Raises:
        DataError: The archive is none, or is refused; the message has a line for each fault, at most FAULTS_NAMED.
        OSError: The folder cannot be written.
    """
    try:
        if path.stat().st_size > MOST_ARCHIVE_BYTES or not stat.S_ISREG(path.stat().st_mode):
            raise DataError(f"expected a file of at most {MOST_ARCHIVE_BYTES >> 30} GiB")
        with path.open("rb") as file:
            _check_directory(file)
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                _check_members(members)
                for member in members:
                    _unpack_member(archive, member, folder)
    # Of a damaged or forged archive Python's reader raises any of these.
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, RuntimeError) as error:
        raise DataError(f"the zip archive is damaged: {error}") from error
    except (ValueError, UnicodeError, OverflowError) as error:
        raise DataError(f"the zip archive cannot be read: {error}") from error
    except OSError as error:
        if error.errno in DISK_FAULTS:
            raise
        raise DataError(f"cannot be read or unpacked: {error.strerror or error}") from error
    return [member.filename for member in members]


def _check_directory(file: BinaryIO) -> None:
    """Check the size of the archive's directory before it is read into memory.

    Raises:
        DataError: It is no zip archive, has too many members, is in the form for huge files, or is in parts.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - END_BYTES - MOST_COMMENT))
    tail = file.read()
    # Python's reader takes an end without a comment first, then the last one that it finds; so must this check.
    place = len(tail) - END_BYTES if tail[-END_BYTES : -END_BYTES + 4] == END else tail.rfind(END)
    if len(tail) < END_BYTES or place < 0 or len(tail) - place < END_BYTES:
        raise DataError("is no zip archive; expected what `harness bundle` writes")
    disk, first_disk, here, entries, length, offset = struct.unpack("<4H2L", tail[place + 4 : place + 20])
    if 0xFFFF in (here, entries) or 0xFFFFFFFF in (length, offset):
        raise DataError("the archive is in the form for huge files (zip64), which a bundle never needs")
    if disk or first_disk or here != entries:
        raise DataError("the archive is one of several parts; expected a single file")
    if entries > MOST_MEMBERS or length > MOST_DIRECTORY_BYTES:
        raise DataError(f"the archive has {entries:,} members; expected at most {MOST_MEMBERS:,}")


def _check_members(members: Sequence[zipfile.ZipInfo]) -> None:
    """Check every name and declared size before anything is unpacked.

    Raises:
        DataError: One line per fault.
    """
    faults = [fault for member in members if (fault := _fault(member)) is not None]
    names = [member.orig_filename for member in members]
    seen: set[str] = set()
    folded: dict[str, str] = {}
    for name in names:
        if name in seen:
            faults.append(f"{_shown(name)}: is there twice")
            continue
        seen.add(name)
        # On some file systems such names are one file, and the second overwrites the first.
        other = folded.setdefault(unicodedata.normalize("NFKC", name).casefold(), name)
        if other != name:
            faults.append(f"{_shown(name)}: is the same file as {_shown(other)} where case is ignored")
    unpacked = sum(member.file_size for member in members)
    if unpacked > MOST_UNPACKED_BYTES:
        faults.append(f"unpacks to {unpacked:,} bytes; expected at most {MOST_UNPACKED_BYTES:,}")
    if missing := [name for name in layout.REQUIRED if name not in seen]:
        faults.append(f"{', '.join(missing)}: missing; expected what `harness bundle` writes")
    if faults:
        raise DataError("\n  ".join([*faults[:FAULTS_NAMED], *(["and more"] if len(faults) > FAULTS_NAMED else [])]))


def _fault(member: zipfile.ZipInfo) -> str | None:
    """Return why a member is refused, by what the directory of the archive says of it; None if it is not."""
    name = member.orig_filename  # before Python replaces separators and cuts at NUL
    shown = _shown(name)
    if (reason := _unsafe_name(name)) is not None:
        return f"{shown}: {reason}"
    if not name.isascii() and not member.flag_bits & UTF8:
        return f"{shown}: its name is not UTF-8"
    mode = member.external_attr >> 16
    if stat.S_ISLNK(mode):
        return f"{shown}: is a link"
    if name.endswith("/") or stat.S_ISDIR(mode) or (mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG)):
        return f"{shown}: is a folder or a special file; expected plain files"
    if member.flag_bits & ENCRYPTED:
        return f"{shown}: is encrypted"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"{shown}: is packed by method {member.compress_type}; expected stored or deflated"
    if not layout.is_member(name):
        if name.lower().endswith(PICKLES):
            return f"{shown}: looks like a pickle or an array, which can run code or hold anything; nothing reads it"
        if name.lower().endswith(ARCHIVES):
            return f"{shown}: is an archive within the archive"
        return f"{shown}: is no member of a bundle; expected {', '.join(layout.REQUIRED)}, masks or judgements"
    most = most_bytes(name)
    if member.file_size > most:
        return f"{shown}: has {member.file_size:,} bytes; expected at most {most:,}"
    if member.file_size > RATIO_FROM_BYTES and member.file_size > MOST_RATIO * max(1, member.compress_size):
        return f"{shown}: shrinks by more than {MOST_RATIO} to 1, as only a bomb does"
    return None


def most_bytes(name: str) -> int:
    """Return how large a member may be, unpacked."""
    if layout.is_blob(name):
        return MOST_BLOB_BYTES
    if (judge := layout.judge_of(name)) is not None:
        return MOST_BYTES[layout.RUN] if name == layout.judge_members(judge)[0] else MOST_JUDGE_BYTES
    return MOST_BYTES[name]


def _unsafe_name(name: str) -> str | None:
    if not name or len(name) > MOST_NAME:
        return f"its name has {len(name):,} characters; expected 1 to {MOST_NAME}"
    if any(ord(letter) < 32 or "\ud800" <= letter <= "\udfff" or ord(letter) == 127 for letter in name):
        return "its name holds control characters or no whole characters"
    if "\\" in name:
        return "its name holds a backslash, which is a separator on some systems"
    if name.startswith("/"):
        return "its name is an absolute path"
    if re.match(r"[A-Za-z]:", name):
        return "its name begins with a drive"
    if any(part in ("", ".", "..") for part in name.removesuffix("/").split("/")):
        return "its name leads out of its folder or is not in its plain form"
    return None


def _shown(name: str) -> str:
    """Return a name that a terminal can show."""
    text = name if len(name) <= 80 else f"{name[:79]}…"
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def _unpack_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    """Write one member, counting its bytes as they come.

    Raises:
        DataError: It is larger than the directory says, of another kind than its name says, or damaged.
    """
    name = member.filename
    target = folder / name
    # The name is one of a bundle's, so this cannot fail; whoever changes the names must not open a way out.
    assert target.resolve().is_relative_to(folder.resolve()), name
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        written = 0
        for block in _blocks(archive, member):
            if not written:
                _check_beginning(name, block)
            written += len(block)
            if written > member.file_size:
                raise DataError(
                    f"{name}: unpacks to more than the {member.file_size:,} bytes that the archive declares"
                )
            file.write(block)
    if written != member.file_size:
        raise DataError(f"{name}: unpacks to {written:,} bytes; the archive declares {member.file_size:,}")


def _blocks(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(member) as stream:
        while block := stream.read(BLOCK):
            yield block


def _check_beginning(name: str, block: bytes) -> None:
    if layout.is_blob(name):
        if not block.startswith(ZSTD):
            raise DataError(f"{name}: expected masks packed by zstandard, found other bytes")
        return
    for magic, kind in MAGIC.items():
        if block.startswith(magic):
            raise DataError(f"{name}: is {kind}, whatever its name says")
