"""The run directory: the name of every file in it, the format of every line, and how each is read.

Everything here only reads and takes no lock, so it works on a run that is still in progress. `RunStore` writes.

    run.json                        what must not change while the run is resumed
    digests.json                    digests of the files that are written whole, see `harness.runs.file_checks`
    lock                            held by the process that writes
    plan/cells.json                 the tasks, why some are not asked, and digests of the files beside it; its presence
                                    marks the plan as complete
    plan/<task>.parquet             the requests, one row per sample and repetition
    tasks/                          the task files, so that the run can be scored without those it came from
    sessions.jsonl                  command, versions and hardware of every session
    events.jsonl                    the events of every session, one per line
    predictions/predictions.jsonl   the predictions, one per line
    blobs/<sha256>.json.zst         masks that are too large for a line
    status.json                     the progress of the run
    scores/<task>.<metric>.<protocol>.parquet, failures.jsonl, problems.jsonl
    results.json, performance.json, report.html
    ray.log                         the output of Ray
    judgements/                     what judges said of the answers, see `harness.runs.judgements`
    model/                          files of the model's own, such as the output of a server that it starts
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import DataError, SpecError
from harness.records import Json, Prediction
from harness.records.checked_lines import CHECK_BYTES, is_whole, read_checked
from harness.records.codec import prediction_from_json, sample_from_json
from harness.runs.file_checks import FileChecks
from harness.runs.plan_digests import read_intact
from harness.runs.plan_file import PlannedRequest

# The leaderboard finds the runs in a folder by this name, too.
RESULTS = "results.json"

# A line begins with its key and status, so a run is opened without parsing what may be megabytes of masks.
LINE_HEAD = re.compile(rb'\{"key":"(?P<key>[0-9a-f]{64})","status":"(?P<status>\w+)"')
# The name and the packed size of a blob come last before the checksum, where they are found without parsing.
BLOB_TAIL = re.compile(rb',"masks_blob":"(?P<name>[0-9a-f]{64})","masks_blob_bytes":(?P<bytes>\d+)$')
# The field `masks_blob_bytes` begins at most this far from the end of such a line, for sizes of up to 21 digits.
BLOB_TAIL_BYTES = 40


class StoredLine(NamedTuple):
    """A line of predictions.jsonl.

    Attributes:
        offset: Where the line begins in the file, in bytes.
        key: Key of the request, as bytes; None if the line is damaged.
        status: Status of the prediction; empty if the line is damaged.
    """

    offset: int
    key: bytes | None
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCell:
    """A task as `plan/cells.json` holds it.

    Attributes:
        samples: Number of samples that take part, after `--limit`.
        fallbacks: The task's fallbacks that the model needs, as `name: value`.
        unsupported: Why the model cannot be asked; None if it can.
        data_digest: Digest of the manifest.
        of: Number of samples of the release; None in a run of an older version.
    """

    samples: int
    fallbacks: tuple[str, ...]
    unsupported: str | None
    data_digest: str
    of: int | None = None


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The files of one run.

    Attributes:
        path: The directory; it need not exist.
    """

    path: Path

    @property
    def run_path(self) -> Path:
        """What must not change while the run is resumed."""
        return self.path / "run.json"

    @property
    def checks(self) -> FileChecks:
        """The digests of its files."""
        return FileChecks(self.path)

    @property
    def lock_path(self) -> Path:
        """The file that the writing process locks; it holds the id of that process."""
        return self.path / "lock"

    @property
    def cells_path(self) -> Path:
        """The cells of the plan; written last, so its presence marks the plan as complete."""
        return self.path / "plan" / "cells.json"

    def plan_path(self, task: str) -> Path:
        """Return the plan of one task, in the format of `harness.runs.plan_file`."""
        return self.path / "plan" / f"{task}.parquet"

    @property
    def tasks_folder(self) -> Path:
        """The files of the tasks, in the format of `harness.tasks.stored_files`."""
        return self.path / "tasks"

    @property
    def sessions_path(self) -> Path:
        """One line per session: command, versions and hardware."""
        return self.path / "sessions.jsonl"

    @property
    def events_path(self) -> Path:
        """One line per event, oldest first."""
        return self.path / "events.jsonl"

    @property
    def predictions_path(self) -> Path:
        """One line per finished request, in the order in which they finished."""
        return self.path / "predictions" / "predictions.jsonl"

    def blob_path(self, name: str) -> Path:
        """Return the path of a file of masks; `name` is the SHA-256 of its unpacked bytes."""
        return self.path / "blobs" / f"{name}.json.zst"

    @property
    def model_folder(self) -> Path:
        """Files of the model's own: each adapter names them itself."""
        return self.path / "model"

    @property
    def status_path(self) -> Path:
        """The progress of the run; replaced while the run goes on."""
        return self.path / "status.json"

    @property
    def scores_folder(self) -> Path:
        """One parquet file per task, metric and protocol, in the format of `harness.scoring.score`."""
        return self.path / "scores"

    @property
    def failures_path(self) -> Path:
        """One line per sample without a usable answer."""
        return self.path / "failures.jsonl"

    @property
    def problems_path(self) -> Path:
        """One line per problem of a predictions file; absent if there is none."""
        return self.path / "problems.jsonl"

    @property
    def results_path(self) -> Path:
        """The numbers, a pure function of predictions, task versions and installed packages."""
        return self.path / RESULTS

    @property
    def performance_path(self) -> Path:
        """The speed of the run."""
        return self.path / "performance.json"

    def judge_performance_paths(self) -> list[Path]:
        """Return the paths of what each judge of the run took."""
        return sorted((self.path / "judgements").glob(f"*/{self.performance_path.name}"))

    @property
    def report_path(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    @property
    def ray_log_path(self) -> Path:
        """The output of Ray."""
        return self.path / "ray.log"

    def check_is_free_or_ours(self) -> None:
        """Check that a run may be begun or resumed here.

        Raises:
            SpecError: The path is a file, or a folder with other files and no run.
        """
        if self.path.exists() and not self.path.is_dir():
            raise SpecError(f"--out {self.path}: is a file; expected a folder")
        # A run that was killed in its first moment leaves these two and nothing else.
        ours = {self.lock_path.name, f".{self.run_path.name}.tmp"}
        if self.path.is_dir() and not self.run_path.exists() and any(it.name not in ours for it in self.path.iterdir()):
            raise SpecError(f"--out {self.path}: holds other files and no run.json; name an empty or a new folder")

    def read_run(self) -> dict[str, Json]:
        """Return the content of `run.json`.

        Raises:
            SpecError: The file is absent, cannot be read, or holds no JSON object.
            DamagedFileError: It is not what was written.
        """
        record = self.run_path
        self.checks.check(record, "restore it, or repeat the command that began the run, which writes it anew")
        try:
            run = json.loads(record.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise SpecError(
                f"{self.path}: is no run directory (no run.json); expected what `harness run --out` wrote"
            ) from None
        except (ValueError, OSError) as error:
            raise SpecError(
                f"{record}: cannot be read ({error}); restore it, or name another folder by --out"
            ) from error
        if not isinstance(run, dict):
            raise SpecError(f"{record}: expected a JSON object, found {type(run).__name__}; restore it or change --out")
        return run

    def read_cells(self) -> tuple[dict[str, StoredCell], list[dict[str, Json]]]:
        """Return the cells of the plan by task, and `{task, metric, reason, remedy}` of everything unavailable.

        Raises:
            SpecError: The plan is not complete.
            DamagedPlanError: A file of the plan is missing, or holds other bytes than were written.
        """
        if not self.cells_path.exists():
            raise SpecError(f"{self.path}: has no complete plan; run `harness run` on it first")
        content = read_intact(self.cells_path)
        cells = {
            name: StoredCell(**{**cell, "fallbacks": tuple(cell["fallbacks"])})
            for name, cell in content["cells"].items()
        }
        return cells, content["unavailable"]

    def read_sample_ids(self, task: str) -> set[str]:
        """Return the ids of all samples in a task's plan."""
        import pyarrow.parquet as pq

        return set(
            pq.read_table(self.plan_path(task), columns=["sample_id"], page_checksum_verification=True)[0].to_pylist()
        )

    def read_planned(self, task: str, sample_ids: Sequence[str]) -> list[PlannedRequest]:
        """Return the rows of a task's plan that belong to these samples, in the order of the plan."""
        import pyarrow.parquet as pq

        columns = ["repeat", "key", "size_class", "request", "defect", "sample"]
        # Filtered by pyarrow while it reads: the rows of other samples never become Python objects.
        table = pq.read_table(
            self.plan_path(task),
            columns=columns,
            filters=[("sample_id", "in", list(sample_ids))],
            page_checksum_verification=True,
        )
        rows = table.to_pylist()
        return [PlannedRequest(**{**row, "sample": sample_from_json(json.loads(row["sample"]))}) for row in rows]

    def read_lines(self) -> Iterator[StoredLine]:
        """Yield every line of the predictions in order; a line whose blob is absent or truncated counts as damaged."""
        offset = 0
        with self.predictions_path.open("rb") as file:
            for line in file:
                head = LINE_HEAD.match(line)
                if head is not None and is_whole(line) and self._has_blob(line):
                    yield StoredLine(offset, bytes.fromhex(head["key"].decode()), head["status"].decode())
                else:
                    yield StoredLine(offset, None, "")
                offset += len(line)

    def _has_blob(self, line: bytes) -> bool:
        """Say whether the blob that an intact line names has the stored size; True for a line without a blob.

        The digest of the blob is checked when it is read.
        """
        body = line[: -CHECK_BYTES - 1]
        # The plain search first: most lines have no blob, and the pattern would walk through the whole line.
        if b'"masks_blob_bytes":' not in body[-BLOB_TAIL_BYTES:] or (blob := BLOB_TAIL.search(body)) is None:
            return True
        path = self.blob_path(blob["name"].decode())
        return path.is_file() and path.stat().st_size == int(blob["bytes"])

    def find_prediction(self, key: str) -> Prediction | None:
        """Return the finished prediction with this key, without taking the lock; None if it is not finished.

        A torn or damaged line counts as absent: the run asks again.

        Args:
            key: Key of the request; empty for a sample that cannot be asked.

        Raises:
            DataError: Its masks are damaged.
        """
        return self.find_predictions([key]).get(key)

    def find_predictions(self, keys: Collection[str]) -> dict[str, Prediction]:
        """Return the finished predictions with these keys by key, from one pass over the file, without taking the lock.

        Raises:
            DataError: The masks of one are damaged.
        """
        found: dict[str, Prediction] = {}
        wanted = {key for key in keys if key}
        if not wanted or not self.predictions_path.is_file():
            return found
        with self.predictions_path.open("rb") as file:
            for line in file:
                head = LINE_HEAD.match(line)
                # The first line of a key counts, as in the store.
                if head is not None and (key := head["key"].decode()) in wanted and key not in found and is_whole(line):
                    found[key] = self.read_prediction(line)
                    if len(found) == len(wanted):
                        break
        return found

    def read_prediction(self, line: bytes) -> Prediction:
        """Return the prediction of one stored line; masks that were moved to a blob are read from it.

        Raises:
            DataError: The line or its blob is damaged.
        """
        import zstandard

        blob: Path | None = None
        try:
            value = json.loads(line)
            if "masks_blob" in value:
                blob = self.blob_path(value["masks_blob"])
                content = zstandard.decompress(blob.read_bytes())
                if hashlib.sha256(content).hexdigest() != value["masks_blob"]:
                    raise ValueError("its bytes are not those that were stored")
                moved = json.loads(content)
                # A list holds binary masks only: the form that blobs had before there were soft masks.
                value.update(moved if isinstance(moved, dict) else {"masks": moved})
            return prediction_from_json(value)
        except (ValueError, KeyError, TypeError, OSError, zstandard.ZstdError) as error:
            # A blob of another size is asked again by itself; one of the right size counts as finished until deleted.
            remedy = "delete that file and" if blob is not None else "then"
            raise DataError(
                f"{blob or self.predictions_path}: a stored prediction is damaged ({type(error).__name__}: {error}); "
                f"{remedy} run the same `harness run` command again: it is asked again"
            ) from error

    def read_values(self) -> Iterator[dict[str, Any]]:
        """Yield the stored predictions as JSON values, without reading their blobs; damaged lines are skipped."""
        with self.predictions_path.open("rb") as file:
            yield from (value for value in map(read_checked, file) if value is not None)

    def read_events(self) -> Iterator[dict[str, Any]]:
        """Yield the events so far, oldest first; damaged lines are skipped."""
        if not self.events_path.exists():
            return
        with self.events_path.open("rb") as file:
            for line in file:
                event = read_checked(line)
                if event is not None and "event" in event:
                    yield event

    def read_sessions(self) -> Iterator[dict[str, Any]]:
        """Yield the sessions, oldest first; damaged lines are skipped."""
        if self.sessions_path.exists():
            with self.sessions_path.open("rb") as file:
                yield from (session for session in map(read_checked, file) if session is not None)

    def read_problems(self) -> list[dict[str, Any]]:
        """Return the problems of a predictions file as JSON values, in the order of its lines.

        Raises:
            DamagedFileError: The file is not what was written.
        """
        path = self.problems_path
        self.checks.check(path)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def read_results(self) -> dict[str, Any]:
        """Return the content of `results.json`.

        Raises:
            SpecError: The run is not finished, or the file is damaged.
            DamagedFileError: It is not what was written.
        """
        again = "run the same `harness run` command again, which writes it"
        if not self.results_path.is_file():
            raise SpecError(f"{self.path}: has no results.json; expected a finished run directory; {again}")
        self.checks.check(self.results_path)
        try:
            results: dict[str, Any] = json.loads(self.results_path.read_text(encoding="utf-8"))
            if any("metrics" not in block for block in results["tasks"].values()):
                raise ValueError("expected metrics in every task")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SpecError(f"{self.results_path}: does not hold the results of a run; {again}") from error
        return results
