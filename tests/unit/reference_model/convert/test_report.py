"""The report of a conversion: sums by source and part, and a line for whatever did not simply move."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reference_model.checkpoints.checkpoint import About
from reference_model.config import ModelConfig
from reference_model.convert.checkpoint_files import Stored
from reference_model.convert.conversion import Conversion
from reference_model.convert.report import as_text
from reference_model.convert.tensor_map import Move, TensorMap
from reference_model.convert.tokenizer import FoundTokenizer
from reference_model.convert.writing import TensorEntry
from reference_model.inputs.tokenizers import SavedTokenizer


def move(*shape: int, rows: int | None = None) -> Move:
    """Return a tensor of a file that nobody reads; of a vocabulary, it has half as many rows as it gets."""
    stored = Stored(
        file=Path("a.bin"),
        shape=shape if rows is None else (rows, *shape[1:]),
        dtype=torch.float16,
        read=lambda: pytest.fail("read"),
    )
    return Move(option="--llava", stored=stored, shape=shape, rows=rows)


@pytest.fixture
def conversion(config: ModelConfig) -> Conversion:
    moves = {"language.norm.weight": move(1000), "language.lm_head.weight": move(48, 2, rows=24)}
    written = [TensorEntry(name=name, made_of=one, dtype=torch.float16) for name, one in moves.items()]
    written.append(TensorEntry(name="region.adapter.bias", made_of=torch.zeros(5), dtype=torch.float32))
    left = {("--llava", "computed anew"): ["layers.0.freq", "layers.1.freq", "other"]}
    saved = SavedTokenizer(definition="{}", start="<s>", end="</s>")
    return Conversion(
        about=About(config=config, experts=False),
        plan=TensorMap(moves=moves, drawn={"region.adapter.bias": (5,)}, left=left),
        written=tuple(written),
        tokenizer=FoundTokenizer(saved=saved, file=Path("tokenizer.json"), added={"<SEG>": 24, "<image>": 25}),
    )


def test_parts_are_summed_by_source_and_the_rest_is_named(conversion: Conversion) -> None:
    lines = as_text(conversion).splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["from", "part", "tensors", "parameters", "bytes"],
        ["(drawn)", "region", "1", "5", "20"],
        ["--llava", "language", "2", "1,096", "2,192"],
        ["all", "3", "1,101", "2,212"],
    ]
    assert lines[4:] == [
        "left out of --llava: 3, computed anew: layers.*.freq (2), other",
        "left out of tokenizer.json: tokens behind the first 24: <image>",
        "language.lm_head.weight: 24 of 24 rows kept, 24 new ones are their mean",
        "drawn at random, for they are in no file: region.adapter.bias",
    ]


def test_a_conversion_in_which_all_moves_is_a_table_alone(conversion: Conversion) -> None:
    plain = replace(
        conversion,
        plan=TensorMap(moves={"language.norm.weight": move(1000)}),
        tokenizer=replace(conversion.tokenizer, added={}),
    )
    assert len(as_text(plain).splitlines()) == 4
