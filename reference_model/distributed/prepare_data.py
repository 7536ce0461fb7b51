"""Prepares the data of a training in several processes if making or reading it for the first time takes long."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.data.roots import DataRoots
from harness.errors import HarnessError
from harness.tasks.prepare import Notice
from reference_model.training.data import SetSpec, read_sets

# A data root that takes longer was not in the cache yet; one in the cache takes a tenth of this, a synthetic one 5 s.
SLOW_SECONDS = 2.0


def prepare_ahead(
    wanted: Sequence[SetSpec], roots: Sequence[DataRoots], cache: Path, notice: Notice, *, cores: int | None = None
) -> None:
    """Prepare the sets of a mix, each data root in a process of its own unless they are in the cache already.

    Afterwards the cache holds what reading one root after the other leaves there. A faulty root raises no error here:
    whoever reads it next reports it.

    Args:
        wanted: The sets of the mix.
        roots: The data roots; the last one is prepared in this process and timed.
        cache: The cache folder of the harness.
        notice: Called with a line that says how many roots are ready.
        cores: How many processes to use; None: as many as this process may use.
    """
    if len(roots) < 2:
        return
    # The last root stands for all: they are prepared in their order, so that if it is in the cache, the others are.
    began = time.monotonic()
    _prepare(wanted, roots[-1], cache)
    if cores is None:
        from joblib import cpu_count  # not os.cpu_count: this one respects the limits of a container

        cores = int(cpu_count())
    if time.monotonic() - began < SLOW_SECONDS or cores < 2:
        return
    for ready, _ in enumerate(_on_all_cores(wanted, roots[:-1], cache, cores), start=2):
        notice(f"preparing the data of the training: {ready} of {len(roots)} data roots are ready")


def _on_all_cores(wanted: Sequence[SetSpec], roots: Sequence[DataRoots], cache: Path, cores: int) -> Iterator[Any]:
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=min(cores, len(roots)), return_as="generator", batch_size=1, pre_dispatch="n_jobs")
    ready: Iterator[Any] = parallel(delayed(_prepare)(wanted, root, cache) for root in roots)
    return ready


def _prepare(wanted: Sequence[SetSpec], root: DataRoots, cache: Path) -> None:
    """Prepare and read the sets of one root; only what that leaves in the cache is of use."""
    for one in wanted:
        with contextlib.suppress(HarnessError):
            read_sets([one], [root], cache, lambda _: None)  # whoever reads it next gives its notices
