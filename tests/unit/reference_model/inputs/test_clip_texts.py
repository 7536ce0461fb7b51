"""Long reports keep their first sentence and others that fit, the same ones every time."""

import pytest

from reference_model.inputs.clip_texts import encode_reports, shortened
from tests.unit.reference_model.small_volumes import REPORT, TOKENIZER

FIRST = "The liver is large"


def length(text: str) -> int:
    return len(TOKENIZER.encode(text)) + 2


def test_a_text_that_fits_stays() -> None:
    assert shortened(REPORT, TOKENIZER, max_length=length(REPORT)) == REPORT


@pytest.mark.parametrize("most", [8, 14, 20, 26])
def test_a_long_text_keeps_its_first_sentence_and_whole_ones_that_fit_beside_it(most: int) -> None:
    found = shortened(REPORT, TOKENIZER, max_length=most)
    first, *others = found.split(".")
    assert first == FIRST
    assert set(others) <= set(REPORT.split(".")[1:])
    assert len(set(others)) == len(others)
    # As released, the first sentence is not counted.
    assert sum(map(length, others)) <= most
    left = [one for one in REPORT.split(".")[1:] if one not in others]
    assert all(sum(map(length, others)) + length(one) > most for one in left)
    assert shortened(REPORT, TOKENIZER, max_length=most) == found


def test_texts_pick_other_sentences() -> None:
    sentences = [f" It holds {word}" for word in ("a cyst", "the spleen", "no slices", "the rest", "the upper half")]
    texts = [f"{FIRST}.{'.'.join(sentences[turn:] + sentences[:turn])}" for turn in range(5)]
    assert len({frozenset(shortened(text, TOKENIZER, max_length=12).split(".")) for text in texts}) > 1


def test_texts_are_padded_on_the_right_and_cut_at_the_limit() -> None:
    sentence = "The liver is large and the spleen is small and the rest is normal"
    ids_UT, valid_UT = encode_reports([sentence, "The spleen"], TOKENIZER, max_length=9)
    assert ids_UT.shape == valid_UT.shape == (2, 9)
    assert valid_UT[0].all()
    assert ids_UT[0, 0] == TOKENIZER.start_id
    assert ids_UT[0, -1] == TOKENIZER.end_id
    assert ids_UT[1].tolist() == [1, *TOKENIZER.encode("The spleen"), 2, *[0] * 5]
    assert valid_UT[1].tolist() == [True] * 4 + [False] * 5


def test_special_tokens_of_the_language_model_are_unknown_words() -> None:
    ids_UT, _ = encode_reports(["the liver [SEG]", "the liver <bx_start>"], TOKENIZER, max_length=12)
    assert int(ids_UT.max()) < TOKENIZER.special.base
    assert ids_UT[0].tolist() == ids_UT[1].tolist()
