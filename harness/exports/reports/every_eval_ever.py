"""A run in the schema of Every Eval Ever, 0.3.0: a file of numbers per task, and one of records, per sample and number.

Files are where that datastore wants them, `data/BENCHMARK/DEVELOPER/MODEL/UUID.json` and `UUID_samples.jsonl`. The
schema holds no geometry: masks, boxes and points of an answer are JSON text in the metadata of its first record, and
`additional_details` says in which frame they lie.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from harness.exports.finished_run import (
    ExportedSample,
    FinishedRun,
    finished_run,
    library_version,
    number_name,
    stratum_name,
)
from harness.exports.out_folder import write_json, write_lines, write_tasks
from harness.records import Json

FORM = "every-eval-ever"
SCHEMA_VERSION = "0.3.0"
UNKNOWN = "unknown"
RELATIONSHIPS = ("first_party", "third_party", "collaborative", "other")
FRAME = (
    "metadata.geometry of the first record of a sample: masks as COCO run lengths in the frame of the original image "
    "or volume, {size: [H, W], counts} or {size: [D, H, W], slices}; boxes x1 y1 x2 y2 (3-D: z1 y1 x1 z2 y2 x2) and "
    "points (x, y) in its pixels, half-open"
)


def write_records(
    run_folder: Path,
    out: Path,
    *,
    organization: str = UNKNOWN,
    relationship: str = "other",
    task: str | None = None,
    task_paths: Sequence[Path] = (),
) -> tuple[list[Path], list[str]]:
    """Write a run as records of Every Eval Ever.

    Args:
        run_folder: The run directory.
        out: New or empty folder, in which `data/` is made.
        organization: Who evaluated.
        relationship: Of the evaluator to the model, one of RELATIONSHIPS.
        task: Only this task; None: all tasks of the run.
        task_paths: Folders with further task files.
    Returns:
        The files of numbers, and notes on what is left out.
    Raises:
        SpecError: The run is not finished, or has no such task; or `out` holds files or cannot be written.
        DataError: A stored prediction is damaged.
    """
    with finished_run(run_folder, task=task, task_paths=task_paths) as run:

        def write(name: str, folder: Path) -> Path:
            return _write(run, name, folder, organization, relationship)

        return write_tasks(run, out, FORM, write)


def _write(run: FinishedRun, name: str, out: Path, organization: str, relationship: str) -> Path:
    block = run.block(name)
    developer, _, model = run.model_name.rpartition("/")
    developer, model = (_path_part(part) or UNKNOWN for part in (developer, model))
    identity = hashlib.sha256(
        f"{name}/{block['task_digest']}/{block['data_digest']}/{json.dumps(run.model)}/{run.started}".encode()
    ).digest()
    folder = Path("data") / _path_part(name) / developer / model
    (out / folder).mkdir(parents=True)
    stem = str(
        UUID(bytes=identity[:16], version=4)
    )  # of the run and not of chance, so that it is written the same again
    retrieved = str(int(datetime.fromisoformat(run.started).timestamp()))
    evaluation = f"{name}/{developer}_{model}/{retrieved}"
    model_id = f"{developer}/{model}"
    samples = out / folder / f"{stem}_samples.jsonl"
    count = 0

    def records() -> Iterator[Json]:
        nonlocal count
        for item in run.samples(name):
            for record in _records(run, item, evaluation, model_id):
                count += 1
                yield record

    write_lines(samples, records())
    content = {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": evaluation,
        "evaluation_timestamp": run.started,
        "retrieved_timestamp": retrieved,
        "source_metadata": {
            "source_name": "MedGround",
            "source_type": "evaluation_run",
            "source_organization_name": organization,
            "evaluator_relationship": relationship,
        },
        "eval_library": {"name": "medground", "version": library_version()},
        "model_info": {
            "name": run.model_name,
            "id": model_id,
            **({} if developer == UNKNOWN else {"developer": developer}),
            "additional_details": {
                "deployment_type": UNKNOWN,
                "model_availability": UNKNOWN,
                **{f"medground_{key}": _text(value) for key, value in run.model.items()},
            },
        },
        "evaluation_results": [one for row in block["metrics"] if (one := _number(run, name, row)) is not None],
        "detailed_evaluation_results": {
            "format": "jsonl",
            "file_path": (folder / samples.name).as_posix(),
            "hash_algorithm": "sha256",
            "checksum": hashlib.sha256(samples.read_bytes()).hexdigest(),
            "total_rows": count,
            "additional_details": {"geometry": FRAME},
        },
    }
    path = out / folder / f"{stem}.json"
    write_json(path, content)
    return path


def _number(run: FinishedRun, name: str, row: Mapping[str, Any]) -> dict[str, Json] | None:
    block = run.block(name)
    if row["value"] is None:
        run.lose("numbers without a value")
        return None
    stratum = stratum_name(row)
    counts = ("n", "clusters", "undefined", "failed", "unparsed", "mean")
    details = {key: _text(row[key]) for key in counts}
    details |= {"coverage": _text(block["coverage"]), "wanted": _text(block["wanted"])}
    score: dict[str, Json] = {"score": row["value"], "details": details}
    if row["ci"] is not None:
        interval = {"lower": row["ci"][0], "upper": row["ci"][1], "confidence_level": 0.95, "method": row["ci_method"]}
        score["uncertainty"] = {"confidence_interval": interval, "num_samples": row["n"]}
    return {
        "evaluation_result_id": _result_id(row),
        "evaluation_name": f"{name}{stratum}",
        "source_data": {
            "dataset_name": run.tasks[name].dataset,
            "source_type": "other",
            "additional_details": {"data": run.results["data"], "data_digest": block["data_digest"]},
        },
        "evaluation_timestamp": run.started,
        # Without `score_type`: its validator then asks for a range, and a result row states none.
        "metric_config": {
            "evaluation_description": block["title"],
            "metric_id": f"medground.{number_name(row['metric'], row['protocol'], row['name'])}",
            "metric_name": row["name"],
            "metric_parameters": {"protocol": row["protocol"], "protocol_version": row["protocol_version"]},
            "lower_is_better": not row["higher_is_better"],
            "additional_details": {
                "task_version": _text(block["version"]),
                "task_digest": block["task_digest"],
                "geometry": FRAME,
            },
        },
        "score_details": score,
    }


def _records(run: FinishedRun, item: ExportedSample, evaluation: str, model_id: str) -> Iterator[Json]:
    sample, written = item.sample, False
    reference = [*sample.target.answers, *([sample.target.choice] if sample.target.choice else [])]
    likelihoods = item.prediction is not None and bool(item.prediction.nll or item.prediction.embedding)
    run.lose("likelihoods and embeddings as answers", likelihoods)
    reference = reference or [entity.name for entity in sample.target.entities]
    for score in item.scores:
        for name, value in score.values.items():
            if value is None:
                run.lose("scores of samples without a value")
                continue
            metadata = {key: str(words) for key, words in sample.strata.items()}
            metadata |= {"medground_status": item.status, "medground_repeat": str(item.repeat)}
            metadata |= {"medground_score_status": score.status, "medground_cluster": sample.cluster}
            if not written and item.geometry:
                metadata["geometry"] = json.dumps(item.geometry, ensure_ascii=False)
            written = True
            row = {"metric": score.metric, "protocol": score.protocol, "name": name, "stratum": None}
            yield {
                "schema_version": SCHEMA_VERSION,
                "evaluation_id": evaluation,
                "model_id": model_id,
                "evaluation_name": item.task.task,
                "evaluation_result_id": _result_id({**row, "mean": _mean_of(run, item.task.task, row)}),
                "sample_id": sample.id,
                "interaction_type": "single_turn",
                "input": {
                    "raw": item.asked,
                    "reference": reference,
                    "choices": list(sample.choices) or None,
                },
                "output": {"raw": [item.reply]},
                "answer_attribution": [
                    {
                        "turn_idx": 0,
                        "source": "output.raw",
                        "extracted_value": item.reply,
                        "extraction_method": f"medground {score.metric}.{score.protocol}",
                        "is_terminal": True,
                    }
                ],
                # The schema asks for a yes or no beside every score; the best value of a share is 1.
                "evaluation": {"score": value, "is_correct": not score.failed and value == 1.0},
                "error": item.error,
                "metadata": metadata,
            }


def _mean_of(run: FinishedRun, task: str, row: Mapping[str, Any]) -> str:
    """Return `micro` or `pooled`: the mean of a metric's number over the whole task."""
    keys = ("metric", "protocol", "name", "stratum")
    means = [one["mean"] for one in run.block(task)["metrics"] if all(one[key] == row[key] for key in keys)]
    return next((mean for mean in means if mean != "macro"), "micro")


def _result_id(row: Mapping[str, Any]) -> str:
    return f"{number_name(row['metric'], row['protocol'], row['name'])}/{row['mean']}{stratum_name(row)}"


def _path_part(words: str) -> str:
    """Return words as one part of a path that any file system takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", words).strip(".-")[:80]


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
