"""A task's data, prepared: its release read into a manifest."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.data.manifest import Prepared, prepare
from harness.data.roots import PHANTOM, DataRoots
from harness.tasks.spec import TaskSpec

Notice = Callable[[str], None]


def prepare_task(
    task: TaskSpec, roots: DataRoots, cache: Path, notice: Notice, *, split: str | None = None
) -> Prepared:
    """Prepare one task's data, or another split of the same release."""
    release = task.release if split is None else replace(task.release, split=split, where={})
    name = f"{task.dataset}/{release.split}"

    def progress(samples: int) -> None:
        if samples % 10_000 == 0 and samples:
            notice(f"preparing {name}: {samples:,} samples")

    prepared = prepare(
        release,
        dataset=task.dataset,
        window=task.window,
        roots=roots.of(task.release.reader),
        cache=cache,
        progress=progress,
        folder=task.folder,
    )
    expected = None if split is not None or roots.kind == PHANTOM else release.samples
    if expected not in (None, prepared.samples):
        notice(f"{task.task}: expected {expected:,} samples of the release, found {prepared.samples:,}")
    return prepared
