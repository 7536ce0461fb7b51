"""Prepares the data of a training in several processes if that takes long."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.data.roots import DataRoots
from harness.errors import HarnessError
from harness.tasks.prepare import Notice
from reference_model.training.data import SetSpec, read_sets

# A data root that takes longer was not in the cache: a cached root takes a tenth of this, making a synthetic one 5 s.
SLOW_SECONDS = 2.0


def prepare_ahead(
    wanted: Sequence[SetSpec], roots: Sequence[DataRoots], cache: Path, notice: Notice, *, cores: int | None = None
) -> None:
    """Prepare the sets of a mix, with one process per data root, unless they are in the cache already.

    Afterwards the cache is as if the roots had been read in turn. A faulty root raises no error here, but when its sets
    are read for the training.

    Args:
        wanted: The sets of the mix.
        roots: The data roots; the last root is prepared in this process and timed, in seconds.
        cache: The cache folder of the harness.
        notice: Called with a line on the number of roots that are ready.
        cores: The number of processes to use; None: the number of cores available to this process.
    """
    if len(roots) < 2:
        return
    # The last root is timed: roots are read in order, so if the last is in the cache, the others are, too.
    began = time.monotonic()
    _prepare(wanted, roots[-1], cache)
    if cores is None:
        from joblib import cpu_count  # unlike os.cpu_count, it respects the limits of a container

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
    """Prepare and read the sets of one root, for the effect on the cache."""
    for one in wanted:
        with contextlib.suppress(HarnessError):
            read_sets([one], [root], cache, lambda _: None)  # the next reader gives the notices
