"""`harness bundle`: write a finished run as a zip file, the same bytes each time."""

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.errors import SpecError
from harness.exports.bundles import layout
from harness.exports.bundles.card import card
from harness.records import Json
from harness.records.checked_lines import checked_line, is_whole
from harness.records.codec import sha256_file
from harness.runs import plan_file
from harness.runs.cells import capabilities_to_json, stored_capabilities
from harness.runs.directory import RunDirectory
from harness.runs.judgements import JudgeFolder, judge_folders

# The earliest time that a zip file can hold: a bundle says nothing of when it was written.
EPOCH = (1980, 1, 1, 0, 0, 0)
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenBundle:
    """What `write_bundle` wrote.

    Attributes:
        path: The file.
        sha256: Of the file.
        predictions, blobs, judges: Counts of what it holds.
        left_out: Judges that need another run, and so cannot be verified from this one.
    """

    path: Path
    sha256: str
    predictions: int
    blobs: int
    judges: int
    left_out: tuple[str, ...]


@dataclass(slots=True)
class _Writer:
    """Adds members to an archive and remembers their digests."""

    archive: zipfile.ZipFile
    files: dict[str, Json] = field(default_factory=dict)

    def add(self, name: str, blocks: Iterable[bytes], *, packed: bool = False) -> None:
        info = zipfile.ZipInfo(name, EPOCH)
        info.create_system, info.external_attr = 3, 0o644 << 16  # the same on every system
        info.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
        seen, size = hashlib.sha256(), 0
        with self.archive.open(info, "w", force_zip64=False) as member:
            for block in blocks:
                member.write(block)
                seen.update(block)
                size += len(block)
        self.files[name] = {"bytes": size, "sha256": seen.hexdigest()}


def write_bundle(run: Path, out: Path, *, limited: bool = False) -> WrittenBundle:
    """Write a finished run as a bundle.

    Args:
        run: The run directory.
        out: The file to write; an existing one is replaced.
        limited: Whether a run with `--limit` may be bundled, which no board takes.
    Raises:
        SpecError: The run is not finished, is limited, has no usable answer, was given the targets, was planned by a
            version that did not store the model's capabilities, or the file cannot be written.
        DataError: The plan or a stored file is damaged.
    """
    directory = RunDirectory(run)
    record = directory.read_run()
    results = directory.read_results()
    capabilities = _check(directory, record, results, limited=limited)
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        with zipfile.ZipFile(temporary, "w", allowZip64=False) as archive:
            writer = _Writer(archive)
            writer.add(layout.CARD, [card(results).encode()])
            writer.add(layout.RUN, [directory.run_path.read_bytes()])
            writer.add(layout.RESULTS, [directory.results_path.read_bytes()])
            blobs: dict[str, None] = {}
            writer.add(layout.PREDICTIONS, _planned_lines(directory, blobs))
            for name in blobs:
                writer.add(layout.blob_name(name), _blocks(directory.blob_path(name)), packed=True)
            judges, left_out = _add_judges(writer, directory)
            index = {
                "schema": layout.SCHEMA,
                "medground": metadata.version("medground"),
                "capabilities": capabilities,
                "files": dict(sorted(writer.files.items())),
            }
            writer.add(layout.INDEX, [(json.dumps(index, indent=1, sort_keys=True) + "\n").encode()])
        sha256 = sha256_file(temporary)
        temporary.replace(out)
    except (OSError, zipfile.LargeZipFile, RuntimeError) as error:  # RuntimeError: a member grew over 2 GiB
        reason = getattr(error, "strerror", None) or "a bundle holds at most 2 GiB"
        raise SpecError(f"-o {out}: cannot be written: {reason}; name another file") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return WrittenBundle(
        path=out,
        sha256=sha256,
        predictions=sum(1 for _ in _planned_keys(directory)),
        blobs=len(blobs),
        judges=judges,
        left_out=left_out,
    )


def _check(
    directory: RunDirectory, record: dict[str, Any], results: dict[str, Any], *, limited: bool
) -> dict[str, Json]:
    """Return the capabilities of the model of a run that may be bundled, as JSON."""
    where = directory.path
    capabilities = stored_capabilities(directory)
    if capabilities is None:
        raise SpecError(
            f"{where}: its plan was written by an older version, which did not keep the model's capabilities; delete "
            f"{directory.cells_path} and run the same `harness run` command again: the plan is written anew, and "
            "nothing is asked again"
        )
    if record["model"].get("oracle") or "target" in capabilities.takes:
        raise SpecError(f"{where}: the model is given the targets; an oracle enters no board, so it makes no bundle")
    if record["limit"] is not None and not limited:
        raise SpecError(
            f"{where}: is a run with --limit {record['limit']}; a part of the samples is no result. Run it without "
            "--limit, or add --allow-limited for a bundle that is only verified"
        )
    if not any(block["answered"] for block in results["tasks"].values()):
        raise SpecError(
            f"{where}: has no usable answer: every answer is empty, refused or failed, or no task is supported"
        )
    layout.check_description(record["model"])
    return capabilities_to_json(capabilities)


def _planned_keys(directory: RunDirectory) -> Iterator[str]:
    """Yield the key of every request of the plan once, in the order of the plan."""
    cells, _ = directory.read_cells()
    seen: set[bytes] = set()
    for task, cell in cells.items():
        for _, _, key in plan_file.read_keys(directory.plan_path(task)) if cell.unsupported is None else ():
            if key and bytes.fromhex(key) not in seen:
                seen.add(bytes.fromhex(key))
                yield key


def _planned_lines(directory: RunDirectory, blobs: dict[str, None]) -> Iterator[bytes]:
    """Yield the stored line of every request of the plan; `blobs` collects the files of masks that they name.

    Raises:
        SpecError: A request is not finished.
    """
    offsets: dict[bytes, int] = {}
    if directory.predictions_path.is_file():
        for line in directory.read_lines():
            if line.key is not None:
                offsets.setdefault(line.key, line.offset)  # of two lines with one key the first counts, as in the store
    missing = [key for key in _planned_keys(directory) if bytes.fromhex(key) not in offsets]
    if missing:
        raise SpecError(
            f"{directory.path}: {len(missing):,} of its requests are not finished or are damaged; run the same "
            "`harness run` command again, then bundle it"
        )
    if not offsets:
        return
    with directory.predictions_path.open("rb") as file:
        for key in _planned_keys(directory):
            file.seek(offsets[bytes.fromhex(key)])
            value = json.loads(file.readline())
            if "masks_blob" in value:
                blobs[value["masks_blob"]] = None
            yield _public_line(value)


def _public_line(value: dict[str, Any]) -> bytes:
    """Return a stored prediction without what repeats questions of the release or names folders of a machine."""
    value.pop("crc32")
    value.pop("rendered", None)
    if "error" in value:
        value["error"].pop("traceback", None)
    line = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return checked_line(line.encode()) + b"\n"


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def _add_judges(writer: _Writer, directory: RunDirectory) -> tuple[int, tuple[str, ...]]:
    """Add the judges of a run; return their number, and the names of those that compare it with another run."""
    left_out, added = [], []
    for folder in judge_folders(directory.path):
        name = folder.path.name
        if "against" in folder.record():
            left_out.append(name)
            continue
        record, samples, replies = layout.judge_members(name)
        writer.add(record, [folder.directory.run_path.read_bytes()])
        writer.add(samples, _blocks(folder.samples_path))
        writer.add(replies, _replies(folder))
        added.append(name)
    panels = directory.path / layout.PANELS_FILE
    if added and panels.is_file():
        writer.add(layout.PANELS_FILE, [panels.read_bytes()])
    return len(added), tuple(left_out)


def _replies(folder: JudgeFolder) -> Iterator[bytes]:
    """Yield the replies of a judge by key; the prompts are left out, since they hold the reference answers."""
    path = folder.directory.predictions_path
    found: dict[str, dict[str, Any]] = {}
    if path.is_file():
        with path.open("rb") as file:
            for line in filter(is_whole, file):
                value = json.loads(line)
                found.setdefault(value["key"], value)
    for key in sorted(found):
        yield _public_line(found[key])
