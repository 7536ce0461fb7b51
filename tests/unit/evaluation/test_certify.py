"""Each gaming certificate is what the search finds, and no row that it finds gamed lacks one."""

import pytest

from harness.evaluation.certify import certify, task_of
from harness.metrics import METRICS, Metric, certificates, find

ROWS = [row for row in METRICS if task_of(row) is not None]


def test_rows_are_searched_on_a_task_of_their_kind() -> None:
    assert task_of(find("choice_accuracy", "m3d")) == "omnimedvqa_letter"
    assert task_of(find("token_prf")) == "vqa_rad"
    assert task_of(find("judge")) is None


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name}/{row.protocol}")
def test_a_certificate_is_reproduced(row: Metric) -> None:
    found = certify(row)
    if found is None:
        pytest.skip(f"{row.resource and row.resource.name} is missing")
    stored = certificates._stored()[f"{row.name}/{row.protocol}/v{row.version}"]
    assert {
        **found,
        "value": pytest.approx(found["value"]),
        "plain_value": pytest.approx(found["plain_value"]),
    } == stored
