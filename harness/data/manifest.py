"""Manifests: the samples of a release with digests of their files, written once and found again while nothing changed.

Below the cache folder:

    manifests/<digest>/manifest.jsonl   a header line, then one sample a line
    manifests/<digest>/integrity.json   what is wrong with the files, what was repaired
    prepared/<key>.jsonl                per data root and request: the digest, then size and mtime of the files read
    prepared/<key>.looked.jsonl         what a preparation that was cut short found out about each file
    derived/                            files that a release holds in another form, such as embedded images
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from harness.data.inspection_cache import open_inspection_cache
from harness.data.integrity import SCHEMA as REPORT_SCHEMA
from harness.data.integrity import Integrity
from harness.data.releases.files import Base, ReleaseFiles, replace_file
from harness.data.releases.reader import Reader, ReleaseRequest
from harness.errors import DataError, SpecError
from harness.records import Json, Sample
from harness.records.codec import canonical, digest, sample_from_json, sample_to_json, sha256_file, to_json

SCHEMA = 1

Progress = Callable[[int], None]
"""Told of the number of samples prepared so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A prepared release.

    Attributes:
        reader: Who read it.
        manifest: The manifest's path.
        digest: The sha256 of the manifest's bytes: the same wherever the same files are prepared.
        integrity: Path of the integrity report.
        samples: Number of samples, those that cannot be asked included.
        root: The data root that held the release.
        derived: Where files lie that the release holds in another form; media are looked for below both.
    """

    reader: Reader
    manifest: Path
    digest: str
    integrity: Path
    samples: int
    root: Path
    derived: Path


def prepare(
    reader: Reader,
    request: ReleaseRequest,
    *,
    roots: Sequence[Path],
    cache: Path,
    plug_in: str | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Read a release, check it, and write its manifest and integrity report; reuse them while no file changed.

    Args:
        reader: The layout of the release.
        request: Which part of it, and under which ids.
        roots: Data roots; the first that holds the release's folders is read, and never written to.
        cache: Folder for all that is written.
        plug_in: The sha256 of the file that defines a reader of the task's own; None for one of ours.
        progress: Told after each sample, or once when a manifest is reused.
    Raises:
        ReleaseAbsentError: No root holds the release, or its files do not hold the split.
        DataError: A listing cannot be read, an id occurs twice, nothing is selected, or the cache cannot be written.
        SpecError: Unknown subset, option or field, or the cache lies below the data root.
    """
    reader.check(request)
    reader = reader.fitted(request)
    root = reader.find_root(roots).resolve()
    reader.check_split(root, request.split)
    place = _CacheFiles(cache=cache.resolve(), root=root, key=_key(reader, request, root, plug_in))
    digest_samples = place.remembered()
    if digest_samples is None:
        digest_samples = _read_release(reader, request, place, progress)
    elif progress is not None:
        progress(digest_samples[1])
    return place.prepared(reader, *digest_samples)


def read_manifest(path: Path) -> Iterator[Sample]:
    """Yield the samples of a manifest in its order, one in memory at a time.

    Raises:
        DataError: No such file, another schema, or a line that holds no sample.
    """
    try:
        file = path.open(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; run `harness prepare` again") from error
    with file:
        _check_header(file.readline(), path)
        for number, line in enumerate(file, start=2):
            try:
                sample = sample_from_json(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(
                    f"{path}:{number}: expected a sample, found {line[:60]!r}; run `harness prepare` again"
                ) from error
            yield sample


def read_report(path: Path) -> Integrity:
    """Return an integrity report.

    Raises:
        DataError: No such file, or it holds no report of this schema.
    """
    try:
        return Integrity.from_json(json.loads(path.read_bytes()))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; run `harness prepare` again") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: expected an integrity report, found {error}; remove it and prepare again") from error


def _check_header(line: str, path: Path) -> None:
    try:
        schema = json.loads(line)["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}:1: expected a manifest's header, found {line[:60]!r}; prepare the release again"
        ) from error
    if schema != SCHEMA:
        raise DataError(f"{path}:1: expected schema {SCHEMA}, found {schema}; prepare the release again")


@dataclass(frozen=True, slots=True, kw_only=True)
class _CacheFiles:
    """Where one preparation reads and writes.

    Attributes:
        cache: The cache folder.
        root: The data root, without links.
        key: Names the index entry.
    """

    cache: Path
    root: Path
    key: str

    @property
    def derived(self) -> Path:
        return self.cache / "derived"

    @property
    def manifests(self) -> Path:
        return self.cache / "manifests"

    @property
    def index(self) -> Path:
        return self.cache / "prepared" / f"{self.key}.jsonl"

    @property
    def inspections(self) -> Path:
        return self.cache / "prepared" / f"{self.key}.looked.jsonl"

    def partial(self, *, alone: bool) -> str:
        """Return how folders of unfinished work begin; where no other process prepares the same, remove old ones."""
        prefix = f".partial-{self.key[:16]}-"
        if not alone:
            return ".partial-"
        for left in self.cache.glob(f"{prefix}*"):
            shutil.rmtree(left, ignore_errors=True)
        return prefix

    def prepared(self, reader: Reader, manifest_digest: str, samples: int) -> Prepared:
        folder = self.manifests / manifest_digest
        return Prepared(
            reader=reader,
            manifest=folder / "manifest.jsonl",
            digest=manifest_digest,
            integrity=folder / "integrity.json",
            samples=samples,
            root=self.root,
            derived=self.derived,
        )

    def remembered(self) -> tuple[str, int] | None:
        """Return (digest, samples) of an earlier preparation; None when there is none or anything moved since."""
        try:
            with self.index.open(encoding="utf-8") as file:
                header = json.loads(file.readline())
                found = header["digest"], header["samples"]
                folder = self.manifests / found[0]
                whole = (folder / "integrity.json").is_file() and sha256_file(folder / "manifest.jsonl") == found[0]
                return found if whole and all(self._unchanged(*json.loads(line)) for line in file) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _unchanged(self, base: Base, relative: str, size: int, mtime_ns: int) -> bool:
        try:
            state = ((self.root if base == "root" else self.derived) / relative).stat()
        except OSError:
            return size == -1
        return (state.st_size, state.st_mtime_ns) == (size, mtime_ns)


def _key(reader: Reader, request: ReleaseRequest, root: Path, plug_in: str | None) -> str:
    """Return what names the index entry: data root, reader's code as far as it is known, kind of report, request."""
    return digest({"root": str(root), "plug_in": plug_in, "report": REPORT_SCHEMA, **_header(reader, request)})


def _header(reader: Reader, request: ReleaseRequest) -> dict[str, Json]:
    """Return a manifest's first line: what was asked for, defaults written out."""
    return {
        "schema": SCHEMA,
        "reader": reader.name,
        "reader_version": reader.version,
        "dataset": request.dataset,
        "split": request.split,
        "subset": request.subset,
        "where": {key: sorted(values) for key, values in request.where.items()},
        "options": reader.defaults | dict(request.options),
        "window": to_json(request.window),
    }


def _read_release(
    reader: Reader, request: ReleaseRequest, place: _CacheFiles, progress: Progress | None
) -> tuple[str, int]:
    """Read the release and write manifest, report and index entry; return (digest, samples)."""
    _refuse_cache_in_root(place)
    integrity = Integrity()
    with _cache_faults(place.cache):
        for folder in (place.manifests, place.index.parent, place.derived):
            folder.mkdir(parents=True, exist_ok=True)
        with (
            open_inspection_cache(place.inspections) as kept,
            tempfile.TemporaryDirectory(dir=place.cache, prefix=place.partial(alone=kept is not None)) as partial,
        ):
            manifest, notes = Path(partial, "manifest.jsonl"), Path(partial, "notes.jsonl")
            with manifest.open("wb") as output, notes.open("w", encoding="utf-8") as noted:
                files = ReleaseFiles(root=place.root, derived=place.derived, noted=_Notes(noted).add, inspections=kept)
                samples = _checked(reader.read(files, request, integrity), integrity, request, progress)
                manifest_digest = _write_samples(_header(reader, request), samples, output)
            integrity.conclude()
            folder = place.manifests / manifest_digest
            folder.mkdir(exist_ok=True)
            write_report(folder / "integrity.json", integrity)
            manifest.replace(folder / "manifest.jsonl")
            _write_index(place.index, {"digest": manifest_digest, "samples": integrity.samples}, notes)
    return manifest_digest, integrity.samples


def _refuse_cache_in_root(place: _CacheFiles) -> None:
    if place.cache.is_relative_to(place.root):
        raise SpecError(
            f"{place.cache}: the cache lies below the data root {place.root}, where nothing may be written; "
            "set MEDGROUND_CACHE to another folder"
        )


@contextmanager
def _cache_faults(cache: Path) -> Iterator[None]:
    """Name the cache where it cannot be written; faults of the release's own files are DataErrors already."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{cache}: the cache cannot be written: {error.strerror}; make room or set MEDGROUND_CACHE elsewhere"
        ) from error


class _Notes:
    """Writes the index lines of the files consulted."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def add(self, base: Base, relative: str, size: int, mtime_ns: int) -> None:
        self._file.write(json.dumps([base, relative, size, mtime_ns]) + "\n")


def _checked(
    samples: Iterator[tuple[str, Sample]], integrity: Integrity, request: ReleaseRequest, progress: Progress | None
) -> Iterator[Sample]:
    """Yield the samples, counted; refuse an id that occurs twice and an empty manifest."""
    places: dict[str, str] = {}
    for place, sample in samples:
        first = places.setdefault(sample.id, place)
        if len(places) == integrity.samples:
            raise DataError(
                f"{sample.id}: expected every sample id once, found it at {first} and again at {place}; "
                "remove one of the two"
            )
        integrity.count(sample)
        yield sample
        if progress is not None:
            progress(integrity.samples)
    if not places:
        of = "" if integrity.selected is None else f", release.where keeps none of {integrity.selected[0]:,}"
        raise DataError(f"{request.dataset}: expected samples in split {request.split!r}, found none{of}")


def _write_samples(header: Mapping[str, Json], samples: Iterator[Sample], output: BinaryIO) -> str:
    """Write a manifest and return the sha256 of its bytes."""
    seen = hashlib.sha256()
    for line in _lines(header, samples):
        content = line.encode()
        seen.update(content)
        output.write(content)
    return seen.hexdigest()


def _lines(header: Mapping[str, Json], samples: Iterator[Sample]) -> Iterator[str]:
    yield canonical(header) + "\n"
    for sample in samples:
        yield canonical(sample_to_json(sample)) + "\n"


def write_report(path: Path, integrity: Integrity) -> None:
    """Write an integrity report, all at once."""
    replace_file(path, (json.dumps(integrity.to_json(), indent=1, ensure_ascii=False) + "\n").encode())


def _write_index(index: Path, header: Mapping[str, Json], notes: Path) -> None:
    """Put the header before the notes, all at once."""
    complete = notes.with_name("index.jsonl")
    with complete.open("wb") as output, notes.open("rb") as lines:
        output.write(canonical(header).encode() + b"\n")
        for line in lines:
            output.write(line)
    complete.replace(index)
