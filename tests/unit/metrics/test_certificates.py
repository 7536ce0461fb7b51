"""Gaming certificates: what a row says, with the best blind answer that was found and its score."""

from dataclasses import replace

import pytest

from harness.metrics import METRICS, find
from harness.metrics.certificates import _stored, certificate_of


def test_a_row_that_cannot_be_gamed_has_none() -> None:
    assert certificate_of(find("choice_accuracy", "strict-letter")) is None


def test_a_certificate_names_the_reason_the_answer_its_score_and_the_data() -> None:
    found = certificate_of(find("choice_accuracy", "m3d"))
    assert found is not None
    assert (found.value, found.data, found.task) == (1.0, "phantom:0", "omnimedvqa_letter")
    assert found.text.startswith(f"{found.reason} To answer {found.answer} reaches 1.000, ")
    assert found.text.endswith(f" (phantom:0, omnimedvqa_letter, n = {found.n}).")


def test_a_row_of_another_version_has_its_reason_alone() -> None:
    row = replace(find("choice_accuracy", "m3d"), version=99)
    found = certificate_of(row)
    assert found is not None
    assert found.text == found.reason == row.certificate


def test_scores_are_stored_of_rows_that_exist() -> None:
    assert set(_stored()) <= {f"{row.name}/{row.protocol}/v{row.version}" for row in METRICS}


@pytest.mark.parametrize(
    "row", [row for row in METRICS if row.certificate], ids=lambda row: f"{row.name}/{row.protocol}"
)
def test_a_reason_is_one_sentence(row: object) -> None:
    assert row.certificate.endswith(".")  # type: ignore[attr-defined]
    assert "\n" not in row.certificate  # type: ignore[attr-defined]


def test_no_row_that_the_search_found_gamed_lacks_a_certificate() -> None:
    for row in METRICS:
        found = _stored().get(f"{row.name}/{row.protocol}/v{row.version}", {})
        other, plain = found.get("value"), found.get("plain_value")
        if row.certificate is None and other is not None and plain is not None:
            assert (other - plain if row.higher_is_better else plain - other) < 0.001, row.name
