"""Two sides of a gate in memory, without a run directory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.comparison.pinned import GateRun, Requests
from harness.comparison.scored_run import ScoredRun, TaskScores, table_row
from tests.unit.comparison.columns import Values, columns


def task(
    name: str,
    values: Values,
    clusters: Sequence[str] | None = None,
    *,
    ids: Sequence[str] | None = None,
    strata: Sequence[Mapping[str, str]] | None = None,
    answers: str | None = None,
    speed: Sequence[float] | None = None,
    metric: str = "dice",
    protocol: str = "standard",
    block: Mapping[str, Any] | None = None,
    row: Mapping[str, Any] | None = None,
) -> tuple[TaskScores, Requests]:
    """Return a task with one metric of one value and its requests; `block` and `row` replace parts of its results."""
    scores = columns(values, clusters, ids=ids, strata=strata)
    found = scores.values[:, 0]
    names = scores.sample_ids.to_pylist()
    wholes: list[dict[str, str] | None] = [None]
    wholes += [{key: value} for key, value in sorted({it for one in strata or () for it in one.items()})]
    rows = [
        {
            "metric": metric,
            "name": metric,
            "protocol": protocol,
            "protocol_version": 1,
            "higher_is_better": True,
            "stratum": stratum,
            "mean": "micro",
            "value": float(np.nanmean(found)) if np.isfinite(found).any() else None,
            "n": int(np.isfinite(found).sum()),
            "clusters": len(scores.cluster_names),
            "undefined": int(np.isnan(found).sum()),
            "failed": 0,
            "unparsed": 0,
            **(row or {}),
        }
        for stratum in wholes
    ]
    stored = {
        "version": 1,
        "task_digest": "t",
        "data_digest": "d",
        "fallbacks": [],
        "wanted": len(names),
        "coverage": 1.0,
        "headline": {"metric": metric, "protocol": protocol, "mean": "micro", "over": None},
        "metrics": rows,
        **(block or {}),
    }
    requests = Requests(
        ids=[(sample, 0) for sample in names],
        clusters=[scores.cluster_names[at] for at in scores.cluster],
        answers=answers or str(found.tolist()),
        measures={} if speed is None else {"speed": np.asarray(speed, dtype=np.float64)},
    )
    return TaskScores(name=name, block=stored, read=lambda *_: scores, find_metric=table_row), requests


def side(*tasks: tuple[TaskScores, Requests], data: str = "real", model: str = "model", **facts: Any) -> GateRun:
    """Return one side of a gate; `facts` replace fields of the run, such as `performance`."""
    fields: dict[str, Any] = {"unsupported": {}, "unavailable": [], "performance": {}, "limited": False, **facts}
    run = ScoredRun(source=Path(model), model=model, data=data, tasks={it.name: it for it, _ in tasks}, **fields)
    return GateRun(run=run, requests={it.name: requests for it, requests in tasks})
