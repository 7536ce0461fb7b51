"""A task of a run as a log of inspect_ai: `TASK.eval`, an archive with a JSON file per sample and repetition.

Images are not in the log. Masks, boxes and points are in the metadata of a sample, in pixels of the original image.
"""

import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.exports.finished_run import (
    ExportedSample,
    FinishedRun,
    finished_run,
    library_version,
    number_name,
    stratum_name,
)
from harness.exports.out_folder import write_tasks
from harness.records import Json
from harness.records.codec import sha256_text

FORM = "inspect"
VERSION = 2  # of inspect_ai's log
# Stop reasons of inspect_ai for the statuses that it knows; an error or a limit is beside the output.
STOP = {"truncated": "max_tokens", "refused": "content_filter"}
NO_DATE = (1980, 1, 1, 0, 0, 0)  # the first of a zip archive, so that equal runs are equal files


def write_logs(
    run_folder: Path, out: Path, *, task: str | None = None, task_paths: Sequence[Path] = ()
) -> tuple[list[Path], list[str]]:
    """Write each task of a run as a log of inspect_ai.

    Args:
        run_folder: The run directory.
        out: New or empty folder.
        task: Only this task; None: all tasks of the run.
        task_paths: Folders with further task files.
    Returns:
        The logs, and notes on what they do not hold.
    Raises:
        SpecError: The run is not finished, or has no such task; or `out` holds files or cannot be written.
        DataError: A stored prediction is damaged.
    """
    with finished_run(run_folder, task=task, task_paths=task_paths) as run:

        def write(name: str, folder: Path) -> Path:
            path = folder / f"{name}.eval"
            _write(run, name, path)
            return path

        return write_tasks(run, out, FORM, write)


def _write(run: FinishedRun, name: str, path: Path) -> None:
    summaries: list[Json] = []
    ids: dict[str, None] = {}
    completed = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(member: str, value: Json) -> None:
            info = zipfile.ZipInfo(member, NO_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, json.dumps(value, ensure_ascii=False, allow_nan=False))

        for item in run.samples(name):
            sample = _sample(run, item)
            completed += item.prediction is not None and item.prediction.error is None
            ids[item.sample.id] = None
            # As inspect_ai names them, but never upwards: an id may hold anything.
            safe = "/".join("%2E%2E" if part == ".." else part for part in item.sample.id.split("/"))
            add(f"samples/{safe}_epoch_{item.repeat + 1}.json", sample)
            kept: dict[str, Json] = {
                key: sample[key] for key in ("id", "epoch", "input", "choices", "target", "scores") if key in sample
            }
            # Of an error and a limit a summary has one word each.
            kept |= {"error": sample["error"]["message"]} if "error" in sample else {}
            kept |= {"limit": sample["limit"]["type"]} if "limit" in sample else {}
            summaries.append({**kept, "completed": "error" not in sample})
        spec, plan = _spec(run, name, list(ids)), {"name": "plan", "steps": [], "config": {}}
        add("_journal/start.json", {"version": VERSION, "eval": spec, "plan": plan})
        add("summaries.json", summaries)
        header = {
            "version": VERSION,
            "status": "success",
            "eval": spec,
            "plan": plan,
            "results": {
                "total_samples": len(summaries),
                "completed_samples": completed,
                "scores": list(_scores(run, name)),
            },
            "stats": {"started_at": run.started, "completed_at": run.started, "model_usage": {}},
        }
        add("header.json", header)


def _spec(run: FinishedRun, name: str, ids: list[str]) -> dict[str, Json]:
    block = run.block(name)
    identity = sha256_text(f"{name}/{block['task_digest']}/{block['data_digest']}/{json.dumps(run.model)}")
    return {
        "eval_id": identity[:22],
        "run_id": sha256_text(f"{run.started}/{run.model_name}")[:22],
        "created": run.started,
        "task": name,
        "task_id": block["task_digest"][:22],
        "task_version": block["version"],
        "task_display_name": block["title"],
        "dataset": {
            "name": run.tasks[name].dataset,
            "samples": len(ids),
            "sample_ids": ids,
            "shuffled": False,
        },
        "model": run.model_name,
        "model_args": dict(run.model["arguments"]),
        "config": {"epochs": run.tasks[name].repeats},
        "packages": {"medground": library_version()},
        "metadata": {"medground": run.record(FORM)},
    }


def _scores(run: FinishedRun, name: str) -> Iterator[dict[str, Json]]:
    found: dict[str, dict[str, Json]] = {}
    for row in run.block(name)["metrics"]:
        label = number_name(row["metric"], row["protocol"], row["name"])
        score = found.setdefault(
            label,
            {"name": label, "scorer": f"{row['metric']}.{row['protocol']}", "params": {}, "metrics": {}},
        )
        score["params"] = {"protocol_version": row["protocol_version"]}
        stratum = stratum_name(row)
        if row["value"] is None:
            run.lose("numbers without a value, which are in the log's metadata only")
            continue
        facts = {key: row[key] for key in ("ci", "ci_method", "n", "clusters", "undefined", "failed", "unparsed")}
        score["metrics"][f"{row['mean']}{stratum}"] = {
            "name": f"{row['mean']}{stratum}",
            "value": row["value"],
            "metadata": facts,
        }
    yield from found.values()


def _sample(run: FinishedRun, item: ExportedSample) -> dict[str, Json]:
    prediction, sample = item.prediction, item.sample
    scores, without = {}, {}
    for score in item.scores:
        for label, value in score.named():
            if value is None:
                without[label] = score.status
            else:
                scores[label] = {
                    "value": value,
                    "answer": item.reply,
                    "metadata": {
                        "status": score.status,
                        "failed": score.failed,
                        "protocol_version": score.protocol_version,
                    },
                }
    geometry = item.geometry
    run.lose(
        "masks, boxes and points as answers: they are in the metadata, which --from-inspect does not read",
        bool(geometry),
    )
    likelihoods = prediction is not None and bool(prediction.nll or prediction.embedding)
    run.lose("likelihoods and embeddings as answers", likelihoods)
    answered = prediction is not None and prediction.error is None and prediction.status != "empty"
    reply = {"role": "assistant", "content": item.reply, "source": "generate", "model": run.model_name}
    choice = {"message": reply, "stop_reason": STOP.get(item.status, "stop")}
    target = list(sample.target.answers) or [sample.target.choice or ""]
    found: dict[str, Json] = {
        "id": sample.id,
        "epoch": item.repeat + 1,
        "input": item.asked,
        "target": target[0] if len(target) == 1 else target,
        "messages": [{"role": "user", "content": item.asked, "source": "input"}, *([reply] if answered else [])],
        "output": {"model": run.model_name, "choices": [choice] if answered else [], "completion": item.reply},
        "scores": scores,
        "metadata": {
            "status": item.status,
            "cluster": sample.cluster,
            "strata": dict(sample.strata),
            "images": [media.sha256 for media in sample.media],
            "scores_without_value": without,
            "geometry": geometry,
        },
    }
    if sample.choices:
        found["choices"] = list(sample.choices)
    if item.status == "timeout":
        found["limit"] = {"type": "time", "limit": prediction.seconds if prediction is not None else 0.0}
    elif not answered and item.status != "empty":
        words = item.error or "the sample was not asked"
        found["error"] = {"message": words, "traceback": words, "traceback_ansi": words}
    return found
