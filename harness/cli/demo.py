"""`harness demo`: three baselines and four reference models on synthetic patients, on Ray if it is installed."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from harness.cli.progress_bar import ProgressBar
from harness.evaluation.evaluate import evaluate
from harness.evaluation.outputs import Evaluation
from harness.evaluation.setup import Observer, RunSpec
from harness.reports.run_table import table
from harness.runs.directory import RunDirectory
from harness.runs.engine.ray_connection import ray_is_installed

BASELINES = ("baseline:majority", "baseline:center-box", "baseline:otsu")
# One of each system: together they answer every task of the group.
REFERENCES = ("reference:tiny", "reference:mimo-tiny", "reference:huatuo-tiny", "reference:m3d-tiny")
# Packages of the extra [models]; without them the demo runs the baselines alone.
NEEDED_BY_REFERENCE = ("torch", "transformers", "safetensors")
SEED = 0


def run(out: Path, cache: Path, bar: ProgressBar, *, limit: int | None = None) -> list[Evaluation]:
    """Evaluate baselines and reference models on the group `demo`; return one evaluation per model.

    Args:
        out: Folder for the run directories, one per model.
        cache: Folder for synthetic patients and manifests.
        bar: Shows the progress.
        limit: Samples per task; None means all.
    """
    # Two, because with one worker `--ray auto` stays in this process, and the demo should show Ray.
    workers = 2 if ray_is_installed() else 1
    if workers == 1:
        bar.notice("ray is not installed: running in this process (pip install 'medground[ray]' for workers)")
    models: tuple[str, ...] = BASELINES
    if missing := [name for name in NEEDED_BY_REFERENCE if importlib.util.find_spec(name) is None]:
        left_out = ", ".join(REFERENCES)
        bar.notice(f"left out: {left_out}, which need {', '.join(missing)} (pip install 'medground[models]')")
    else:
        models += REFERENCES
    runs = []
    for model in models:
        bar.notice(f"running {model} on the group demo with {workers} worker{'s' if workers > 1 else ''}")
        spec = RunSpec(
            tasks=("demo",),
            model=model,
            data_roots=(f"phantom:{SEED}",),
            out=out / model.replace(":", "-"),
            limit=limit,
            workers=workers,
            cache=cache,
        )
        runs.append(evaluate(spec, Observer(notice=bar.notice, progress=bar.show), command=("harness", "demo")))
    return runs


def text(runs: Sequence[Evaluation], width: int) -> str:
    """Return the tables of numbers, of lines of at most `width` characters, and the paths of the reports."""
    pages = [RunDirectory(run.out).report_path.resolve() for run in runs]
    parts = [f"{table(run.results, width=width)}\nreport: {page}" for run, page in zip(runs, pages, strict=True)]
    return "\n\n".join(parts)
