"""Score files as a finished run leaves them, of made-up values."""

from collections.abc import Mapping
from pathlib import Path

from benchmarks.ablations.paired_scores import Number
from harness import metrics
from harness.records import Score
from harness.runs.directory import RunDirectory
from harness.scoring.score import ScoreFile, score_files


def write_scores(run: Path, number: Number, values: Mapping[str, float | None], strata: Mapping[str, str]) -> None:
    """Write one score a sample; the cluster is what stands before the `/` of a sample's name.

    Args:
        run: Run directory.
        number: Whose metric the values are of; the metric's other values are 0.
        values: Sample -> value; None: undefined.
        strata: Of every sample; a `{}` stands for the sample's cluster.
    """
    row = metrics.find(number.metric, number.protocol)
    folder = RunDirectory(run).scores_folder
    folder.mkdir(parents=True, exist_ok=True)
    file = ScoreFile(score_files(folder, number.task, [row])[row.name, row.protocol])
    for sample, value in values.items():
        cluster = sample.partition("/")[0]
        numbers = tuple(value or 0.0 if name == number.name else 0.0 for name in row.values)
        file.add(
            Score(
                sample_id=sample,
                repeat=0,
                metric=row.name,
                protocol=row.protocol,
                status="ok" if value is not None else "undefined",
                values=() if value is None else numbers,
                stats=(),
                failed=False,
                cluster=cluster,
                strata={key: text.format(cluster) for key, text in strata.items()},
            )
        )
    file.close()
