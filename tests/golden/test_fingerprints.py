"""A protocol's numbers move only with its version: each row of the metric table has a hash of its outputs.

To record a change that is meant: raise the row's `version`, run
`python -m tests.golden.test_fingerprints`, and say in
the CHANGELOG under Scores what moved.
"""

import json
from pathlib import Path

import pytest

from harness.metrics import METRICS, Metric, bind, sample_values
from harness.metrics.metric import Missing
from harness.records.codec import digest
from tests.support.metric_cases import outcomes, pairs

FILE = Path(__file__).with_name("fingerprints.json")


def fingerprint(metric: Metric) -> str:
    """Return the digest of what the metric gives on the fixed inputs, at twelve significant digits."""
    found = []
    for outcome in outcomes(metric):
        values = sample_values(metric, outcome.stats) if outcome.stats else ()
        found.append([outcome.status, [_digits(value) for value in values]])
    worst = [] if metric.line == "retrieval" else [metric.worst(sample) for sample, _ in pairs(metric.line)]
    return digest([metric.values, metric.stats, [[_digits(value) for value in stats] for stats in worst], found])


def _digits(value: float | None) -> str:
    return "null" if value is None else f"{value:.12g}"


def _name(metric: Metric) -> str:
    return f"{metric.name}/{metric.protocol}/v{metric.version}"


ROWS = [bind(metric, {}, "defaults") for metric in METRICS]


def _missing(metric: Metric) -> Missing | None:
    return None if metric.resource is None else metric.resource.missing(metric.bound)


# METEOR 1.5 starts two Java programs, which takes 9 s; test_meteor_golden.py does so in every run.
@pytest.mark.parametrize(
    "metric",
    [pytest.param(row, marks=[pytest.mark.slow] if row.protocol == "meteor-1.5" else []) for row in ROWS],
    ids=_name,
)
def test_a_protocol_gives_what_its_version_gave(metric: Metric) -> None:
    missing = _missing(metric)
    if missing is not None:
        pytest.skip(f"{missing.reason}; {missing.remedy}")
    assert json.loads(FILE.read_text())[_name(metric)] == fingerprint(metric)


def test_every_row_that_needs_nothing_from_outside_is_recorded_and_nothing_else_is() -> None:
    recorded = set(json.loads(FILE.read_text()))
    assert recorded <= {_name(metric) for metric in ROWS}
    assert {_name(metric) for metric in ROWS if metric.resource is None} <= recorded


if __name__ == "__main__":
    kept = json.loads(FILE.read_text())
    found = {_name(metric): kept.get(_name(metric)) if _missing(metric) else fingerprint(metric) for metric in ROWS}
    FILE.write_text(json.dumps({name: value for name, value in found.items() if value}, indent=1) + "\n")
