"""Prepares the data of a training in several processes, where drawing or reading it for the first time takes long."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.data.roots import DataRoots
from harness.errors import HarnessError
from harness.tasks.prepare import Notice
from reference_model.training.data import SetSpec, read_sets

SLOW_SECONDS = 2.0
"""A data root that takes longer than this was not there yet; one that was takes a tenth of it."""


def prepare_ahead(
    wanted: Sequence[SetSpec], roots: Sequence[DataRoots], cache: Path, notice: Notice, *, cores: int | None = None
) -> None:
    """Prepare the sets of a mix, each data root in a process of its own where they are not there yet.

    What stands in the cache afterwards is what reading one root after the other leaves. What is wrong with a root is
    told by whoever reads it next.

    Args:
        wanted: The sets.
        roots: The last one is prepared here and timed: they are prepared in their order, so that where the last one
            was there, the others were.
        cache: Of the harness.
        notice: Told how many are ready.
        cores: Processes; None: as many as this one may use.
    """
    if len(roots) < 2:
        return
    began = time.monotonic()
    _prepare(wanted, roots[-1], cache)
    cores = cores or _cores()
    if time.monotonic() - began < SLOW_SECONDS or cores < 2:
        return
    for ready, _ in enumerate(_on_all_cores(wanted, roots[:-1], cache, cores), start=2):
        notice(f"preparing the data of the training: {ready} of {len(roots)} data roots are ready")


def _cores() -> int:
    from joblib import cpu_count

    return int(cpu_count())


def _on_all_cores(wanted: Sequence[SetSpec], roots: Sequence[DataRoots], cache: Path, cores: int) -> Iterator[Any]:
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=min(cores, len(roots)), return_as="generator", batch_size=1, pre_dispatch="n_jobs")
    ready: Iterator[Any] = parallel(delayed(_prepare)(wanted, root, cache) for root in roots)
    return ready


def _prepare(wanted: Sequence[SetSpec], root: DataRoots, cache: Path) -> None:
    """Prepare and read the sets of one root; only what that leaves in the cache is of use."""
    for one in wanted:
        with contextlib.suppress(HarnessError):
            read_sets([one], [root], cache, _say_nothing)


def _say_nothing(text: str) -> None:
    del text
