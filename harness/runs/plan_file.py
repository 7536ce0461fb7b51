"""The plan of a run: the requests of every sample, and their batches, which do not depend on what is finished.

`plan/<task>.parquet` holds one row per sample and repetition, in the order of the release. `batches` orders the
requests of each row group by size class, then digest of the image, then key: a batch holds images of similar size, the
requests on one image meet the same worker in a row, which decodes and encodes it once, and batches are the same for
every number of workers and every resume.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from itertools import repeat as repeat_forever
from pathlib import Path
from typing import Any

from harness.errors import InterruptedRunError
from harness.records import MediaPart, Request, Sample
from harness.records.atomic_files import disk_error, make_folder, replacing
from harness.records.codec import canonical, sample_from_json, sample_to_json

# One row group is in memory at a time. Batches are cut within row groups, so with another size they would differ, and
# with them the answers of a model whose answers depend on their batch.
ROWS_PER_GROUP = 8192
ASK_COLUMNS = ["size_class", "media", "key", "request", "sample_id"]
# Values of columns that the plan of an older run lacks: such a run goes on in the order that it began with.
ADDED_COLUMNS = {"media": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRequest:
    """One row of the plan.

    Attributes:
        sample: The sample with its target, for scoring.
        repeat: 0-based number of the repetition.
        key: Key of the request; empty if the sample cannot be asked.
        size_class: Bit length of the pixel count; requests of one class share batches.
        media: Digest of the first image or volume of the request; empty if it has none.
        request: Canonical JSON of the request, its key included; empty if the sample cannot be asked.
        defect: Why the sample cannot be asked; None if it can.
        sample_json: Canonical JSON of the sample, if it is at hand; empty: it is made from `sample`.
    """

    sample: Sample
    repeat: int
    key: str = ""
    size_class: int = 0
    media: str = ""
    request: str = ""
    defect: str | None = None
    sample_json: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """The part of a planned request that a runner needs: key, canonical JSON, and the sample's id for messages."""

    key: str
    request: str
    sample_id: str


def size_class(sample: Sample) -> int:
    """Return the bit length of the sample's pixel count: a class holds counts within a factor of two.

    Media of unknown size count nothing; a sample without media is in class 0.
    """
    pixels = 0
    for media in sample.media:
        count = 1 if media.size else 0
        for length in media.size:
            count *= length
        pixels += count
    return pixels.bit_length()


def media_digest(request: Request) -> str:
    """Return the digest of the file of the request's first image or volume; empty if it has none."""
    for turn in request.messages:
        for part in turn.parts:
            if isinstance(part, MediaPart):
                return part.media.record.sha256 or ""
    return ""


def write(path: Path, rows: Iterable[PlannedRequest]) -> None:
    """Write one task's plan to `path`, whole or not at all.

    Raises:
        InterruptedRunError: The disk refuses it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("sample_id", pa.string()),
            ("repeat", pa.int32()),
            ("key", pa.string()),
            ("size_class", pa.int32()),
            ("media", pa.string()),
            ("defect", pa.string()),
            ("request", pa.string()),
            ("sample", pa.string()),
        ]
    )
    remaining = iter(rows)
    try:
        make_folder(path.parent)
    except OSError as error:
        raise disk_error(path, error) from error
    with (
        replacing(path, temporary=path.with_suffix(".tmp")) as file,
        pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        while group := list(islice(remaining, ROWS_PER_GROUP)):
            columns = {
                "sample_id": [row.sample.id for row in group],
                "repeat": [row.repeat for row in group],
                "key": [row.key for row in group],
                "size_class": [row.size_class for row in group],
                "media": [row.media for row in group],
                "defect": [row.defect for row in group],
                "request": [row.request for row in group],
                "sample": [row.sample_json or canonical(sample_to_json(row.sample)) for row in group],
            }
            writer.write_table(pa.table(columns, schema=schema))


def read(path: Path, *, requests: bool = True) -> Iterator[PlannedRequest]:
    """Yield the rows of one task's plan in the order of the release; without `requests`, that field is empty."""
    for read_columns in _groups_of(path):
        columns = read_columns(["repeat", "key", "size_class", "media", "defect", "sample"])
        texts = read_columns(["request"])[0] if requests else repeat_forever("")
        for (repeat, key, kind, media, defect, sample), request in zip(zip(*columns, strict=True), texts, strict=False):
            yield PlannedRequest(
                sample=sample_from_json(json.loads(sample)),
                repeat=repeat,
                key=key,
                size_class=kind,
                media=media,
                request=request,
                defect=defect,
            )


def read_keys(path: Path) -> Iterator[tuple[str, int, str]]:
    """Yield (sample id, repeat, key) of every row in the order of the release; an empty key cannot be asked."""
    for read_columns in _groups_of(path):
        yield from zip(*read_columns(["sample_id", "repeat", "key"]), strict=True)


def sample_groups(path: Path) -> Iterator[list[tuple[int, str, str]]]:
    """Yield for every row group its rows as (repeat, key, JSON of the sample), in the order of the release."""
    for read_columns in _groups_of(path):
        yield list(zip(*read_columns(["repeat", "key", "sample"]), strict=True))


def _groups_of(path: Path) -> Iterator[Callable[[list[str]], list[list[Any]]]]:
    """Yield for every row group a callable that returns some of its columns.

    Raises:
        InterruptedRunError: The file is gone or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    def unreadable(error: Exception) -> InterruptedRunError:
        reason = " ".join(str(error).split())
        return InterruptedRunError(
            f"{path}: the plan cannot be read ({reason}). Run the same `harness run` command again: it is written anew "
            "from the data."
        )

    faults = (OSError, pa.ArrowException, UnicodeDecodeError)
    try:
        # The digest of the whole file is checked before it is opened; its pages' own as they are read, hours later.
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except faults as error:
        raise unreadable(error) from error
    with file:
        stored = set(file.schema_arrow.names)
        for index in range(file.num_row_groups):

            def read_columns(columns: list[str], index: int = index) -> list[list[Any]]:
                try:
                    table = file.read_row_group(index, columns=[name for name in columns if name in stored])
                    return [
                        table.column(name).to_pylist() if name in stored else [ADDED_COLUMNS[name]] * table.num_rows
                        for name in columns
                    ]
                except faults as error:
                    raise unreadable(error) from error

            yield read_columns


def batches(paths: Iterable[Path], size: int, done: Callable[[str], bool] = lambda _: False) -> Iterator[list[Ask]]:
    """Yield the batches of the whole plan; a request that several tasks share is in the first of them only.

    Args:
        paths: Plans of the tasks, in their order; each is taken when it is due.
        size: Requests per batch.
        done: Says whether a key is finished; the batches of a row group that is finished as a whole are left out.
    """
    seen: set[bytes] = set()
    for path in paths:
        for read_columns in _groups_of(path):
            # The keys first: the requests of a group that is finished stay packed.
            (keys,) = read_columns(["key"])
            names = [bytes.fromhex(key) for key in keys]
            new = [bool(name) and name not in seen for name in names]
            seen.update(names)
            if all(done(key) for key, is_new in zip(keys, new, strict=True) if is_new):
                continue
            columns = read_columns(ASK_COLUMNS)
            rows = [row for row, is_new in zip(zip(*columns, strict=True), new, strict=True) if is_new]
            # The first of two rows with one key counts. Sorted, batches depend on the requests alone.
            rows = sorted({row[2]: row for row in reversed(rows)}.values(), key=lambda row: row[:3])
            for start in range(0, len(rows), size):
                yield [Ask(*row[2:]) for row in rows[start : start + size]]


def due(
    whole: Iterable[list[Ask]], done: Callable[[str], bool], *, batch_invariant: bool, size: int
) -> Iterator[list[Ask]]:
    """Yield the batches that are still to be asked.

    A model whose answers do not depend on their batch gets full batches of the missing requests. For any other model a
    batch stays as it was cut: it is asked again whole while one of its requests is missing.

    Args:
        whole: The batches of the whole plan.
        done: Says whether a key is finished.
        batch_invariant: The answers do not depend on their batch.
        size: Requests per batch.
    """
    if not batch_invariant:
        yield from (batch for batch in whole if not all(done(ask.key) for ask in batch))
        return
    waiting: list[Ask] = []
    for batch in whole:
        waiting += [ask for ask in batch if not done(ask.key)]
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]
    if waiting:
        yield waiting
