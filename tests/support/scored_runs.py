"""Run directories that hold results and scores only, for comparisons: no plan, no predictions."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DIGEST = "d" * 64


def write_run(
    folder: Path,
    values: Sequence[float] | np.ndarray[Any, Any],
    *,
    ids: Sequence[str] | None = None,
    clusters: Sequence[str] | None = None,
    strata: Mapping[str, Sequence[str]] | None = None,
    task: str = "spots",
    protocol_version: int = 1,
    higher_is_better: bool = True,
    block: Mapping[str, Any] | None = None,
    results: Mapping[str, Any] | None = None,
) -> Path:
    """Write a run with one task under `dice` of `standard`, and return its folder; NaN is an undefined value."""
    numbers = np.asarray(values, dtype=np.float64)
    count = len(numbers)
    names = pa.array(ids if ids is not None else [f"{task}/{number:07d}" for number in range(count)])
    of = {key: np.asarray(texts) for key, texts in (strata or {}).items()}
    combined = [json.dumps(dict(zip(of, row, strict=True))) for row in zip(*of.values(), strict=True)] if of else None
    defined = ~np.isnan(numbers)
    offsets = pa.array(np.concatenate([[0], np.cumsum(defined)]), type=pa.int32())
    table = pa.table(
        {
            "sample_id": names,
            "repeat": pa.array(np.zeros(count), type=pa.int32()),
            "status": pa.array(np.where(defined, "ok", "undefined")),
            "failed": pa.array(np.zeros(count, dtype=np.bool_)),
            "cluster": names if clusters is None else pa.array(clusters),
            "strata": pa.array(combined if combined is not None else ["{}"] * count),
            "detail": pa.array(["{}"] * count),
            "values": pa.ListArray.from_arrays(offsets, pa.array(numbers[defined])),
            "stats": pa.ListArray.from_arrays(
                pa.array(np.concatenate([[0], 2 * np.cumsum(defined)]), type=pa.int32()),
                pa.array(np.stack([numbers[defined], np.ones(int(defined.sum()))], axis=1).ravel()),
            ),
        }
    )
    (folder / "scores").mkdir(parents=True)
    pq.write_table(table, folder / "scores" / f"{task}.dice.standard.parquet", compression="zstd")
    row = {
        "metric": "dice",
        "name": "dice",
        "protocol": "standard",
        "protocol_version": protocol_version,
        "higher_is_better": higher_is_better,
        "mean": "micro",
        "value": float(np.nanmean(numbers)) if defined.any() else None,
        "ci": None,
        "ci_method": "none",
        "n": int(defined.sum()),
        "clusters": len(set(clusters or names.to_pylist())) if count < 10_000 else count,
        "undefined": int((~defined).sum()),
        "failed": 0,
        "unparsed": 0,
    }
    rows = [{**row, "stratum": None}]
    rows += [{**row, "stratum": {key: value}} for key, texts in of.items() for value in sorted(set(texts.tolist()))]
    told = {
        "title": "Spots",
        "version": 1,
        "task_digest": DIGEST,
        "data_digest": DIGEST,
        "fallbacks": [],
        "wanted": count,
        "answered": count,
        "coverage": 1.0,
        "counts": {"ok": count},
        "headline": {"metric": "dice", "protocol": "standard", "mean": "micro", "over": None},
        "metrics": rows,
        **(block or {}),
    }
    content = {
        "schema": 1,
        "model": {"id": f"scripted:{folder.name}", "arguments": {}, "weights": []},
        "data": "phantom",
        "limited": False,
        "tasks": {task: told},
        "groups": {},
        "unsupported": {},
        "unavailable": [],
        **(results or {}),
    }
    (folder / "results.json").write_text(json.dumps(content))
    (folder / "run.json").write_text(json.dumps({"data": content["data"], "tasks": {task: {}}}))
    return folder
