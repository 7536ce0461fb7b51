"""The tokenizers around M3D-LaMed split texts as its training did, and have the ids of the weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, processors
from tokenizers.models import WordPiece

from harness.errors import DataError
from reference_model.convert.m3d_tokenizers import read_language_tokenizer, read_text_tokenizer
from reference_model.inputs.conversation import SpecialTokens
from reference_model.inputs.tokenizers import PretrainedTokenizer
from tests.unit.reference_model.convert.m3d_sources import (
    BERT,
    OWN_TOKENS,
    PHI_TOKENS,
    write_bert,
    write_llama,
    write_llama_3,
    write_phi,
)

PHI_SIZE = 400 + len(PHI_TOKENS)


def split(place: Path, base: int, text: str) -> list[str]:
    tokenizer = read_language_tokenizer(place, base).saved.load()
    return tokenizer.convert_ids_to_tokens(tokenizer.encode(text, add_special_tokens=False))  # type: ignore[return-value]


def test_the_mode_of_the_settings_decides_which_texts_begin_with_a_blank(tmp_path: Path) -> None:
    write_llama(tmp_path / "new", legacy=False)
    write_llama(tmp_path / "old", legacy=None)
    write_llama(tmp_path / "unset")
    assert "".join(split(tmp_path / "new", 400, "the</s>liver")) == "▁the</s>liver"
    assert "".join(split(tmp_path / "new", 400, " the liver")) == "▁the▁liver"
    for name in ("old", "unset"):
        assert "".join(split(tmp_path / name, 400, "the</s>liver")) == "▁the</s>▁liver"
        assert "".join(split(tmp_path / name, 400, " the liver")) == "▁▁the▁liver"


def test_phi_3_keeps_its_own_tokens_and_ends_with_one_of_them(tmp_path: Path) -> None:
    write_phi(tmp_path)
    found = read_language_tokenizer(tmp_path, PHI_SIZE)
    assert (found.saved.start, found.saved.end, found.added) == ("<s>", "<|endoftext|>", {})
    tokenizer = PretrainedTokenizer(found.saved.load(), special=SpecialTokens.m3d(PHI_SIZE))
    assert tokenizer.encode("<|endoftext|><|user|>") == [400, 403]
    assert (tokenizer.end_id, tokenizer.special.id("[SEG]")) == (400, PHI_SIZE + 3)
    assert tokenizer.encode("[SEG]") == [PHI_SIZE + 3]
    assert split(tmp_path, PHI_SIZE, "<|end|> \n is")[1:] == split(tmp_path, PHI_SIZE, "<s>is")[1:]


def test_blanks_beside_m3ds_tokens_stay(tmp_path: Path) -> None:
    write_llama(tmp_path, legacy=False)
    backend = read_language_tokenizer(tmp_path, 400).saved.load()
    tokenizer = PretrainedTokenizer(backend, special=SpecialTokens.m3d(400))
    found = backend.convert_ids_to_tokens(tokenizer.encode(" the <bx_start>liver<bx_end> is [SEG] yes"))
    assert "".join(found) == "▁the▁<bx_start>liver<bx_end>▁is▁[SEG]▁yes"


def test_tokens_of_a_release_are_listed_and_left_out(tmp_path: Path) -> None:
    write_phi(tmp_path, own=True)
    found = read_language_tokenizer(tmp_path, PHI_SIZE)
    assert found.added == {name: PHI_SIZE + index for index, name in enumerate(OWN_TOKENS)}
    assert len(found.saved.load()) == PHI_SIZE


def test_added_tokens_are_known_by_their_names_alone(tmp_path: Path) -> None:
    write_phi(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    found = read_language_tokenizer(tmp_path, PHI_SIZE)
    assert found.saved.load().encode("<|end|>", add_special_tokens=False) == [402]
    assert (found.saved.start, found.saved.end) == ("<s>", "</s>")


def test_llama_3_is_kept_as_it_is_but_for_its_padding_and_ends_as_m3d_trains_it(tmp_path: Path) -> None:
    write_llama_3(tmp_path, own=True)
    found = read_language_tokenizer(tmp_path, 400)
    assert (found.saved.start, found.saved.end) == ("<|begin_of_text|>", "<|end_of_text|>")
    assert found.added == {name: 400 + index for index, name in enumerate(OWN_TOKENS)}
    loaded = found.saved.load()
    text = "Is there a µ-lesion?\nNo."
    ids = loaded.encode(text, add_special_tokens=False)
    assert loaded.decode(ids) == text
    assert len(ids) < 30
    assert len(loaded) == 400


def test_added_tokens_are_taken_in_the_order_of_their_ids(tmp_path: Path) -> None:
    write_llama(tmp_path, added={"<|end|>": 401, "<|user|>": 400})
    loaded = read_language_tokenizer(tmp_path, 402).saved.load()
    assert loaded.convert_tokens_to_ids(["<|user|>", "<|end|>"]) == [400, 401]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "expected 405 entries, as many as the preset has, found 404"),
        ({"bos_token": "<bos>"}, "expected an entry for the token <bos>, found none"),
        (
            {"added_tokens_decoder": {"400": {"special": True}}},
            r"expected added tokens with contents and ids beside it, found KeyError\('content'\)",
        ),
    ],
)
def test_a_tokenizer_of_another_kind_is_named(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    write_phi(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(DataError, match=message):
        read_language_tokenizer(tmp_path, PHI_SIZE if settings else PHI_SIZE + 1)


def test_an_added_token_has_the_id_that_its_place_gives(tmp_path: Path) -> None:
    write_llama_3(tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<|end_of_text|>": 398, "<|begin_of_text|>": 399}))
    document = json.loads((tmp_path / "tokenizer.json").read_text())
    assert [token["id"] for token in document["added_tokens"]] == [398, 399]
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"added_tokens_decoder": {"399": {"content": "<|begin_of_text|>"}}})
    )
    with pytest.raises(DataError, match=r"added token <\|begin_of_text\|>: expected id 398, found 399"):
        read_language_tokenizer(tmp_path, 400)


def fast_bert(folder: Path, names: tuple[str, ...] = BERT) -> None:
    ids = {name: index for index, name in enumerate(names)}
    tokenizer = Tokenizer(WordPiece(ids, unk_token="[UNK]"))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_padding(length=128)
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))


def test_berts_list_of_pieces_becomes_its_tokenizer(tmp_path: Path) -> None:
    write_bert(tmp_path)
    for place in (tmp_path, tmp_path / "vocab.txt", tmp_path / "model.safetensors"):
        if place.suffix == ".safetensors":
            place.touch()
        found = read_text_tokenizer(place, len(BERT))
        assert (found.saved.start, found.saved.end, found.file) == ("[CLS]", "[SEP]", tmp_path / "vocab.txt")
        tokens = found.saved.load().encode("The Liver has cysts. No hernia[PAD]")
        assert [BERT[token] for token in tokens] == (
            ["[CLS]", "the", "liver", "has", "cyst", "##s", ".", "no", "[UNK]", "[PAD]", "[SEP]"]
        )


def test_pieces_may_have_a_case(tmp_path: Path) -> None:
    write_bert(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    tokens = read_text_tokenizer(tmp_path, len(BERT)).saved.load().encode("The liver")
    assert [BERT[token] for token in tokens] == ["[CLS]", "[UNK]", "liver", "[SEP]"]


def test_berts_tokenizer_is_kept_without_the_padding_of_its_training(tmp_path: Path) -> None:
    fast_bert(tmp_path)
    saved = read_text_tokenizer(tmp_path, len(BERT)).saved
    assert Tokenizer.from_str(saved.definition).encode("liver").tokens == ["[CLS]", "liver", "[SEP]"]


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda _: None, "expected tokenizer.json or vocab.txt, found neither; name .* --text-tokenizer"),
        (lambda folder: write_bert(folder, BERT[:-1]), f"expected {len(BERT)} entries, .* found {len(BERT) - 1}"),
        (
            lambda folder: fast_bert(folder, tuple(name.replace("[PAD]", "pad") for name in BERT)),
            r"expected the tokens \[CLS\], \[SEP\], \[PAD\], \[UNK\] of BERT, found no \[PAD\]",
        ),
        (lambda folder: write_bert(folder, ("a", "b")), r"of BERT, found no \[CLS\], \[SEP\], \[PAD\], \[UNK\]"),
        (lambda folder: (folder / "vocab.txt").write_bytes(b"\xff"), "vocab.txt: cannot be read: 'utf-8' codec"),
        (
            lambda folder: (folder / "tokenizer.json").write_text('{"model": 3}'),
            "tokenizer.json: expected a tokenizer of Hugging Face's format: ",
        ),
    ],
)
def test_a_tokenizer_that_is_not_berts_is_named(tmp_path: Path, write: Callable[[Path], Any], message: str) -> None:
    write(tmp_path)
    with pytest.raises(DataError, match=message):
        read_text_tokenizer(tmp_path, len(BERT))
