"""Tables of the ablations in Markdown."""

import pytest

from benchmarks.ablations import m3d
from benchmarks.ablations.arms import Arm
from benchmarks.ablations.medplib import ARMS, FULL, STUDY, printed_means
from benchmarks.ablations.statistics import ArmNumbers, Bounds
from benchmarks.ablations.table import Circumstances, Setting, agreement, comparison, page, settings, verdict
from leaderboard.published.printed import load_published

PRINTED = printed_means(load_published())


def numbers(arm: Arm, mean: float, *, interval: Bounds = None) -> ArmNumbers:
    difference = mean - 0.8
    return ArmNumbers(
        arm=arm,
        columns=(mean,) * 4,
        mean=mean,
        interval=(mean - 0.1, mean + 0.1),
        difference=difference,
        difference_interval=interval,
        seeds_below=3,
    )


@pytest.mark.parametrize(
    ("interval", "printed", "expected"),
    [
        ((-0.2, -0.1), -2.0, "agree"),
        ((-0.2, -0.1), 2.0, "disagree"),
        ((-0.2, 0.1), -2.0, "undecided"),
        ((0.0, 0.0), -2.0, "undecided"),
        (None, -2.0, "undecided"),
    ],
)
def test_an_arm_agrees_with_the_paper_only_where_its_interval_leaves_zero_out(
    interval: Bounds, printed: float, expected: str
) -> None:
    pair = Setting(ours=numbers(ARMS[0], 0.65, interval=interval), value=50.0, difference=printed)
    assert verdict(pair) == expected


def test_the_comparison_speaks_of_the_settings_of_one_table_in_percent() -> None:
    found = [numbers(arm, 0.8 if arm == FULL else 0.7, interval=(-0.2, -0.05)) for arm in ARMS]
    lines = comparison(STUDY, settings(STUDY, found, PRINTED, "4")).splitlines()
    assert lines[2] == "| all stages, top-1, CF 1.5 | 56.83 | 80.0 | | | |"
    assert lines[3] == "| CF 1 | 54.49 | 70.0 | -2.34 | -10.0 | agree |"
    assert len(lines) == 6
    assert len(settings(STUDY, found, PRINTED, "3")) == 6


def test_equal_means_stand_in_no_order() -> None:
    ordered = [numbers(arm, PRINTED[name] / 100) for arm in ARMS for name in arm.paper if name.startswith("3(")]
    assert agreement(settings(STUDY, ordered, PRINTED, "3")).startswith("15 of the 15 pairs")
    level = [numbers(one.arm, 0.5) for one in ordered]
    assert agreement(settings(STUDY, level, PRINTED, "3")).startswith("0 of the 15 pairs")


def test_the_page_tells_how_its_numbers_came_about() -> None:
    made = Circumstances(
        date="2026-01-02", command="python x.py", machine="2 cores", minutes=61.4, recipe="mine", seeds=(1, 2, 3)
    )
    found = [numbers(arm, 0.8 if arm == FULL else 0.7, interval=(-0.2, -0.05)) for arm in ARMS]
    text = page(STUDY, found, found, PRINTED, made)
    assert "2026-01-02, 2 cores, 61 minutes: `python x.py`, recipe `mine`, training seeds 1, 2, 3." in text
    assert "| CF 1 | 70.0 | 70.0 | 70.0 | 70.0 | 70.0 [60.0, 80.0] | -10.0 [-20.0, -5.0] | 3 of 3 |" in text
    assert "### Table 4" in text


def test_a_setting_of_m3d_is_compared_with_the_printed_one_that_has_all_other_parts() -> None:
    printed = m3d.printed_means(load_published())
    found = [numbers(arm, 0.8 if arm == m3d.FULL else 0.7, interval=(-0.2, -0.05)) for arm in m3d.ARMS]
    assert comparison(m3d.STUDY, settings(m3d.STUDY, found, printed, "7")).splitlines() == [
        "| setting | paper | ours | paper, minus its base | ours, minus full | the two |",
        "| --- | --- | --- | --- | --- | --- |",
        "| full model | 75.78 | 80.0 | | | |",
        "| sequence pooling | 72.87 | 70.0 | -2.09 | -10.0 [-20.0, -5.0] | agree |",
        "| linear projector | 73.50 | 70.0 | -1.46 | -10.0 [-20.0, -5.0] | agree |",
        "| random tower | 71.13 | 70.0 | -3.83 | -10.0 [-20.0, -5.0] | agree |",
        "| frozen tower | 74.96 | 70.0 | -0.82 | -10.0 [-20.0, -5.0] | agree |",
    ]
