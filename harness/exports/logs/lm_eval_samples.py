"""Answers in words as lm-eval logs them: `samples_TASK_DATE.jsonl` for each task, and `results_DATE.json`.

The lines are those of `lm_eval --log_samples`; `harness score --from-lm-eval` reads them back, statuses included.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from math import fsum
from pathlib import Path

from harness.exports.finished_run import ExportedSample, FinishedRun, finished_run, number_name
from harness.exports.out_folder import write_json, write_lines, write_tasks
from harness.models.lm_eval_model import generation_settings
from harness.records import Json
from harness.records.codec import canonical, sha256_text

FORM = "lm-eval"
FILTER = "none"  # lm-eval's name for replies as they came


def write_samples(
    run_folder: Path, out: Path, *, task: str | None = None, task_paths: Sequence[Path] = ()
) -> tuple[list[Path], list[str]]:
    """Write the answers of a run as lm-eval logs them.

    Args:
        run_folder: The run directory.
        out: New or empty folder.
        task: Only this task; None: every task of the run that is answered in words.
        task_paths: Folders with further task files.
    Returns:
        The files of samples, and notes on what is left out.
    Raises:
        SpecError: The run is not finished, has no such task, or none that lm-eval can hold; or `out` holds files.
        DataError: A stored prediction is damaged.
    """
    with finished_run(run_folder, task=task, task_paths=task_paths) as run:

        def refusal(name: str) -> str | None:
            spec = run.tasks[name]
            if spec.gives in ("text", "choice") and spec.asks == "generate":
                return None
            found = f"gives {spec.gives}" if spec.asks == "generate" else f"asks for {spec.asks}"
            return f"{name}: expected a task that asks for words, found one that {found}"

        # As lm-eval writes the time into names of files.
        date = run.started.replace(":", "-").removesuffix("Z") + ".000000"

        def write(name: str, folder: Path) -> Path:
            path = folder / f"samples_{name}_{date}.jsonl"
            write_lines(path, _lines(run, name))
            write_json(folder / f"results_{date}.json", _results(run))
            return path

        return write_tasks(run, out, FORM, write, refusal=refusal)


def _lines(run: FinishedRun, name: str) -> Iterator[Json]:
    settings = generation_settings(run.tasks[name].decoding)
    for number, (_, group) in enumerate(groupby(run.samples(name), key=lambda item: item.sample.id)):
        answered = []
        for item in group:
            asked = item.prediction is not None and item.prediction.status != "data_error"
            run.lose("samples that were not asked, which have no line", not asked)
            answered += [item] if asked else []
        if answered:
            yield _line(run, number, answered, settings)


def _line(run: FinishedRun, number: int, repeats: Sequence[ExportedSample], settings: dict[str, Json]) -> Json:
    first = repeats[0]
    sample = first.sample
    predictions = [item.prediction for item in repeats if item.prediction is not None]
    run.lose("that a letter was given beside words, or instead of them", any(one.choice for one in predictions))
    document = {
        "sample_id": sample.id,
        "question": sample.question,
        "choices": list(sample.choices),
        "answers": list(sample.target.answers),
        "cluster": sample.cluster,
        "strata": dict(sample.strata),
        "images": [media.sha256 for media in sample.media],
    }
    target = (*sample.target.answers, sample.target.choice or "")[0]
    replies = [item.reply for item in repeats]
    columns: dict[str, list[float]] = {}
    for item in repeats:
        for score in item.scores:
            for label, value in score.named():
                columns.setdefault(label, []).extend([] if value is None else [value])
    return {
        "doc_id": number,
        "doc": document,
        "target": target,
        "arguments": {"gen_args_0": {"arg_0": first.asked, "arg_1": settings}},
        "resps": [replies],
        "filtered_resps": replies[:1],
        "filter": FILTER,
        "metrics": list(columns),
        "doc_hash": sha256_text(canonical(document)),
        "prompt_hash": sha256_text(first.asked),
        "target_hash": sha256_text(target),
        # Beside the fields of lm-eval, whose replies have no status: one of each per repetition.
        "statuses": [item.status for item in repeats],
        "errors": [item.error for item in repeats],
        "scores": [dict(pair for score in item.scores for pair in score.named()) for item in repeats],
        **{label: fsum(values) / len(values) if values else None for label, values in columns.items()},
    }


def _results(run: FinishedRun) -> dict[str, Json]:
    results: dict[str, dict[str, Json]] = {}
    higher: dict[str, dict[str, bool]] = {}
    for name in run.tasks:
        results[name] = {"alias": name}
        higher[name] = {}
        for row in run.block(name)["metrics"]:
            if row["stratum"] is None and row["mean"] != "macro" and row["value"] is not None:
                label = number_name(row["metric"], row["protocol"], row["name"])
                # lm-eval prints a standard error, and our intervals are no multiples of one.
                results[name] |= {f"{label},{FILTER}": row["value"], f"{label}_stderr,{FILTER}": "N/A"}
                results[name][f"{label}_ci,{FILTER}"] = row["ci"]
                higher[name][label] = row["higher_is_better"]
    blocks = {name: run.block(name) for name in run.tasks}
    return {
        "results": results,
        "group_subtasks": {name: [] for name in run.tasks},
        "configs": {name: {"task": name, "version": block["version"]} for name, block in blocks.items()},
        "versions": {name: block["version"] for name, block in blocks.items()},
        "n-shot": dict.fromkeys(run.tasks, 0),
        "higher_is_better": higher,
        "n-samples": {
            name: {"original": block["wanted"], "effective": block["answered"]} for name, block in blocks.items()
        },
        "config": {"model": run.model_name, "model_args": json.dumps(run.model["arguments"])},
        "model_name": run.model_name,
        "medground": run.record(FORM),
    }
