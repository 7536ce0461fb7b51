"""Manifests: the samples of a release with digests of their files, written once and reused until a file changes.

Below the cache folder:

    manifests/<digest>/manifest.jsonl   a header line, then one sample per line
    manifests/<digest>/integrity.json   the integrity report
    prepared/<key>.jsonl                per data root and request: the digest, then size and mtime of the files read
    prepared/<key>.looked.jsonl         the facts that an interrupted preparation found in each file
    derived/                            files that a release holds in another form, such as embedded images
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from harness.data.inspection_cache import open_inspection_cache
from harness.data.integrity import SCHEMA as REPORT_SCHEMA
from harness.data.integrity import Integrity
from harness.data.releases.files import Base, ReleaseFiles, replace_file
from harness.data.releases.reader import Reader, ReleaseRequest
from harness.errors import DataError, SpecError
from harness.records import Json, Sample, Target
from harness.records.codec import canonical, digest, sample_from_json, sample_to_json, sha256_file, to_json

SCHEMA = 1  # version of a manifest's lines; as part of the header it enters every manifest's digest

Progress = Callable[[int], None]  # called with the number of samples prepared so far


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A prepared release.

    Attributes:
        reader: The reader, with the folders and splits of the request.
        manifest: Path of the manifest.
        digest: The sha256 of the manifest's bytes, which is the same wherever the same files are prepared.
        integrity: Path of the integrity report.
        samples: Number of samples, including those that cannot be asked.
        root: The data root that holds the release.
        derived: Folder of the files that the release holds in another form; media are below `root` or `derived`.
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
    """Read a release, check it, and write its manifest and integrity report, or reuse them if no file has changed.

    Args:
        reader: The reader of the release's layout.
        request: The part of the release to read, and its ids.
        roots: Data roots; the first that holds the release's folders is read, and never written to.
        cache: Folder for all files that are written.
        plug_in: The sha256 of the file that defines a reader of the task's own; None for a reader of the harness.
        progress: Called after each sample, or once if a manifest is reused.
    Raises:
        ReleaseAbsentError: No root holds the release, or its files do not hold the split.
        DataError: A listing cannot be read, an id occurs twice, nothing is selected, or the cache cannot be written.
        SpecError: The subset, an option or a field is unknown, or the cache lies below the data root.
    """
    reader.check(request)
    reader = reader.fitted(request)
    root = reader.find_root(roots).resolve()
    reader.check_split(root, request.split)
    # All that can alter manifest or report apart from the release's files. A reader's code counts by its version, a
    # plug-in's by its digest.
    key = {"root": str(root), "plug_in": plug_in, "report": REPORT_SCHEMA, **_header(reader, request)}
    place = _CacheFiles(cache=cache.resolve(), root=root, key=digest(key))
    digest_samples = place.remembered()
    if digest_samples is None:
        digest_samples = _read_release(reader, request, place, progress)
    elif progress is not None:
        progress(digest_samples[1])
    return place.prepared(reader, *digest_samples)


def read_manifest(path: Path) -> Iterator[Sample]:
    """Yield the samples of a manifest in its order, with one in memory at a time.

    Raises:
        DataError: There is no such file, it has another schema, or a line does not hold a sample.
    """
    return (sample for sample, _ in read_manifest_lines(path))


def read_manifest_lines(path: Path) -> Iterator[tuple[Sample, str]]:
    """Yield the samples of a manifest, each with its canonical JSON; order and errors as `read_manifest`."""
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
            yield sample, line.rstrip("\n")


def read_report(path: Path) -> Integrity:
    """Return the integrity report at a path.

    Raises:
        DataError: There is no such file, or it does not hold a report of this schema.
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
    """The paths that one preparation reads and writes.

    Attributes:
        cache: The cache folder.
        root: The data root, with links resolved.
        key: Name of the index entry.
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
        """Return the prefix of folders of unfinished work, and remove old ones if `alone` with the key."""
        prefix = f".partial-{self.key[:16]}-"
        if not alone:
            return ".partial-"  # without the key, so that the process that holds the lock never removes it
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
        """Return (digest, samples) of an earlier preparation; None if there is none or a file has changed since."""
        try:
            with self.index.open(encoding="utf-8") as file:
                header = json.loads(file.readline())
                found = header["digest"], header["samples"]
                folder = self.manifests / found[0]
                # The manifest is read whole: a torn or edited one must not be scored under the digest of another.
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


def _header(reader: Reader, request: ReleaseRequest) -> dict[str, Json]:
    """Return a manifest's first line: the request, with defaults written out."""
    # Sorted and complete, so that two task files that mean the same request share a manifest.
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
    if place.cache.is_relative_to(place.root):
        raise SpecError(
            f"{place.cache}: the cache lies below the data root {place.root}, where nothing may be written; "
            "set MEDGROUND_CACHE to another folder"
        )
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

                def note(base: Base, relative: str, size: int, mtime_ns: int) -> None:
                    noted.write(json.dumps([base, relative, size, mtime_ns]) + "\n")

                # Notes go to a file: a release may have millions of files.
                files = ReleaseFiles(
                    root=place.root,
                    derived=place.derived,
                    noted=note,
                    unreadable=lambda folder, why: integrity.find("unreadable_file", folder, why),
                    inspections=kept,
                )
                lines = _checked(reader.read(files, request, integrity), integrity, request, progress)
                manifest_digest = _write_samples(_header(reader, request), lines, output)
            integrity.conclude()
            folder = place.manifests / manifest_digest
            folder.mkdir(exist_ok=True)
            # The index goes last, because it declares the other two files whole.
            write_report(folder / "integrity.json", integrity)
            manifest.replace(folder / "manifest.jsonl")
            _write_index(place.index, {"digest": manifest_digest, "samples": integrity.samples}, notes)
    return manifest_digest, integrity.samples


@contextmanager
def _cache_faults(cache: Path) -> Iterator[None]:
    """Name the cache if it cannot be written; faults of the release's own files are DataErrors already."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{cache}: the cache cannot be written: {error.strerror}; make room or set MEDGROUND_CACHE elsewhere"
        ) from error


def _checked(
    samples: Iterator[tuple[str, Sample]], integrity: Integrity, request: ReleaseRequest, progress: Progress | None
) -> Iterator[bytes]:
    """Yield the samples as lines and count them; refuse an id that occurs twice and an empty manifest.

    A sample that no line can hold is kept without what it asks, and cannot be asked: it costs itself only.
    """
    places: dict[str, str] = {}
    for place, sample in samples:
        first = places.setdefault(sample.id, place)
        # Before the sample is counted, an id seen for the first time makes one more place than samples.
        if len(places) == integrity.samples:
            raise DataError(
                f"{sample.id}: expected every sample id once, found it at {first} and again at {place}; "
                "remove one of the two"
            )
        stored = sample
        try:
            line = _line(sample)
        except ValueError as error:  # half a surrogate pair, or NaN
            stored = _unaskable(sample, error)
            integrity.find("unreadable_record", _escaped(place), stored.defect or "")
            line = _line(stored)
        integrity.count(stored)
        yield line
        if progress is not None:
            progress(integrity.samples)
    if not places:
        of = "" if integrity.selected is None else f", release.where keeps none of {integrity.selected[0]:,}"
        raise DataError(f"{request.dataset}: expected samples in split {request.split!r}, found none{of}")


def _line(sample: Sample) -> bytes:
    """Return a line of the manifest.

    Raises:
        ValueError: The sample holds half a surrogate pair, as JSON may write it, or NaN.
    """
    return f"{canonical(sample_to_json(sample))}\n".encode()


def _unaskable(sample: Sample, error: ValueError) -> Sample:
    """Return a sample with its id, question and strata only, as text that can be stored, and the reason for it."""
    what = "half of a surrogate pair" if isinstance(error, UnicodeEncodeError) else "NaN or infinity"
    return Sample(
        id=_escaped(sample.id),
        media=(),
        question=_escaped(sample.question),
        target=Target(),
        strata={_escaped(key): _escaped(value) for key, value in sample.strata.items()},
        cluster=_escaped(sample.cluster),
        defect=f"the record holds {what}, which no file can",
    )


def _escaped(text: str) -> str:
    r"""Return a text with each half of a surrogate pair written as `\ud800`."""
    return str(text).encode(errors="backslashreplace").decode()


def _write_samples(header: Mapping[str, Json], lines: Iterator[bytes], output: BinaryIO) -> str:
    """Write a manifest and return the sha256 of its bytes."""
    seen = hashlib.sha256()
    for content in chain((f"{canonical(header)}\n".encode(),), lines):
        seen.update(content)
        output.write(content)
    return seen.hexdigest()


def write_report(path: Path, integrity: Integrity) -> None:
    """Write an integrity report so that no other process sees half of it."""
    replace_file(path, (json.dumps(integrity.to_json(), indent=1, ensure_ascii=False) + "\n").encode())


def _write_index(index: Path, header: Mapping[str, Json], notes: Path) -> None:
    """Put the header before the notes, and move the file to its place at once."""
    # The header is known only after the release has been read, so the notes are copied behind it.
    complete = notes.with_name("index.jsonl")
    with complete.open("wb") as output, notes.open("rb") as lines:
        output.write(canonical(header).encode() + b"\n")
        for line in lines:
            output.write(line)
    complete.replace(index)
