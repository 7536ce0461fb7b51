"""Made-up reports, and the comparison of ours with the plain loop."""

import pytest

from benchmarks.text_metrics import METRICS, PLAIN, TOLERANCE, furthest, ours, report_pairs


def test_reports_are_the_same_every_time_and_share_sentences_with_their_reference() -> None:
    pairs = report_pairs(30)
    assert pairs == report_pairs(30)
    shared = [bool(set(prediction.split(". ")) & set(reference.split(". "))) for prediction, reference in pairs]
    assert any(shared)
    assert all(prediction != reference for prediction, reference in pairs)


@pytest.mark.parametrize("name", METRICS)
def test_ours_gives_the_values_of_the_plain_loop(name: str) -> None:
    pytest.importorskip("sacrebleu")
    pairs = report_pairs(4)
    assert furthest(ours(name, pairs), PLAIN[name](pairs)) <= TOLERANCE


def test_the_largest_difference_counts_whatever_its_sign() -> None:
    assert furthest([(0.5, 0.1), (0.2, 0.0)], [(0.5, 0.2), (0.2, 0.3)]) == pytest.approx(0.3)
