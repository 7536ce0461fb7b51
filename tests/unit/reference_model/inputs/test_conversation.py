"""Ids of the special tokens, and the layout of a conversation."""

from typing import Any

import pytest
import torch
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from harness.errors import DataError
from reference_model.inputs.conversation import (
    IGNORE,
    IMAGE,
    REGION,
    Encoded,
    SpecialTokens,
    Turn,
    encode_conversation,
    encode_text,
    expand_image,
    system_sentence,
)
from reference_model.inputs.tokenizers import PretrainedTokenizer, WordTokenizer, words_of
from reference_model.modeling.model import seg_states
from reference_model.preset_files import load_preset

IDS = {"<SEG>": 32000, "<region>": 32003, "</region>": 32004, "<mask>": 32007, "</mask>": 32008}


@pytest.fixture(scope="module")
def large() -> PretrainedTokenizer:
    """A vocabulary as large as LLaMA's, of words."""
    words = ["<unk>", "<s>", "</s>", *(f"w{index}" for index in range(31997))]
    backend = Backend(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>", model_max_length=99
    )
    return PretrainedTokenizer(fast, special=SpecialTokens.after(len(fast), fillers=256))


def written(encoded: Encoded, tokenizer: WordTokenizer) -> list[str]:
    """Return one readable piece per id."""
    names = {1: "<s>", 2: "</s>", IMAGE: "IMAGE", REGION: "REGION"}
    names |= {tokenizer.special.id(name): name for name in tokenizer.special.names}
    return [names.get(token) or tokenizer.decode([token]) for token in encoded.ids]


def test_ids_are_those_of_released_weights(large: PretrainedTokenizer) -> None:
    prompt = load_preset("medplib-7b").prompt
    special = SpecialTokens.after(prompt.base_vocabulary, fillers=prompt.fillers)
    expected = {**IDS, "<gen_1>": 32009, "<gen_256>": 32264, "<im_start>": 32265, "<im_end>": 32266}
    assert {name: special.id(name) for name in expected} == expected
    assert special.total == 32267
    assert large.special == special
    assert {name: large.encode(name) for name in expected} == {name: [value] for name, value in expected.items()}


def test_special_tokens_inside_words_are_found_and_left_out_of_text(large: PretrainedTokenizer) -> None:
    assert large.encode("w5 <SEG>w6") == [8, 32000, 9]
    assert large.decode([8, 32000, 9]) == "w5 w6"
    assert large.encode("w5") == [8]


def test_a_region_is_put_into_every_empty_pair_of_tags_once(tokenizer: WordTokenizer) -> None:
    start, end = (tokenizer.special.id(name) for name in ("<region>", "</region>"))
    assert encode_text("<region></region>", tokenizer) == [start, REGION, end]
    twice = encode_text("<region></region> and <region></region>", tokenizer)
    assert twice.count(REGION) == 2
    assert REGION not in encode_text("<region>liver</region> </region><region>", tokenizer)


def test_a_conversation_has_the_layout_of_vicuna(tokenizer: WordTokenizer) -> None:
    turns = [Turn("What is this <image>?", "The liver."), Turn("Where?", "<SEG>")]
    encoded = encode_conversation(turns, tokenizer, system="none", max_length=99)
    text = " ".join(written(encoded, tokenizer))
    assert text.replace("\n", "newline") == (
        "<s> user : <im_start> IMAGE <im_end>  what is this ? assistant : the liver . </s> "
        "user : where ? assistant : <SEG> </s>"
    )


def test_only_answers_and_their_ends_are_trained(tokenizer: WordTokenizer) -> None:
    turns = [Turn("What is this?", "The liver."), Turn("Where?", "<SEG>")]
    encoded = encode_conversation(turns, tokenizer, system="none", max_length=99)
    trained = [token for token, label in zip(encoded.ids, encoded.labels, strict=True) if label != IGNORE]
    seg = tokenizer.special.id("<SEG>")
    assert trained == [*tokenizer.encode("the liver."), 2, seg, 2]
    assert all(label in (token, IGNORE) for token, label in zip(encoded.ids, encoded.labels, strict=True))


def test_a_question_without_answer_ends_where_the_answer_begins(tokenizer: WordTokenizer) -> None:
    asked = encode_conversation([Turn("What?")], tokenizer, system="none", max_length=99)
    answered = encode_conversation([Turn("What?", "yes")], tokenizer, system="none", max_length=99)
    assert answered.ids[: len(asked.ids)] == asked.ids
    assert len(answered.ids) == len(asked.ids) + 2
    assert set(asked.labels) == {IGNORE}


def test_a_conversation_without_image_has_no_image_tokens(tokenizer: WordTokenizer) -> None:
    encoded = encode_conversation([Turn("What?")], tokenizer, system="none", max_length=99, image=False)
    assert "<im_start>" not in written(encoded, tokenizer)


def test_what_is_too_long_is_cut_before_the_image_is_expanded(tokenizer: WordTokenizer) -> None:
    encoded = encode_conversation([Turn("What is this?", "yes")], tokenizer, system="none", max_length=8)
    assert len(encoded.ids) == len(encoded.labels) == 8
    assert len(expand_image(encoded, 576).ids) == 8 + 575


def test_system_sentences_speak_of_a_human_or_a_user(tokenizer: WordTokenizer) -> None:
    assert system_sentence("human").startswith("A chat between a curious human and an artificial")
    assert system_sentence("user").endswith("answers to the user's questions. ")
    lengths = [
        len(encode_conversation([Turn("What?")], tokenizer, system=whose, max_length=99).ids)
        for whose in ("none", "human")
    ]
    assert lengths[1] - lengths[0] == len(tokenizer.encode(system_sentence("human")))


@pytest.mark.parametrize("turns", [[], [Turn("What?"), Turn("Where?", "yes")]])
def test_a_conversation_with_a_gap_is_refused(turns: list[Turn], tokenizer: WordTokenizer) -> None:
    with pytest.raises(DataError, match="expected at least one turn, and an answer in every turn but the last"):
        encode_conversation(turns, tokenizer, system="none", max_length=9)


def test_the_state_of_a_mask_stands_one_before_its_token(golden: dict[str, Any]) -> None:
    case = golden["seg_index"]
    ids = tuple(case["input_ids"][0])
    expanded = expand_image(Encoded(ids, ids), case["image_tokens"]).ids
    assert len(expanded) == case["mask_length"] == len(ids) + 575
    row, position = seg_states(torch.tensor([expanded]), 32000)
    assert (row.tolist(), position.tolist()) == ([0], case["true_positions"])
    assert position.item() == ids.index(32000) + 574


def test_words_are_lower_case_and_unknown_ones_are_zero(tokenizer: WordTokenizer) -> None:
    assert tokenizer.encode("Liver LIVER pancreas") == [*tokenizer.encode("liver liver"), 0]


def test_words_return_as_ordinary_writing() -> None:
    text = "the left-sided lesion (12%), i.e. t2/flair.\nno other"
    words = words_of([text, "the liver <SEG>"])
    tokenizer = WordTokenizer(words, special=SpecialTokens.after(64, fillers=0))
    assert tokenizer.decode(tokenizer.encode(text)) == text.replace("i.e.", "i. e.")
    assert words[0] in (".", "the")
    assert "<SEG>" not in words


def test_too_many_words_are_refused() -> None:
    with pytest.raises(DataError, match="expected at most 5 words, got 6; enlarge base_vocabulary"):
        WordTokenizer([f"w{index}" for index in range(6)], special=SpecialTokens.after(8, fillers=0))


def test_a_tokenizer_without_end_token_is_refused() -> None:
    fast = PreTrainedTokenizerFast(tokenizer_object=Backend(models.WordLevel({"a": 0}, unk_token="a")))
    with pytest.raises(DataError, match="expected a start and an end token, found one missing"):
        PretrainedTokenizer(fast, special=SpecialTokens.after(len(fast), fillers=0))
