"""The table of fallbacks: which task may have which, and which of several is used."""

import pytest

from harness.tasks.fallbacks import FALLBACKS, first_of


@pytest.mark.parametrize(
    ("visual_prompt", "expected"),
    [
        ("none", {"volume"}),
        ("box", {"box", "text", "volume"}),
        ("points", {"point", "text", "volume"}),
        ("region", {"region", "text", "volume"}),
        ("from_sample", {"box", "point", "region", "text", "volume"}),
    ],
)
def test_a_fallback_suits_tasks_that_show_its_kind_of_prompt(visual_prompt: str, expected: set[str]) -> None:
    assert {row.kind for row in FALLBACKS.values() if row.suits(visual_prompt)} == expected


def test_of_several_for_one_kind_the_first_counts() -> None:
    chosen: dict[str, str | float] = {"box_as_text": "unit", "region_as_crop": 0.1, "region_as_overlay": "fill"}
    assert first_of(chosen, "region") == "region_as_crop"
    assert first_of(dict(reversed(chosen.items())), "region") == "region_as_overlay"
    assert first_of(chosen, "point") is None


def test_only_crops_name_a_margin_in_place_of_an_option() -> None:
    assert {row.way for row in FALLBACKS.values() if not row.options} == {"crop"}
