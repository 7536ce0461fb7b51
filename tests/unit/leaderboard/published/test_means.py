"""Printed means and counts, recomputed from the printed digits."""

from decimal import Decimal

import pytest

from leaderboard.published.mapping import PrintedMean, place_published
from leaderboard.published.means import check_means, impossible_counts, is_count
from leaderboard.published.printed import PublishedCell, decimals, load_published


def cell(value: str, index: int = 0) -> PublishedCell:
    return PublishedCell(
        index=index,
        paper="P",
        table="1",
        model="M",
        benchmark="B",
        subset="test",
        metric="accuracy",
        params=None,
        note=None,
        value=Decimal(value),
    )


def follows(mean: str, *members: str, digits: int = 1, weights: tuple[int, ...] = ()) -> bool:
    printed = PrintedMean(cell(mean), tuple(cell(member) for member in members), weights or tuple(1 for _ in members))
    (check,) = check_means([printed], {("P", "1"): digits})
    return check.follows


def test_the_means_that_do_not_follow_are_those_the_project_knows() -> None:
    cells = load_published()
    checks = check_means(place_published(cells).means, decimals(cells))
    found = {
        (check.printed.cell.paper, check.printed.cell.table, check.printed.cell.model): (
            float(check.printed.cell.value or 0),
            round(float(check.recomputed), 3),
        )
        for check in checks
        if not check.follows
    }
    medplib, huatuo = "MedPLIB (AAAI 2025)", "HuatuoGPT-Vision (EMNLP 2024)"
    assert found == {
        (medplib, "1", "MedPLIB"): (60.60, 59.941),
        (medplib, "1", "LISA"): (51.95, 52.701),
        (huatuo, "2", "Qwen-VL-Chat"): (48.9, 48.675),
        (huatuo, "3", "LLaVA-v1.5-LLaMA3-8B"): (48.8, 51.475),
        (huatuo, "4", "LLaVA-v1.6-13B"): (39.3, 38.785),
        (huatuo, "8", "Yi-VL-34B"): (48.2, 48.369),
    }


def test_a_mean_within_the_rounding_of_its_members_follows() -> None:
    # 10.0 and 11.0 stand for anything in [9.95, 10.05] and [10.95, 11.05]: the mean may be 10.45, printed 10.4 or 10.5
    assert follows("10.4", "10.0", "11.0")
    assert follows("10.6", "10.0", "11.0")


def test_a_mean_beyond_the_rounding_of_its_members_does_not_follow() -> None:
    assert not follows("10.7", "10.0", "11.0")
    assert not follows("10.3", "10.0", "11.0")


def test_weights_count() -> None:
    assert follows("10.2", "10.0", "11.0", weights=(80, 20))
    assert not follows("10.5", "10.0", "11.0", weights=(80, 20))


def test_more_printed_digits_make_a_narrower_check() -> None:
    assert not follows("10.53", "10.00", "11.00", digits=2)


@pytest.mark.parametrize(("value", "n", "expected"), [("50.6", 251, True), ("57.5", 251, False), ("58.8", 272, True)])
def test_an_accuracy_is_a_count_over_n(value: str, n: int, expected: bool) -> None:
    assert is_count(Decimal(value), n, 1) is expected


def test_an_accuracy_that_was_rounded_twice_is_still_a_count() -> None:
    assert is_count(Decimal("63.8"), 251, 1)  # 160 / 251 = 63.745 -> 63.75 -> 63.8


def test_accuracies_that_no_count_gives_are_found_with_their_neighbours() -> None:
    cells = load_published()
    found = {
        (check.placed.cell.table, check.placed.cell.model, check.placed.cell.benchmark): check.nearest
        for check in impossible_counts(place_published(cells).cells, decimals(cells))
    }
    low, high = found["9", "LLaVA-v1.5-7B + PubMedVision", "VQA-RAD"]
    assert low == pytest.approx(100 * 144 / 251)
    assert high == pytest.approx(100 * 145 / 251)
    assert ("2", "HuatuoGPT-Vision-34B", "VQA-RAD") not in found
