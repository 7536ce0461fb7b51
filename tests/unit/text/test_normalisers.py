"""Answers read from raw text by the named policies of `harness.text.normalisers`."""

import pytest

from harness.text.normalisers import medplib_normalise, standard_normalise, vqa_v2_normalise, words


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("  Left   Lung. ", "left lung"),
        ('"Yes!"', "yes"),
        ('"Yes".', "yes"),
        ("“Yes.”", "yes"),
        ("'CT'", "ct"),
        ("Ｙｅｓ！", "yes"),
        ("是。", "是"),
        ("no ...", "no"),
        ("3.5 cm", "3.5 cm"),
        ("patient's", "patient's"),
        ("'tis", "'tis"),
        ("Straße", "strasse"),
        ('"', '"'),
        ("?!", ""),
        ("", ""),
    ],
)
def test_standard_normalise_keeps_words_and_drops_dress(text: str, normalised: str) -> None:
    assert standard_normalise(text) == normalised


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Lung, left; apex.", ["lung", "left", "apex"]),
        ('the "left" lung', ["the", "left", "lung"]),
        ("左肺 CT，右肺", ["左", "肺", "ct", "右", "肺"]),
        ("x-ray", ["x-ray"]),
        ("lung , liver", ["lung", "liver"]),
        ("...", []),
        ("", []),
    ],
)
def test_words_are_normalised_one_by_one_and_cjk_goes_by_character(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("The liver", "liver"),
        ("two nodules", "2 nodules"),
        ("eleven", "eleven"),
        ("x-ray", "x ray"),
        ("post - operative x-ray", "post operative xray"),
        ("1,200 mm left-sided", "1200 mm leftsided"),
        ("stage.2 disease.", "stage.2 disease"),
        ("dont know", "don't know"),
        ("somebody'd", "somebodyd"),
        ("Im", "im"),
        ("A", ""),
        ("Finding: T1", "finding: t1"),
    ],
)
def test_vqa_v2_and_medplib_share_their_rule_with_its_quirks(text: str, normalised: str) -> None:
    assert vqa_v2_normalise(text) == normalised
    assert medplib_normalise(text) == normalised


def test_only_the_first_32_periods_are_deleted() -> None:
    once = medplib_normalise("x. " * 40)
    assert once.count(".") == 8
    assert medplib_normalise(once).count(".") == 0


def test_a_newline_counts_as_a_blank_in_vqa_v2_only() -> None:
    assert vqa_v2_normalise("left,right,\nboth") == "leftright both"
    assert medplib_normalise("left,right,\nboth") == "left right both"


def test_a_leading_blank_counts_beside_a_symbol_in_medplib_only() -> None:
    assert vqa_v2_normalise(" -left-sided") == "left sided"
    assert medplib_normalise(" -left-sided") == "leftsided"


@pytest.mark.parametrize(
    ("written", "restored"),
    [
        ("mightnt've", "mightn't've"),
        ("mightn'tve", "mightn't've"),
        ("yall'dve", "yall'dve"),
        ("y'alldve", "y'alldve"),
        ("y'alld've", "y'all'd've"),
        ("somebody'd", "somebodyd"),
        ("somebodyd've", "somebody'd've"),
        ("twas", "'twas"),
        ("Im", "im"),
    ],
)
def test_one_missing_apostrophe_of_a_known_contraction_is_restored(written: str, restored: str) -> None:
    assert vqa_v2_normalise(written) == restored
