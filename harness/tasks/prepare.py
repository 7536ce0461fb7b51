"""A task's data, prepared: its release read into a manifest."""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from harness.data.manifest import Prepared, Progress, prepare
from harness.data.releases.reader import ReleaseRequest
from harness.data.roots import PHANTOM, DataRoots
from harness.errors import DataError, HarnessError, in_own_process, words_of
from harness.imaging.windowing import Window
from harness.tasks.plug_ins import load_reader
from harness.tasks.spec import Release, TaskSpec

Notice = Callable[[str], None]


def prepare_task(
    task: TaskSpec, roots: DataRoots, cache: Path, notice: Notice, *, split: str | None = None
) -> Prepared:
    """Prepare one task's data, or another split of the same release.

    Args:
        task: The task.
        roots: The data roots.
        cache: Folder for all that is written.
        notice: Called with one line of text after every 10,000 samples, and if their number is not the task's.
        split: Replaces the task's split; the task's conditions on fields of samples then do not apply.
    Raises:
        SpecError: There is no such reader; otherwise as `harness.data.manifest.prepare`.
    """
    release = task.release if split is None else replace(task.release, split=split, where={})
    name = f"{task.dataset}/{release.split}"

    def progress(samples: int) -> None:
        if samples % 10_000 == 0 and samples:
            notice(f"preparing {name}: {samples:,} samples")

    prepared = prepare_release(
        release,
        dataset=task.dataset,
        window=task.window,
        roots=roots.of(task.release.reader),
        cache=cache,
        progress=progress,
        folder=task.folder,
    )
    # The task states the number of samples of the real release in its own split; phantoms and other splits may differ.
    expected = None if split is not None or roots.kind == PHANTOM else release.samples
    if expected not in (None, prepared.samples):
        notice(f"{task.task}: expected {expected:,} samples of the release, found {prepared.samples:,}")
    return prepared


def request_of(release: Release, *, dataset: str, window: Window | None = None) -> ReleaseRequest:
    """Return what a task asks of the reader of its release; `dataset` and `window` as in `prepare_release`."""
    return ReleaseRequest(
        dataset=dataset,
        split=release.split,
        subset=release.subset,
        where=release.where,
        options=release.options,
        window=window,
    )


def prepare_release(
    release: Release,
    *,
    dataset: str,
    window: Window | None,
    roots: Sequence[Path],
    cache: Path,
    progress: Progress | None = None,
    folder: Path | None = None,
) -> Prepared:
    """Prepare the part of a release that a task file names.

    Args:
        release: The `release` section of a task.
        dataset: First part of every sample id.
        window: Which grey values become 0 and 255 in images of more than 8 bits.
        roots: Data roots; the first that holds the release's folders is read, and never written to.
        cache: Folder for all that is written.
        progress: Called with the number of samples after each, or once if a manifest is reused.
        folder: Folder of the task's own readers: `TaskSpec.folder`.
    Raises:
        SpecError: There is no such reader; otherwise as `harness.data.manifest.prepare`.
        DataError: A task's own reader calls `sys.exit`, or raises anything else.
    """
    request = request_of(release, dataset=dataset, window=window)
    plug_in = None if release.plug_in is None else release.plug_in.sha256
    reader = load_reader(release, folder or Path())
    try:
        with in_own_process():
            return prepare(reader, request, roots=roots, cache=cache, plug_in=plug_in, progress=progress)
    except (HarnessError, KeyboardInterrupt):
        raise
    except SystemExit as error:  # the exit code of a task's own reader would pass for the command's
        raise DataError(f"the reader '{release.reader}' ends the process: {words_of(error)}") from error
    except BaseException as error:
        if plug_in is None:
            raise
        frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
        place = f"{Path(frame.f_code.co_filename).name}:{line}"
        raise DataError(f"the reader '{release.reader}' failed at {place}: {words_of(error)}") from error
