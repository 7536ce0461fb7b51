"""The helpers that put messages together."""

import pytest

from harness.errors import DataError, HarnessError, SpecError, nearest, together


def test_several_messages_become_one_error_in_order() -> None:
    found = together(["a.yaml:1: no", "a.yaml:2: nor this"])
    assert type(found) is SpecError
    assert str(found) == "a.yaml:1: no\na.yaml:2: nor this"
    assert type(together(["x"], DataError)) is DataError
    assert isinstance(found, HarnessError)


@pytest.mark.parametrize(("word", "guess"), [("dise", " (did you mean 'dice'?)"), ("zzz", ""), ("", "")])
def test_the_nearest_known_word_is_suggested(word: str, guess: str) -> None:
    assert nearest(word, ["iou", "dice"]) == guess
