"""HuatuoGPT-Vision's layout of a conversation about several images, and the text of a request about them."""

from typing import Any

import pytest

from harness.errors import DataError
from reference_model.inputs.conversation import IGNORE, IMAGE, Turn, encode_about_images
from reference_model.inputs.requests import question_about_images
from tests.unit.reference_model.small_llava import TOKENIZER, request


def spoken(ids: Any) -> str:
    """Return ids as text, with a mark for an image and for the end."""
    names = {IMAGE: "<image>", TOKENIZER.end_id: "</s>"}
    return "".join(names.get(token) or TOKENIZER.decode([token]) for token in ids)


def test_all_images_come_before_the_first_question_each_on_a_line() -> None:
    turns = [Turn(" Is it A?<image></s> ", "no"), Turn("What is this?", "liver")]
    found = encode_about_images(turns, TOKENIZER, images=2, max_length=99)
    wanted = "<|user|>\n<image>\n<image>\nIsitA?\n<|assistant|>\nno\n<|user|>\nWhatisthis?\n<|assistant|>\nliver</s>"
    assert spoken(found.ids) == wanted
    assert spoken(label for label in found.labels if label != IGNORE) == "no\nliver</s>"


def test_an_open_question_ends_where_the_answer_begins_and_long_ones_are_truncated() -> None:
    found = encode_about_images([Turn("What is this?")], TOKENIZER, images=1, max_length=99)
    assert spoken(found.ids).endswith("this?\n<|assistant|>\n")
    assert set(found.labels) == {IGNORE}
    assert encode_about_images([Turn("What is this?")], TOKENIZER, images=1, max_length=5).ids == found.ids[:5]


@pytest.mark.parametrize("turns", [(), (Turn("What?"), Turn("Is it?"))])
def test_only_the_last_turn_may_lack_its_answer(turns: Any) -> None:
    with pytest.raises(DataError, match="expected at least one turn, and an answer in every turn but the last"):
        encode_about_images(turns, TOKENIZER, images=1, max_length=9)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ((1, " What is this?"), "What is this?"),
        ((1, 2, "What is this?"), "What is this?"),
        (("Which?", 1, "A. liver\nB. spleen"), "Which?\n<image 1>\nA. liver\nB. spleen"),
        (("Which?\nA. ", 1, "B. ", 2, "Reply."), "Which?\nA. <image 1>\nB. <image 2>\nReply."),
        (("Of ", 1, ", ", 2, ", which is it?"), "Of <image 1>, <image 2>, which is it?"),
    ],
)
def test_images_within_the_words_keep_their_places(parts: Any, text: str) -> None:
    assert question_about_images(request(*parts)) == text
