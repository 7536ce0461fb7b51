"""Small tables of metrics and readers, for tests of how a task file is read."""

from dataclasses import replace

import pytest

import harness.metrics
from harness.data import releases
from harness.data.releases.reader import Reader
from harness.metrics.metric import Metric, Outcome


def row(name: str, protocol: str, *suits: str) -> Metric:
    return Metric(
        name=name,
        protocol=protocol,
        version=1,
        values=(name,),
        stats=("value",),
        line="text",
        suits=frozenset(suits),
        score=lambda _sample, _prediction: Outcome("ok", (1.0,)),
        combine=lambda stats: stats,
        worst=lambda _sample: (0.0,),
        ceiling=lambda _sample: 1.0,
    )


def reader(name: str, **more: object) -> Reader:
    plain = Reader(
        name=name,
        version=1,
        folders=(name,),
        strata=("modality", "class", "kind"),
        splits=lambda _root: ("all",),
        read=lambda _files, _request, _integrity: iter(()),
        obtain="Ask.",
    )
    return replace(plain, **more)  # type: ignore[arg-type]


@pytest.fixture
def small_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put four metrics and two readers in place of the tables."""
    metrics = (
        row("dice", "standard", "masks"),
        row("dice", "medplib", "masks"),
        row("exact", "standard", "text", "choice"),
        row("recall", "ranked", "text"),
    )
    readers = (reader("plain"), reader("rich", subsets=("easy", "hard"), options={"level": ("category", "instance")}))
    monkeypatch.setattr(harness.metrics, "METRICS", metrics)
    monkeypatch.setattr(releases, "READERS", {reader.name: reader for reader in readers})
