"""A baseline pinned to one small file: results, scores by sample and a digest of the answers, so that CI keeps no run.

The file is JSON, `{"medground_baseline": 1, "sha256": ..., "content": ...}`. The digest is that of the canonical JSON
of the content: an editor may lay the file out anew, but a changed number is noticed. It is no signature by key: whoever
can write the file can also pin another run, which the history of the file shows.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.comparison.scored_run import ScoreColumns, ScoredRun, TaskScores, read_run, table_row
from harness.errors import DataError, SpecError, nearest
from harness.metrics.metric import Floats
from harness.records import Json
from harness.records.atomic_files import write_atomically
from harness.records.codec import canonical
from harness.runs import plan_file

MARK, SCHEMA = "medground_baseline", 1
# Of a stored prediction, what is no part of the answer: whose it is, what was sent, and what it took.
NO_ANSWER = frozenset({"key", "rendered", "seconds", "usage", "remarks", "crc32", "error"})
# Digits of a measured time that are worth keeping.
DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """The requests of one task, one row per sample and repetition.

    Attributes:
        ids: (sample id, repeat) of each.
        clusters: Cluster of each.
        answers: sha256 of all answers in the order of the ids, without whose they are and what they took.
        measures: `speed` (seconds in the model), `cost` and `tokens`, float64 (rows,) each; NaN where a request has
            none. Only those that the run knows.
    """

    ids: Sequence[tuple[str, int]]
    clusters: Sequence[str]
    answers: str
    measures: Mapping[str, Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRun:
    """One side of a gate.

    Attributes:
        run: Its results and scores.
        requests: Task -> its requests.
    """

    run: ScoredRun
    requests: Mapping[str, Requests]


def read_side(path: Path) -> GateRun:
    """Return a run directory or a pinned file.

    Raises:
        SpecError: It is neither, the run is not finished, or the file was changed after it was pinned.
    """
    if path.is_file():
        return read_pinned(path)
    if not path.exists():
        raise SpecError(
            f"{path}: does not exist; expected a run directory that `harness run --out` wrote, or a file that "
            "`harness baseline pin` wrote"
        )
    run = read_run(path)
    return GateRun(run=run, requests=read_requests(run))


def read_requests(run: ScoredRun) -> dict[str, Requests]:
    """Return the requests of every scored task of a run directory."""
    directory = run.directory
    assert directory is not None, "a pinned file holds its requests"
    answers: dict[str, bytes] = {}
    taken: dict[str, tuple[float, float, float]] = {}
    for value in directory.read_values():
        key = value.get("key")
        if not isinstance(key, str):
            continue
        answer = {name: part for name, part in value.items() if name not in NO_ANSWER}
        answers[key] = hashlib.sha256(canonical(answer).encode()).digest()
        usage = value.get("usage") or {}
        tokens = [usage[name] for name in ("prompt_tokens", "completion_tokens") if name in usage]
        taken[key] = (value.get("seconds", math.nan), usage.get("cost", math.nan), math.fsum(tokens or [math.nan]))
    found = {}
    for name in run.tasks:
        ids: list[tuple[str, int]] = []
        clusters: list[str] = []
        keys: list[str] = []
        for row in plan_file.read(directory.plan_path(name)):
            ids.append((row.sample.id, row.repeat))
            clusters.append(row.sample.cluster)
            keys.append(row.key)
        order = sorted(range(len(ids)), key=ids.__getitem__)
        digest = hashlib.sha256()
        for place in order:
            sample, repeat = ids[place]
            digest.update(f"{sample}\x1f{repeat}\x1f".encode() + answers.get(keys[place], b"none"))
        columns = np.asarray([taken.get(keys[place], (math.nan,) * 3) for place in order]).reshape(-1, 3)
        measures = dict(zip(("speed", "cost", "tokens"), columns.T, strict=True))
        found[name] = Requests(
            ids=[ids[place] for place in order],
            clusters=[clusters[place] for place in order],
            answers=digest.hexdigest(),
            measures={key: column for key, column in measures.items() if np.isfinite(column).any()},
        )
    return found


def pin(path: Path, out: Path) -> dict[str, Json]:
    """Write the pinned file of a run; return its head, `{sha256, tasks, samples, bytes}`.

    Raises:
        SpecError: `path` is no finished run directory, or `out` cannot be written.
    """
    side = read_side(path)
    content = _content(side)
    digest = _digest(content)
    text = _layout(content, digest)
    if not out.parent.is_dir():
        raise SpecError(f"-o {out}: there is no folder {out.parent}; make it, or name another file")
    if out.is_dir():
        raise SpecError(f"-o {out}: is a folder; name a file, such as {out / 'baseline.json'}")
    write_atomically(out, text)
    samples = sum(len(requests.ids) for requests in side.requests.values())
    return {"file": str(out), "sha256": digest, "tasks": len(side.requests), "samples": samples, "bytes": len(text)}


def _digest(content: Json) -> str:
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def _layout(content: Mapping[str, Json], digest: str) -> str:
    """Return the text of the file: one line per task, so that a diff of two pinned files shows what moved."""
    tasks = ",\n".join(f"{json.dumps(name)}: {canonical(task)}" for name, task in content["tasks"].items())
    rest = {name: part for name, part in content.items() if name != "tasks"}
    head = f'{{"{MARK}": {SCHEMA}, "sha256": "{digest}",\n"content": {{'
    lines = "".join(f"{json.dumps(name)}: {canonical(part)},\n" for name, part in rest.items())
    return f'{head}{lines}"tasks": {{\n{tasks}\n}}}}}}\n'


def _content(side: GateRun) -> dict[str, Json]:
    run = side.run
    tasks: dict[str, Json] = {}
    for name, task in run.tasks.items():
        requests = side.requests[name]
        clusters = sorted(set(requests.clusters))
        place = {cluster: index for index, cluster in enumerate(clusters)}
        rows = {row: index for index, row in enumerate(requests.ids)}
        scores: dict[str, Json] = {}
        strata: list[Json] | None = None
        for metric, protocol in dict.fromkeys((row["metric"], row["protocol"]) for row in task.rows):
            columns = task.read(metric, protocol)
            ids = list(zip(columns.sample_ids.to_pylist(), columns.repeat.tolist(), strict=True))
            order = sorted(range(len(ids)), key=ids.__getitem__)
            if strata is None:
                strata = [dict(value) for value in columns.strata_values]
            known = {canonical(value): index for index, value in enumerate(strata)}
            for value in columns.strata_values:  # another metric may have scored a sample with further strata
                if canonical(dict(value)) not in known:
                    known[canonical(dict(value))] = len(strata)
                    strata.append(dict(value))
            codes = [known[canonical(dict(value))] for value in columns.strata_values]
            table = task.find_metric(metric, protocol)
            scores[f"{metric} {protocol}"] = {
                "rows": [rows[ids[at]] for at in order],
                "strata": [codes[columns.strata[at]] for at in order],
                "scored": [int(columns.scored[at]) for at in order],
                "failed": [int(columns.failed[at]) for at in order],
                "values": [_numbers(columns.values[order, at]) for at in range(columns.values.shape[1])],
                # Sums are needed only where the number itself is made of sums; they would be most of the file.
                "stats": [_numbers(columns.stats[order, at]) for at in range(columns.stats.shape[1])]
                if table is not None and (table.corpus or any(_pooled(row, metric, protocol) for row in task.rows))
                else [],
                "lists": [list(map(float, columns.lists[at])) for at in order] if columns.lists else [],
            }
        tasks[name] = {
            "block": dict(task.block),
            "answers": requests.answers,
            "samples": [sample for sample, _ in requests.ids],
            "repeats": [repeat for _, repeat in requests.ids] if any(repeat for _, repeat in requests.ids) else [],
            "clusters": clusters,
            "cluster": [place[cluster] for cluster in requests.clusters],
            "strata": strata or [],
            "scores": scores,
            "measures": {
                key: [None if math.isnan(value) else float(f"{value:.{DIGITS}g}") for value in column.tolist()]
                for key, column in requests.measures.items()
            },
        }
    return {
        "model": run.model,
        "data": run.data,
        "limited": run.limited,
        "unsupported": dict(run.unsupported),
        "unavailable": [dict(item) for item in run.unavailable],
        "performance": dict(run.performance),
        "tasks": tasks,
    }


def _pooled(row: Mapping[str, Any], metric: str, protocol: str) -> bool:
    return row["mean"] == "pooled" and (row["metric"], row["protocol"]) == (metric, protocol)


def _numbers(column: Floats) -> list[Json]:
    """Return a column for JSON: whole numbers without a point, and null for NaN."""
    return [None if math.isnan(value) else int(value) if value.is_integer() else value for value in column.tolist()]


def read_pinned(path: Path) -> GateRun:
    """Return what a pinned file holds.

    Raises:
        SpecError: The file is none, is of a newer version, or was changed after it was pinned.
    """
    again = f"restore it from version control, or pin the run again: harness baseline pin RUN -o {path}"
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}; name a run directory or a pinned file") from error
    except ValueError as error:
        raise SpecError(f"{path}: is damaged or no pinned baseline ({error}); {again}") from error
    if not isinstance(whole, dict) or MARK not in whole or "content" not in whole:
        raise SpecError(
            f"{path}: is no pinned baseline; expected a file that `harness baseline pin RUN -o FILE` wrote, "
            "or a run directory"
        )
    if whole[MARK] != SCHEMA:
        raise SpecError(
            f"{path}: expected a pinned baseline of version {SCHEMA}, found {whole[MARK]!r}; "
            "install the medground that wrote it, or pin the run again with this one"
        )
    try:
        found = _digest(whole["content"])
    except ValueError as error:  # NaN, which no file of ours holds
        raise SpecError(f"{path}: holds a number that is none ({error}); {again}") from error
    if found != whole.get("sha256"):
        raise SpecError(
            f"{path}: was changed after it was pinned: expected content with sha256 "
            f"{str(whole.get('sha256'))[:16]}..., found {found[:16]}...; {again}"
        )
    try:
        return _from_content(path, whole["content"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise DataError(f"{path}: does not hold what a pinned baseline must ({error!r}); {again}") from error


def _from_content(path: Path, content: Mapping[str, Any]) -> GateRun:
    tasks, requests = {}, {}
    for name, task in content["tasks"].items():
        repeats = task["repeats"] or [0] * len(task["samples"])
        tasks[name] = _task(path, name, task, repeats)
        requests[name] = Requests(
            ids=list(zip(task["samples"], repeats, strict=True)),
            clusters=[task["clusters"][at] for at in task["cluster"]],
            answers=task["answers"],
            measures={key: np.asarray(column, dtype=np.float64) for key, column in task["measures"].items()},
        )
    run = ScoredRun(
        source=path,
        model=content["model"],
        data=content["data"],
        limited=content["limited"],
        tasks=tasks,
        unsupported=content["unsupported"],
        unavailable=content["unavailable"],
        performance=content["performance"],
    )
    return GateRun(run=run, requests=requests)


def _task(path: Path, name: str, task: Mapping[str, Any], repeats: Sequence[int]) -> TaskScores:
    """Return a task whose scores come from a pinned file."""

    def read(metric: str, protocol: str) -> ScoreColumns:
        import pyarrow as pa

        wanted, known = f"{metric} {protocol}", list(task["scores"])
        if wanted not in task["scores"]:
            hint = nearest(wanted, known)
            raise SpecError(f"{path}: {name} has no scores by {wanted}{hint}, only {', '.join(known)}")
        found = task["scores"][wanted]
        rows = np.asarray(found["rows"], dtype=np.int64)
        count = len(rows)
        return ScoreColumns(
            sample_ids=pa.array([task["samples"][row] for row in rows], type=pa.string()),
            repeat=np.asarray(repeats, dtype=np.int64)[rows],
            cluster=np.asarray(task["cluster"], dtype=np.int64)[rows],
            cluster_names=task["clusters"],
            strata=np.asarray(found["strata"], dtype=np.int64),
            strata_values=task["strata"],
            values=_columns(found["values"], count),
            stats=_columns(found["stats"], count),
            lists=[tuple(row) for row in found["lists"]],
            scored=np.asarray(found["scored"], dtype=np.bool_),
            failed=np.asarray(found["failed"], dtype=np.bool_),
        )

    return TaskScores(name=name, block=task["block"], read=read, find_metric=table_row)


def _columns(columns: Sequence[Sequence[float | None]], rows: int) -> Floats:
    """Return float64 (rows, columns); null becomes NaN."""
    if not columns:
        return np.zeros((rows, 0))
    return np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)
