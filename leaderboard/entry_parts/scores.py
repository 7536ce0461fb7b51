"""The scores of a run's samples, read with the same suspicion as its numbers: sizes are checked first."""

from pathlib import Path

from harness.comparison.scored_run import ScoreColumns, read_columns, table_row
from harness.errors import DataError
from harness.runs.directory import RunDirectory

# A file of scores of a million samples has some 100 MB; entries come from outside.
MOST_BYTES = 2**28
MOST_ROWS = 2_000_000
MOST_UNPACKED = 2**31


def score_path(folder: Path | None, task: str, metric: str, protocol: str) -> Path | None:
    """Return the file with the scores of an entry's samples under a metric and protocol; None if there is none.

    Args:
        folder: The entry's folder; None for an entry that is a single file.
        task, metric, protocol: As results.json names them.
    """
    if folder is None:
        return None
    scores = RunDirectory(folder).scores_folder
    name = f"{task}.{metric}.{protocol}.parquet"
    # The names come from outside: one with a separator would reach out of the folder, and so would a link.
    plain = Path(name).name == name and "\\" not in name and "\0" not in name and len(name.encode()) <= 255
    path = scores / name
    return path if plain and path.is_file() and not path.is_symlink() and not scores.is_symlink() else None


def read_scores(path: Path, metric: str, protocol: str, names: int) -> ScoreColumns:
    """Return the scores in a file.

    Args:
        path: From `score_path`.
        metric, protocol: Those of the file.
        names: Number of named values of the metric.
    Raises:
        DataError: The file is too large, or is no file of scores.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path}: is larger than {MOST_BYTES:,} bytes; expected the scores of a run")
        about = pq.read_metadata(path)
        unpacked = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
        if about.num_rows > MOST_ROWS or unpacked > MOST_UNPACKED:
            raise DataError(
                f"{path}: has {about.num_rows:,} rows and {unpacked:,} bytes; expected at most {MOST_ROWS:,} rows and "
                f"{MOST_UNPACKED:,} bytes"
            )
        return read_columns(path, names, table_row(metric, protocol))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, pa.ArrowException) as error:
        raise DataError(
            f"{path}: cannot be read as scores ({type(error).__name__}: {error}); score the run again with "
            "`harness score`"
        ) from error
