"""Scoring the predictions of an unpacked bundle, against targets that are prepared here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import DataError
from harness.evaluation.rebuilding import rebuild
from harness.evaluation.results import score_run
from harness.paths import default_cache
from harness.records import Capabilities, Json
from harness.runs.store import RunStore
from harness.tasks.prepare import Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescored:
    """An unpacked bundle, scored here.

    Attributes:
        results: The content of `results.json`.
        scores: The folder of the scores by sample.
        predictions: Count of predictions.
        private: Names of its tasks and groups that the harness does not ship.
    """

    results: Mapping[str, Json]
    scores: Path
    predictions: int
    private: tuple[str, ...]


def rescore_bundle(
    folder: Path,
    capabilities: Capabilities,
    *,
    given_roots: Sequence[str],
    task_paths: Sequence[Path],
    notice: Notice,
    cache: Path | None = None,
) -> Rescored:
    """Score the predictions of an unpacked bundle against targets that are prepared here.

    Args:
        folder: The unpacked bundle, which becomes a run directory.
        capabilities: Of the model, as the bundle says them.
        given_roots: As `--data-root` gives them.
        task_paths: Folders with further task files.
        notice: Called with news, one line each.
        cache: Folder of manifests and derived files; None: the usual one.
    Raises:
        UnverifiedBundleError: The data of a task are not here.
        SpecError: A task, a parameter or a data root is unknown.
        DataError: A version, a digest or the predictions do not fit, a prediction cannot be scored, or no answer is
            usable.
    """
    rebuilt = rebuild(
        folder,
        capabilities,
        given_roots=given_roots,
        task_paths=task_paths,
        cache=cache or default_cache(),
        notice=notice,
    )
    store = RunStore(folder)
    try:
        store.open(rebuilt.run)
        scored = score_run(store, rebuilt.run, rebuilt.tasks, rebuilt.groups, store.directory)
        predictions = len(store.offsets)
    finally:
        store.close()
    scores = store.directory.scores_folder
    for path in sorted(scores.glob("*.parquet")):
        _check_scored(path)
    if not any(block["answered"] for block in scored.results["tasks"].values()):
        raise DataError("no answer is usable: every one is empty, refused or failed, or no task is supported")
    return Rescored(results=scored.results, scores=scores, predictions=predictions, private=rebuilt.private)


def _check_scored(path: Path) -> None:
    """Check that no score of a file is the fault of its scorer.

    Raises:
        DataError: A prediction cannot be scored. Such scores are left out of the mean: an answer that breaks the scorer
            must not be worth more than a wrong one.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:  # a batch at a time, in little memory
        for batch in file.iter_batches(columns=["sample_id", "status"]):
            for row in batch.to_pylist():
                if row["status"] == "scorer_error":
                    raise DataError(f"the prediction for {row['sample_id']} cannot be scored under {path.stem}")
