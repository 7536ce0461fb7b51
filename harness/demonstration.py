"""`harness demo`: drawn patients, three baselines on Ray, and the numbers."""

from collections.abc import Sequence
from pathlib import Path

from harness.cluster import ray_is_installed
from harness.evaluation import Evaluation, evaluate
from harness.progress import ProgressBar
from harness.report import table
from harness.session import RunSpec, Watch

MODELS = ("baseline:majority", "baseline:center-box", "baseline:otsu")
SEED = 0


def run(out: Path, cache: Path, bar: ProgressBar) -> list[Evaluation]:
    """Evaluate the baselines on the group `demo` and return what came out, one evaluation a model."""
    workers = 2 if ray_is_installed() else 1
    if workers == 1:
        bar.notice("ray is not installed: running in this process (pip install 'medground[ray]' for workers)")
    runs = []
    for model in MODELS:
        bar.notice(f"running {model} on the group demo with {workers} worker{'s' if workers > 1 else ''}")
        spec = RunSpec(
            tasks=("demo",),
            model=model,
            data_roots=(f"phantom:{SEED}",),
            out=out / model.replace(":", "-"),
            workers=workers,
            cache=cache,
        )
        runs.append(evaluate(spec, Watch(notice=bar.notice, progress=bar.show), command=("harness", "demo")))
    return runs


def text(runs: Sequence[Evaluation]) -> str:
    """Return the tables and where the reports lie."""
    parts = [f"{table(run.results)}\nreport: {(run.out / 'report.html').resolve()}" for run in runs]
    return "\n\n".join(parts)
