"""A conversation about a volume has M3D's layout, and the words of a tiny model return as they were."""

import pytest

from reference_model.inputs.conversation import (
    BOX_END,
    BOX_START,
    IGNORE,
    IMAGE,
    VOLUME_SEG,
    SpecialTokens,
    encode_about_volume,
)
from reference_model.inputs.tokenizers import WordTokenizer, words_of
from reference_model.modeling.build import special_tokens
from reference_model.preset_files import load_preset
from tests.unit.reference_model.small_volumes import TOKENIZER


def test_the_volume_comes_first_and_only_the_answer_and_its_end_are_trained() -> None:
    encoded = encode_about_volume("What is this?", "the liver.", TOKENIZER, positions=3, max_length=99)
    asked, answered = TOKENIZER.encode("What is this?"), TOKENIZER.encode("the liver.")
    assert encoded.ids == (1, IMAGE, IMAGE, IMAGE, *asked, *answered, 2)
    assert encoded.labels == (*[IGNORE] * (4 + len(asked)), *answered, 2)


def test_a_question_alone_is_the_beginning_of_the_conversation() -> None:
    asked = encode_about_volume("What is this?", None, TOKENIZER, positions=3, max_length=99)
    answered = encode_about_volume("What is this?", "Yes.", TOKENIZER, positions=3, max_length=99)
    assert asked.ids == answered.ids[: len(asked.ids)]
    assert set(asked.labels) == {IGNORE}


@pytest.mark.parametrize(("most", "end"), [(99, True), (10, True), (9, False), (6, False)])
def test_what_fills_the_length_loses_its_end(most: int, end: bool) -> None:
    encoded = encode_about_volume("What is this?", "Yes.", TOKENIZER, positions=3, max_length=most + 1)
    assert len(encoded.ids) == len(encoded.labels) == min(most + 1, 11)
    assert (encoded.ids[-1] == TOKENIZER.end_id) == end
    assert all(label in (token, IGNORE) for token, label in zip(encoded.ids, encoded.labels, strict=True))


def test_m3ds_tokens_follow_the_vocabulary() -> None:
    special = special_tokens(load_preset("m3d-lamed-7b"))
    names = ("<im_patch>", "<bx_start>", "<bx_end>", "[SEG]")
    assert {name: special.id(name) for name in names} == dict(zip(names, range(32000, 32004), strict=True))
    assert special.total == 32004


@pytest.mark.parametrize(
    "text",
    [
        "It is at [0.25, 0.125, 0.375, 0.625, 0.812, 0.938].",
        "[0.0, 0.0, 0.0, 0.969, 0.996, 0.996]",
        "The cyst of 12 mm is in slices 3 to 17. It holds 0.5 ml. 4 organs are normal.",
        "A. left kidney",
        "Here is the mask: [SEG].",
        "The liver is at [0.25, 0.5, 0.5, 0.75, 0.875, 0.875], and the mask is [SEG].",
        "The tumor (34 mm) is large; the rest is normal: nothing abnormal.",
    ],
)
def test_words_numbers_and_boxes_return_as_they_were(text: str) -> None:
    own = WordTokenizer(words_of([text], exact=True), special=SpecialTokens.m3d(80), exact=True)
    assert own.decode(own.encode(text)) == text
    assert 0 not in own.encode(text)


def test_tokens_around_a_box_are_read_and_left_out_of_text_but_that_of_a_mask_stays() -> None:
    text = f"{BOX_START}[0.25, 0.125, 0.375, 0.625, 0.812, 0.938]{BOX_END} [SEG]"
    ids = TOKENIZER.encode(text)
    special = TOKENIZER.special
    assert (ids[0], ids[-2], ids[-1]) == (special.id(BOX_START), special.id(BOX_END), special.id(VOLUME_SEG))
    assert TOKENIZER.decode(ids) == "[0.25, 0.125, 0.375, 0.625, 0.812, 0.938] [SEG]"


def test_case_counts_where_words_are_exact_and_an_unknown_case_falls_back() -> None:
    own = WordTokenizer(words_of(["A. a cyst", "the"], exact=True), special=SpecialTokens.m3d(12), exact=True)
    assert own.encode("A") != own.encode("a")
    assert own.encode("The") == own.encode("the")
    assert own.encode("tumor") == [0]
    assert words_of(["[SEG] <bx_start>[0.25]<bx_end>"], exact=True) == (".", "0", "2", "5", "[", "]")
