"""Characters in one form: nothing invisible, ASCII where it looks the same."""

import pytest

from harness.text.characters import plain_characters


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("don’t", "don't"),
        ("X‑ray", "X-ray"),
        ("−5", "-5"),
        ("“left”", '"left"'),
        ("B—Liver", "B - Liver"),
        ("Ｂ．", "B."),
        ("（１００）", "(100)"),
        ("a\u00a0b", "a b"),
        ("\ufeffli\u00adver\u200b", "liver"),
        ("\u202bright\u202c", "right"),
        ("a\u2028b", "a\nb"),
        ("Ⓑ", "B"),
        ("肺部", "肺部"),
        ("plain ASCII - 'as' it \"is\"", "plain ASCII - 'as' it \"is\""),
        ("", ""),
    ],
)
def test_look_alikes_and_invisible_characters(text: str, plain: str) -> None:
    assert plain_characters(text) == plain
    assert plain_characters(plain) == plain
