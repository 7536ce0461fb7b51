"""LLaMA's tokenizer beside a checkpoint: read from both its files, saved with a model, trained and asked with."""

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE

from harness.errors import DataError
from harness.records import MediaPart, Request, TextPart, Turn
from reference_model.adapter import Reference
from reference_model.checkpoints.checkpoint import About, load_about, load_model, save_model
from reference_model.config import ModelConfig
from reference_model.convert.tokenizer import FoundTokenizer, merges_of, read_sentencepiece, read_tokenizer
from reference_model.inputs.conversation import SpecialTokens
from reference_model.inputs.tokenizers import PretrainedTokenizer, SavedTokenizer
from reference_model.modeling.build import build_model
from reference_model.training.recipe import Start
from tests.unit.reference_model.convert.convert_sources import pieces, with_pieces, write_tokenizer
from tests.unit.reference_model.small_training import example, small_recipe, small_run

SIZE = 400
NORMAL, UNKNOWN, CONTROL, USER, BYTE = 1, 2, 3, 4, 6


@pytest.fixture(scope="module")
def learnt() -> Tokenizer:
    return pieces(SIZE)


@pytest.fixture
def found(learnt: Tokenizer, tmp_path: Path) -> FoundTokenizer:
    write_tokenizer(tmp_path / "tokenizer", learnt)
    return read_tokenizer(tmp_path / "tokenizer", SIZE)


@pytest.fixture
def llama(found: FoundTokenizer) -> PretrainedTokenizer:
    return PretrainedTokenizer(found.saved.load(), special=SpecialTokens.after(SIZE, fillers=2))


def names(llama: PretrainedTokenizer, text: str) -> list[str]:
    return list(llama._tokenizer.convert_ids_to_tokens(llama.encode(text)))


def varint(number: int) -> bytes:
    rest, low = number >> 7, number & 0x7F
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def field(number: int, value: int | float | bytes) -> bytes:
    """Return one field of a protocol buffer."""
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3) + varint(value)


def sentencepiece(
    tokenizer: Tokenizer, *, kind: int = 2, blanks: int = 0, charsmap: bytes = b"", odd: Sequence[bytes] = ()
) -> bytes:
    """Return a SentencePiece model of the pieces of a tokenizer, as its trainer writes BPE: scores count down."""
    kinds = {"<unk>": UNKNOWN, "<s>": CONTROL, "</s>": CONTROL} | {f"<0x{byte:02X}>": BYTE for byte in range(256)}
    vocabulary = tokenizer.get_vocab()
    made = ["".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
    ranks = {piece: rank for rank, piece in enumerate(dict.fromkeys(made))}
    content = b""
    for piece in sorted(vocabulary, key=vocabulary.__getitem__):
        score = 0.0 if piece in kinds else -float(ranks.get(piece, len(ranks) + vocabulary[piece]))
        message = field(1, piece.encode()) + field(2, score)
        content += field(1, message + (field(3, kinds[piece]) if piece in kinds else b""))
    content += b"".join(field(1, piece) for piece in odd)
    trainer = field(3, kind) + field(7, b"ignored") + varint(9 << 3 | 1) + bytes(8)
    normalizer = field(1, b"identity") + field(2, charsmap) + field(3, 1) + field(4, blanks)
    return content + field(2, trainer) + field(3, normalizer)


def test_a_sentencepiece_model_splits_as_the_tokenizer_it_was_made_of(
    learnt: Tokenizer, llama: PretrainedTokenizer, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece(learnt))
    special = SpecialTokens.after(SIZE, fillers=2)
    read = PretrainedTokenizer(read_tokenizer(tmp_path, SIZE).saved.load(), special=special)
    texts = ("what is this?", "the liver and the spleen", "a lesion, 5 mm · ü 🙂", "  two  blanks\nand a line", "")
    for text in texts:
        assert read.encode(text) == llama.encode(text), text
    assert len(read.encode("the liver and the spleen")) < 15


def test_pieces_are_joined_by_score_then_by_their_ids() -> None:
    ids = {piece: index for index, piece in enumerate(["a", "b", "c", "ab", "bc", "abc"])}
    scores = {"ab": -1.0, "bc": -0.0, "abc": -2.0}
    assert merges_of(scores, ids) == (("b", "c"), ("a", "b"), ("a", "bc"), ("ab", "c"))


def test_texts_begin_with_a_blank_also_behind_special_tokens(llama: PretrainedTokenizer) -> None:
    assert "".join(names(llama, "the liver")) == "▁the▁liver"
    assert "".join(names(llama, "the<SEG>liver")) == "▁the<SEG>▁liver"
    assert "".join(names(llama, "is  it")) == "▁is▁▁it"


def test_blanks_and_line_breaks_around_special_tokens_are_taken_away(llama: PretrainedTokenizer) -> None:
    bare = llama.encode("the<SEG>liver")
    assert llama.encode("the <SEG> liver") == bare
    assert llama.encode("the \n<SEG>\n liver") == bare


def test_what_is_no_piece_is_spelt_in_bytes_and_returns(llama: PretrainedTokenizer) -> None:
    assert names(llama, "é")[-2:] == ["<0xC3>", "<0xA9>"]
    text = "the liver: 5 µm, <b>é</b>  🙂"
    assert llama.decode(llama.encode(text)) == text


def test_ids_begin_behind_the_base_vocabulary(llama: PretrainedTokenizer) -> None:
    assert (llama.special.id("<SEG>"), llama.special.total) == (400, 413)
    assert (llama.start_id, llama.end_id) == (1, 2)
    assert llama.encode("<SEG><im_end>") == [400, 412]


def test_tokens_that_were_added_before_are_told_and_left_out(learnt: Tokenizer, tmp_path: Path) -> None:
    write_tokenizer(tmp_path, learnt, {"<s>": 1, "<image>": 400, "<pad>": 401})
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<SEG>": 402}))
    found = read_tokenizer(tmp_path, SIZE)
    assert found.added == {"<image>": 400, "<pad>": 401, "<SEG>": 402}
    assert found.file == tmp_path / "tokenizer.json"
    assert len(found.saved.load()) == SIZE


def test_another_number_of_pieces_is_refused(learnt: Tokenizer, tmp_path: Path) -> None:
    write_tokenizer(tmp_path, learnt)
    with pytest.raises(DataError, match=r"tokenizer.json: expected 32000 entries, the base_vocabulary .*, found 400"):
        read_tokenizer(tmp_path, 32000)


def test_a_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"expected tokenizer.model or tokenizer.json, found neither; name .* --tokenizer"
    ):
        read_tokenizer(tmp_path, SIZE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: model.pop("merges"), "expected pieces and merges of byte pair encoding, found no 'merges'"),
        (lambda model: model.update(byte_fallback=False), "LLaMA's tokenizer, found one without bytes to fall back on"),
        (lambda model: model["merges"].append("the zzz"), r"found the merge \('the', 'zzz'\) of what is no piece"),
        (lambda model: model["vocab"].update({"<S>": model["vocab"].pop("<s>")}), "and </s>, found no <s>"),
    ],
)
def test_a_tokenizer_of_another_kind_is_refused(
    learnt: Tokenizer, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    write_tokenizer(tmp_path, learnt)
    document = json.loads((tmp_path / "tokenizer.json").read_text())
    change(document["model"])
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=message):
        read_tokenizer(tmp_path, SIZE)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda learnt: sentencepiece(learnt, kind=1), "expected byte pair encoding, model type 2, found 1"),
        (lambda learnt: sentencepiece(learnt, blanks=1), "expected texts to be split as they stand"),
        (lambda learnt: sentencepiece(learnt, charsmap=b"x"), "expected texts to be split as they stand"),
        (lambda learnt: sentencepiece(learnt, odd=[field(1, b"x") + field(3, USER)]), r"found kinds \[1, 2, 3, 4, 6\]"),
        (lambda learnt: sentencepiece(learnt)[:-3], "cannot be read as one: it ends in the middle of a field"),
        (lambda _: field(1, 5), "cannot be read as one: a number where bytes should be"),
        (lambda _: varint(1 << 3 | 3), "cannot be read as one: a field of wire type 3"),
        (lambda _: b"\xff", "expected a SentencePiece model, which cannot be read as one"),
        (lambda _: field(1, field(1, b"\xff")), "cannot be read as one: 'utf-8' codec"),
    ],
)
def test_a_sentencepiece_model_of_another_kind_is_refused(
    learnt: Tokenizer, tmp_path: Path, content: Callable[[Tokenizer], bytes], message: str
) -> None:
    (tmp_path / "tokenizer.model").write_bytes(content(learnt))
    with pytest.raises(DataError, match=message):
        read_sentencepiece(tmp_path / "tokenizer.model")


def test_a_tokenizer_with_tokens_of_medplib_is_refused(found: FoundTokenizer) -> None:
    tokenizer = found.saved.load()
    tokenizer.add_tokens(["<SEG>"])
    special = SpecialTokens.after(len(tokenizer), fillers=0)
    with pytest.raises(DataError, match="expected none of the model's own tokens, found 1; give the one before"):
        PretrainedTokenizer(tokenizer, special=special)


@pytest.fixture
def numbers(config: ModelConfig) -> ModelConfig:
    return with_pieces(config)


@pytest.fixture
def folder(numbers: ModelConfig, found: FoundTokenizer, tmp_path: Path) -> Path:
    """A dense model with LLaMA's tokenizer."""
    torch.manual_seed(2)
    about = About(config=numbers, experts=False, origin={"converted": {}}, saved_tokenizer=found.saved)
    save_model(tmp_path / "model", build_model(numbers, experts=False), about)
    return tmp_path / "model"


def test_a_model_returns_with_its_tokenizer(folder: Path, found: FoundTokenizer, llama: PretrainedTokenizer) -> None:
    about = load_about(folder)
    assert about.saved_tokenizer == found.saved
    assert about.words == ()
    assert about.tokenizer().encode("where is <SEG>?") == llama.encode("where is <SEG>?")
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.json",
        "model.safetensors",
        "tokenizer.json",
    ]


def test_a_tokenizer_that_is_torn_or_missing_is_named(folder: Path) -> None:
    file = folder / "tokenizer.json"
    file.write_text(file.read_text()[:-1])
    with pytest.raises(
        DataError, match=r"tokenizer.json: expected the file that model.json was written with, found an"
    ):
        load_about(folder)
    file.unlink()
    with pytest.raises(DataError, match=r"tokenizer.json: cannot be read: .*No such file"):
        load_about(folder)


def test_a_tokenizer_of_another_size_than_the_embeddings_is_refused(
    numbers: ModelConfig, found: FoundTokenizer
) -> None:
    more = replace(numbers, prompt=replace(numbers.prompt, base_vocabulary=401))
    with pytest.raises(DataError, match=r"tokenizer.json: expected 401 entries, the base_vocabulary of .*, found 400"):
        About(config=more, experts=False, saved_tokenizer=found.saved).tokenizer()


@pytest.mark.slow
def test_a_stage_is_trained_with_it_and_hands_it_on(
    folder: Path, config: ModelConfig, found: FoundTokenizer, drawn: Path, tmp_path: Path
) -> None:
    recipe = small_recipe(config, drawn)
    first = replace(recipe.stage(1), start=Start())
    recipe = replace(recipe, stages=(first, *recipe.stages[2:]))
    small_run(recipe, tmp_path / "out", tmp_path / "cache", start=folder, steps=2).stages([1])
    lines = (tmp_path / "out" / "stage-1" / "log.jsonl").read_text().splitlines()
    assert all(0 < json.loads(line)["losses"]["language"] < 20 for line in lines)
    before, after = (load_model(place)[0] for place in (folder, tmp_path / "out" / "stage-1" / "model"))
    assert not torch.equal(before.connector[0].weight, after.connector[0].weight)
    assert load_about(tmp_path / "out" / "stage-1" / "model").saved_tokenizer == found.saved


def test_an_answer_is_written_with_it(folder: Path, llama: PretrainedTokenizer) -> None:
    adapter = Reference(str(folder))
    adapter.load("cpu")
    shown = MediaPart(media=example(size=(20, 24)).media)
    asked = Turn(role="user", parts=(shown, TextPart(text="where is the liver?")))
    decoding = {"max_new_tokens": 3, "temperature": 0}
    (answer,) = adapter.predict([Request(messages=(asked,), visual_prompts=(), decoding=decoding, key="k")])
    assert answer.error is None
    assert answer.text is not None
    assert answer.usage["answer_tokens"] == 3
    assert "where is the liver?" in str(answer.rendered)
    assert isinstance(adapter._answering.tokenizer, PretrainedTokenizer)  # type: ignore[union-attr]
    assert adapter._answering.tokenizer.special == llama.special  # type: ignore[union-attr]


def test_a_definition_is_loaded_as_it_was_saved() -> None:
    model = BPE(vocab={"<unk>": 0, "a": 1, "b": 2}, merges=[], unk_token="<unk>")
    saved = SavedTokenizer(definition=Tokenizer(model).to_str(), start="a", end="b")
    tokenizer = PretrainedTokenizer(saved.load(), special=SpecialTokens.after(3, fillers=0))
    assert (tokenizer.start_id, tokenizer.end_id, tokenizer.special.base) == (1, 2, 3)
