"""VLMEvalKit's rule: the quirks that its docstring promises, each with the step that decides."""

import pytest

from harness.text.choices.reading import ChoiceReading
from harness.text.choices.vlmevalkit import vlmevalkit

ORGANS = ("Liver", "Spleen", "Left kidney", "Right kidney")


@pytest.mark.parametrize(
    ("reply", "letter", "rule"),
    [
        ("b", None, "none"),
        ("B or C", None, "none"),
        ("B is what I would say if asked", None, "none"),
        ("Z", None, "failed"),
        ("Cannot determine the answer", None, "refusal"),
        ("Failed to obtain answer via API, spleen", "B", "option_text"),
        ("The answer is carotid", "C", "stated"),
        ("The image shows the spleen, located in the left upper quadrant.", "B", "option_text"),
    ],
)
def test_quirks(reply: str, letter: str | None, rule: str) -> None:
    assert vlmevalkit(reply, ORGANS) == ChoiceReading(letter, rule)


def test_without_options_nothing_is_read() -> None:
    assert vlmevalkit("spleen", ()).letter is None


def test_vlmevalkit_gives_up_on_replies_longer_than_twice_the_options() -> None:
    assert vlmevalkit("it shows the spleen", ("Liver", "Spleen")).letter == "B"
    assert vlmevalkit("it shows the spleen indeed", ("Liver", "Spleen")).letter is None
