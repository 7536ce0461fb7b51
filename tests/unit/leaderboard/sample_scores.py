"""Made-up scores of samples in the format of a run directory."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.records import Score
from harness.scoring.score import ScoreFile


def write_scores(
    folder: Path,
    values: Sequence[float | None],
    *,
    task: str = "samed2d_seg",
    metric: str = "dice",
    protocol: str = "standard",
    ids: Sequence[str] | None = None,
    clusters: Sequence[str] | None = None,
    strata: Sequence[Mapping[str, str]] | None = None,
    stats: Sequence[Sequence[float]] = (),
    failed: Sequence[int] = (),
) -> Path:
    """Write one value per sample below a run directory and return the file; None is undefined, `failed` are rows."""
    (folder / "scores").mkdir(parents=True, exist_ok=True)
    names = list(ids) if ids is not None else [f"s{number:04d}" for number in range(len(values))]
    path = folder / "scores" / f"{task}.{metric}.{protocol}.parquet"
    file = ScoreFile(path)
    for row, (name, value) in enumerate(zip(names, values, strict=True)):
        file.add(
            Score(
                sample_id=name,
                repeat=0,
                metric=metric,
                protocol=protocol,
                status="undefined" if value is None else "ok",
                values=() if value is None else (float(value),),
                stats=tuple(map(float, stats[row])) if stats else (),
                failed=row in failed,
                detail={},
                cluster=clusters[row] if clusters is not None else name,
                strata=strata[row] if strata is not None else {},
            )
        )
    file.close()
    return path
